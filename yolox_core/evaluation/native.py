"""Compile a C++ file of this package on first use, and load it.

The library lies in the user's cache folder under a name made of the hash of source, compiler and flags:
a changed file is compiled anew, and processes that compile at the same moment each put the same bytes in
place by one rename.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from yolox_core.files import cache_folder

#: Without -ffp-contract=off some compilers fuse a multiply and an add, which changes the last bit.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-pthread")
TIMEOUT = 120.0


class NativeUnavailableError(RuntimeError):
    """The library can neither be found nor compiled; the message says why."""


def find_compiler() -> str:
    """Path of the C++ compiler: ``$CXX``, else c++, g++ or clang++. Raises NativeUnavailableError."""
    wanted = os.environ.get("CXX")
    for name in (wanted,) if wanted else ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            return path
    raise NativeUnavailableError(f"no C++ compiler ({wanted or 'c++, g++ or clang++'}) on the PATH")


def load(source: Path, cache: Path | None = None) -> ctypes.CDLL:
    """Library compiled from ``source``, from the cache where it is there.

    Raises NativeUnavailableError when there is no compiler, it fails, or nothing can be written.
    """
    folder = cache if cache is not None else cache_folder()
    if not folder.is_absolute():
        raise NativeUnavailableError("no home folder for compiled code")
    library = folder / f"{source.stem}-{_key(source)}.so"
    if not library.exists():
        compile_library(source, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError:
        # Left by another system that shares this home folder, or damaged: one more attempt.
        compile_library(source, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise NativeUnavailableError(f"{library} cannot be loaded: {error}") from error


def compile_library(source: Path, library: Path) -> None:
    """Compile to ``library`` by way of a temporary file. Raises NativeUnavailableError."""
    compiler = find_compiler()
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent, prefix=".build-") as scratch:
            product = Path(scratch) / library.name
            command = [compiler, *FLAGS, "-o", str(product), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
            if done.returncode != 0:
                lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
                raise NativeUnavailableError(f"{compiler} failed on {source.name}: {lines[-1]}")
            product.replace(library)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeUnavailableError(f"cannot compile {source.name}: {error}") from error


def _key(source: Path) -> str:
    parts = [source.read_bytes(), *(f.encode() for f in FLAGS), platform.machine().encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
