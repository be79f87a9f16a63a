"""Darknet's weights files: a short header, then float32 values, convolution by convolution, without names.

The header is three int32 (major, minor and revision of the format) and the number of images seen in
training, of 8 bytes from format 0.2 on and of 4 before. A convolution with a batch norm follows as its
biases, scales, means and variances (one of each per channel), then its kernel. All of it is little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Channels out and in, and side, of a convolution's kernel.
KernelShape = tuple[int, int, int]
#: No version of the format has a larger number; a file that begins otherwise is none of Darknet's.
_LARGEST_VERSION = 1000


class NotDarknetError(ValueError):
    """A file does not begin as Darknet's do."""


class ConvolutionValues(NamedTuple):
    """A convolution with its batch norm. kernel: (outputs, inputs, side, side), the others (outputs,)."""

    kernel: NDArray[np.float32]
    scales: NDArray[np.float32]
    biases: NDArray[np.float32]
    means: NDArray[np.float32]
    variances: NDArray[np.float32]


def read_values(path: Path) -> NDArray[np.float32]:
    """All numbers behind the header. Raises NotDarknetError, and ValueError for a file cut inside one."""
    data = path.read_bytes()
    if len(data) < 16:
        raise NotDarknetError(f"{path} has {len(data)} bytes; Darknet's weights begin with a header of 16")
    major, minor, revision = struct.unpack("<3i", data[:12])
    if not all(0 <= number < _LARGEST_VERSION for number in (major, minor, revision)):
        raise NotDarknetError(f"{path} does not begin with a version, as Darknet's weights do")
    start = 20 if 10 * major + minor >= 2 else 16
    if (len(data) - start) % 4 or len(data) < start:
        raise ValueError(f"{path} is damaged: it ends inside a number; download it again")
    return np.frombuffer(data, "<f4", offset=start)


def count_values(shapes: Sequence[KernelShape]) -> int:
    """Numbers that convolutions of these shapes take."""
    return sum(outputs * (4 + inputs * side**2) for outputs, inputs, side in shapes)


def split_values(values: NDArray[np.float32], shapes: Sequence[KernelShape]) -> list[ConvolutionValues]:
    """The first numbers as convolutions of these shapes; there must be enough."""
    found, start = [], 0
    for outputs, inputs, side in shapes:
        stop = start + count_values([(outputs, inputs, side)])
        biases, scales, means, variances = values[start : start + 4 * outputs].reshape(4, outputs)
        kernel = values[start + 4 * outputs : stop].reshape(outputs, inputs, side, side)
        found.append(ConvolutionValues(kernel, scales, biases, means, variances))
        start = stop
    return found
