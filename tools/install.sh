#!/bin/sh
# Set up a virtual environment with pinned packages: install.sh FOLDER runtime|dev|dashboard
set -eu
venv=$1
set=$2
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" --version) is too old; Python 3.11 or newer is needed (make PYTHON=/path/to/python3.11 …)" >&2
    exit 1
}
if [ ! -x "$venv/bin/pip" ]; then
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        echo "error: no virtual environment could be made; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi
if [ "$set" = runtime ]; then what=.; else what=".[$set]"; fi
echo "installing $what with the versions of constraints.txt into $venv (several GB the first time)"
"$venv/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt -e "$what"

# opencv-python's wheel expects two system libraries that a bare Debian lacks.
"$venv/bin/python" -c 'import cv2' 2> /dev/null && exit 0
libraries='libgl1 libglib2.0-0'
if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
    echo "installing $libraries for OpenCV"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $libraries > /dev/null
fi
"$venv/bin/python" -c 'import cv2' || {
    echo "error: OpenCV does not load; on Debian: sudo apt-get install $libraries" >&2
    exit 1
}
