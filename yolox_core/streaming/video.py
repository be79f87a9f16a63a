"""Videos with COCO annotations in Argoverse-HD's layout: which images are the frames of which video, in time.

    sequences, seq_dirs    the videos' names, and the folder of each below the images' folder
    images                 id, sid (which video), fid (which frame, from 0), name, width, height
    categories, annotations    as COCO has them
    coco_mapping           (optional) for each of COCO's 80 classes the position of the category it is here

Everything else is COCO's, and evaluated as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolox_core.data.annotations import check_name
from yolox_core.data.scan import decode
from yolox_core.evaluation.coco_ground_truth import read_annotations

Image = NDArray[np.uint8]

LAYOUT = (
    "expected Argoverse-HD's layout: sequences and seq_dirs, and for every image id, sid (its place in "
    "sequences), fid (its frame, from 0), name, width and height"
)


@dataclass(frozen=True)
class Sequence:
    """One video. folder: of its frames. image_ids: (n,) in time. files: their names. sizes: (n, 2) height and
    width in pixels.
    """

    name: str
    folder: Path
    image_ids: NDArray[np.int64]
    files: tuple[str, ...]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)

    def load(self, frame: int) -> Image:
        """(height, width, 3) BGR. Raises ValueError naming a file that is missing, damaged or of another
        size.
        """
        path = self.folder / self.files[frame]
        image = decode(np.fromfile(path, np.uint8)) if path.is_file() else None
        if image is None:
            state = "can't be decoded" if path.is_file() else "is missing"
            raise ValueError(f"{path} {state}: frame {frame} of {self.name}")
        if image.shape[:2] != tuple(self.sizes[frame].tolist()):
            raise ValueError(f"{path} is {image.shape[1]}×{image.shape[0]}, not of the annotated size")
        return image


@dataclass(frozen=True)
class Video:
    """All videos of an annotation file. category_ids: (classes,) ascending. coco_mapping: as in the file."""

    annotation_file: Path
    sequences: tuple[Sequence, ...]
    category_ids: NDArray[np.int64]
    class_names: tuple[str, ...]
    objects: int
    coco_mapping: tuple[int, ...] = ()

    @property
    def frames(self) -> int:
        return sum(map(len, self.sequences))

    def categories_of(self, classes: int) -> NDArray[np.int64]:
        """(classes,) the category of each label of a detector, -1 for none: the file's own, or COCO's 80.

        Raises ValueError where neither fits.
        """
        own = len(self.category_ids)
        if classes == own:
            return self.category_ids
        if classes == len(self.coco_mapping):
            mapping = np.array(self.coco_mapping)
            known = (mapping >= 0) & (mapping < own)
            return np.where(known, self.category_ids[np.where(known, mapping, 0)], -1)
        mapped = f"coco_mapping of {len(self.coco_mapping)}" if self.coco_mapping else "no coco_mapping"
        raise ValueError(
            f"a detector of {classes} classes cannot be judged on {self.annotation_file}, which has {own} "
            f"categories and {mapped}"
        )


def read_video(annotation_file: Path, images: Path) -> Video:
    """Read the annotations of videos whose frames lie below ``images``.

    Raises ValueError naming what is missing or cannot be: another layout, a video without frames, frames that
    are not numbered without a gap, a name that leaves the folder, the same id twice.
    """
    data = read_annotations(annotation_file)
    for key in ("sequences", "seq_dirs"):
        if not isinstance(data.get(key), list):
            raise ValueError(f"{annotation_file} has no {key}; {LAYOUT}")
    names, folders = data["sequences"], data["seq_dirs"]
    if len(names) != len(folders) or not names:
        raise ValueError(f"{annotation_file}: {len(names)} sequences and {len(folders)} seq_dirs; {LAYOUT}")
    if not images.is_dir():
        raise ValueError(
            f"{images} is no folder; the frames are looked for there, in the seq_dirs of {annotation_file}"
        )
    try:
        frames = _frames(data["images"], len(names))
        sequences = tuple(
            _sequence(str(name), str(folder), images, frames[number])
            for number, (name, folder) in enumerate(zip(names, folders, strict=True))
        )
        categories = sorted(data["categories"], key=lambda category: int(category["id"]))
        mapping = tuple(int(i) for i in data.get("coco_mapping") or ())
        ids = np.array([c["id"] for c in categories], np.int64)
        labels = tuple(str(c["name"]) for c in categories)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{annotation_file}: {type(error).__name__} {error}; {LAYOUT}") from error
    except ValueError as error:
        raise ValueError(f"{annotation_file}: {error}") from error
    every = np.concatenate([sequence.image_ids for sequence in sequences])
    if len(np.unique(every)) != len(every):
        raise ValueError(f"{annotation_file}: an image id occurs twice")
    return Video(annotation_file, sequences, ids, labels, len(data["annotations"]), mapping)


def _frames(images: list[Mapping[str, Any]], sequences: int) -> list[list[Mapping[str, Any]]]:
    """The images of each video, in time."""
    found: list[list[Mapping[str, Any]]] = [[] for _ in range(sequences)]
    for image in images:
        if not 0 <= int(image["sid"]) < sequences:
            raise ValueError(f"image {image['id']} has sid {image['sid']}, of {sequences} sequences")
        found[int(image["sid"])].append(image)
    return [sorted(of_one, key=lambda image: int(image["fid"])) for of_one in found]


def _sequence(name: str, folder: str, images: Path, frames: list[Mapping[str, Any]]) -> Sequence:
    if not frames:
        raise ValueError(f"sequence {name} has no frames")
    for expected, frame in enumerate(frames):
        if int(frame["fid"]) != expected:
            wrong = "missing" if int(frame["fid"]) > expected else "there twice"
            raise ValueError(
                f"frame {expected} of sequence {name} is {wrong}: fid must count from 0 without a gap, for a "
                "frame's moment is fid / fps"
            )
    files = tuple(str(frame["name"] if "name" in frame else frame["file_name"]) for frame in frames)
    for file in (folder, *files):
        check_name(file)
    sizes = np.array([(frame["height"], frame["width"]) for frame in frames], np.int64)
    return Sequence(
        name, images / folder, np.array([frame["id"] for frame in frames], np.int64), files, sizes
    )


def frames_of(video: Video) -> Iterator[tuple[Sequence, int]]:
    """Every frame of every video, in time."""
    for sequence in video.sequences:
        for frame in range(len(sequence)):
            yield sequence, frame
