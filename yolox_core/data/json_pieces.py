"""Large COCO annotation files piece by piece: tens of millions of annotations in a bounded amount of memory.

A piece ends where an object of the array ends, as far as one can see from outside; whether it does, the
parser tells, which must take the piece as whole objects. What is left of the file without its two long arrays
is parsed last, and proves that they were the ones meant. Whatever looks unusual raises
:class:`UnusualFileError`: such a file is left to a careful reader, which can say what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

#: Bytes per piece; smaller ones stay in the processor's cache while they become arrays.
PIECE = 2 << 20
#: Bytes that a file may hold beside its images and annotations, and within which an array must end.
_REST = 256 << 20
#: Ends of objects that are tried, from the last one of a piece.
_TRIES = 64

_BRACKET = re.compile(rb'"(images|annotations)"\s*:\s*\[')
_FOLLOWS = re.compile(rb"\s*[,\]]")


#: What fits an array; an id beyond makes a file unusual.
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class UnusualFileError(ValueError):
    """A file that this reader does not take; another may."""


class ImageEntry(msgspec.Struct, gc=False):
    """An image of the file; what else it says is passed over."""

    id: _Int64
    file_name: str
    height: _Int64 | None = None
    width: _Int64 | None = None


class ObjectEntry(msgspec.Struct, gc=False):
    """An annotation of the file; its mask is passed over."""

    image_id: _Int64
    category_id: _Int64
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool | None = 0


class MaskedEntry(ObjectEntry, gc=False):
    """An annotation with its mask, as the file has it."""

    segmentation: Any = None


class Objects(NamedTuple):
    """Annotations as they stand in the file. boxes: (n, 4) float64 xywh; the others: (n,). segmentations:
    None where masks are not wanted.
    """

    image_ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    segmentations: list[Any] | None


def columns(piece: Sequence[ObjectEntry]) -> Objects:
    """A piece as arrays."""
    count = len(piece)
    column = {name: map(attrgetter(name), piece) for name in ObjectEntry.__struct_fields__}
    boxes = np.fromiter(chain.from_iterable(column["bbox"]), np.float64, 4 * count)
    masked = count and isinstance(piece[0], MaskedEntry)
    return Objects(
        np.fromiter(column["image_id"], np.int64, count),
        np.fromiter(column["category_id"], np.int64, count),
        boxes.reshape(-1, 4),
        np.fromiter(map(bool, column["iscrowd"]), bool, count),
        list(map(attrgetter("segmentation"), piece)) if masked else None,
    )


class PieceReader:
    """The arrays of one file. Raises UnusualFileError, when made or while reading."""

    def __init__(self, path: Path, piece: int = PIECE) -> None:
        self._path = path
        self._piece = piece
        self._starts = _find_arrays(path)
        self._stops: dict[str, int] = {}

    def images(self) -> Iterator[list[ImageEntry]]:
        """All images, in pieces."""
        return self._read("images", msgspec.json.Decoder(list[ImageEntry]))

    def objects(self, masks: bool = False) -> Iterator[list[ObjectEntry]]:
        """All annotations, in pieces; with their masks, as :class:`MaskedEntry`."""
        entry = MaskedEntry if masks else ObjectEntry
        return self._read("annotations", msgspec.json.Decoder(list[entry]))  # type: ignore[valid-type]

    def rest(self) -> dict[str, Any]:
        """The file's other contents; call it after both arrays were read to their ends."""
        with self._path.open("rb") as file:
            parts, position = [], 0
            for name in sorted(self._starts, key=self._starts.__getitem__):
                parts.append(_read(file, position, self._starts[name]))
                position = self._stops[name]
            parts.append(_read(file, position, self._path.stat().st_size))
        try:
            rest = json.loads(b"".join(parts))
        except ValueError as error:
            raise UnusualFileError(f"what is beside the arrays is not valid JSON ({error})") from error
        if not isinstance(rest, dict) or not all(rest.get(name) == [] for name in self._starts):
            raise UnusualFileError("images or annotations are not where they should be")
        return rest

    def _read(self, name: str, decoder: msgspec.json.Decoder[list[T]]) -> Iterator[list[T]]:
        position, size = self._starts[name], self._piece
        with self._path.open("rb") as file:
            while True:
                text = _read(file, position, position + size)
                if text.lstrip().startswith(b"]"):  # an empty array
                    self._stops[name] = position
                    return
                found = _whole_objects(text, decoder)
                if found is None:
                    if len(text) < size or size >= _REST:
                        raise UnusualFileError(f"{name} can't be taken apart near byte {position}")
                    size *= 2
                    continue
                entries, length = found
                yield entries
                follows = text[length:].lstrip()[:1]
                if follows == b"]":
                    self._stops[name] = position + length
                    return
                position += text.index(b",", length) + 1
                size = self._piece


def _find_arrays(path: Path) -> dict[str, int]:
    """Where the first object of both arrays begins, by name."""
    starts: dict[str, int] = {}
    with path.open("rb") as file:
        position, kept = 0, b""
        while block := file.read(PIECE):
            text = kept + block
            for match in _BRACKET.finditer(text):
                starts.setdefault(match[1].decode(), position - len(kept) + match.end())
            if len(starts) == 2:
                return starts
            position += len(block)
            kept = text[-64:]
    raise UnusualFileError("no images or no annotations")


def _read(file: BinaryIO, start: int, stop: int) -> bytes:
    if stop - start > _REST:
        raise UnusualFileError("much else beside images and annotations")
    file.seek(start)
    return file.read(stop - start)


def _whole_objects(text: bytes, decoder: msgspec.json.Decoder[list[T]]) -> tuple[list[T], int] | None:
    """The objects that a text of ``{…}, {…}, …`` begins with, as many as are surely whole, and the bytes they
    take; None where the text holds no end of an object.
    """
    for number, end in enumerate(islice(_ends(text), _TRIES)):
        try:
            return decoder.decode(b"[" + text[:end] + b"]"), end
        except msgspec.ValidationError as error:
            raise UnusualFileError(str(error)) from error
        except msgspec.DecodeError:
            # Either the end of something inside an object, or the array itself ended long before.
            if number == 3 and (end := _array_end(text)):
                return decoder.decode(b"[" + text[:end] + b"]"), end
    return None


def _ends(text: bytes) -> Iterator[int]:
    """Where an object may end that is followed by another or by the end of the array; the last first."""
    brace = text.rfind(b"}")
    while brace >= 0:
        if _FOLLOWS.match(text, brace + 1):
            yield brace + 1
        brace = text.rfind(b"}", 0, brace)


def _array_end(text: bytes) -> int:
    """Bytes before the bracket that closes the array, 0 where it is not closed in this text."""
    try:
        _, end = json.JSONDecoder().raw_decode("[" + text.decode(errors="surrogateescape"))
    except ValueError:
        return 0
    return len(("[" + text.decode(errors="surrogateescape"))[: end - 1].encode(errors="surrogateescape")) - 1
