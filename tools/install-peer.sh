#!/bin/sh
# Put the official code beside the project, for tests and benchmarks only: install-peer.sh VENV FOLDER
# It builds a small C++ extension, which needs a compiler.
set -eu
venv=$1
peer=$2
command -v c++ > /dev/null || {
    echo "error: the official code builds a C++ extension; on Debian: sudo apt-get install g++" >&2
    exit 1
}
echo "installing the official code into $peer"
rm -rf "$peer"
"$venv/bin/pip" install --quiet --disable-pip-version-check 'setuptools>=77'
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --target "$peer" yolox==0.3.0 loguru==0.7.3 tabulate==0.9.0 thop==0.1.1.post2209072238
