"""Results for COCO's evaluation server: one JSON file in a zip archive, and what the server would refuse.

Its rules (cocodataset.org, "Upload" and "Results Format"): the archive holds nothing but
``detections_<split>_<algorithm>_results.json``, no folder; detections are of the split's own images, under
COCO's category ids; at most 100 per image count.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from yolox_core.evaluation.detections import Detections
from yolox_core.files import replacing

#: Detections of one image that COCO's figures count, over all categories.
MOST_PER_IMAGE = 100
#: COCO numbers its 80 categories from 1 to 90, with gaps.
COCO_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
#: Images of COCO's splits, to notice a list that is not whole.
COCO_IMAGES = {"val2017": 5000, "test2017": 40670, "test-dev2017": 20288}
#: COCO asks for tenths of a pixel to save space; on a box of 10 pixels they could cost a hundredth of IoU.
BOX_DIGITS, SCORE_DIGITS = 2, 5
#: Ids that a message names.
_NAMED = 10


class Entry(msgspec.Struct, gc=False):
    """A detection as it stands in the file. bbox: left, top, width and height in pixels of the image."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Submission:
    """What was written.

    file: the JSON file's name in the archive. left_out: detections beyond the best 100 of their image.
    without_detections: images that nothing was found on. remarks: what the server takes, but its user
    should know.
    """

    file: str
    images: int
    detections: int
    left_out: int
    without_detections: int
    remarks: tuple[str, ...]


def results_name(path: Path, split: str, algorithm: str) -> str:
    """Name of the JSON file in the archive: the archive's own where that is one for this split, else made of
    ``algorithm``.

    Raises ValueError for an archive that could not be written, or whose name is for another split.
    """
    if path.suffix != ".zip":
        raise ValueError(f"--submission {path} must end in .zip; the evaluation server takes zip archives")
    if not path.parent.is_dir():
        raise ValueError(f"--submission: the folder {path.parent} is missing; make it first")
    usual = f"detections_{split}_{re.sub(r'[^A-Za-z0-9.]+', '-', algorithm).strip('-')}_results"
    if re.fullmatch(rf"detections_{re.escape(split)}_[\w.-]+_results", path.stem):
        return f"{path.stem}.json"
    if path.stem.startswith("detections_"):
        raise ValueError(
            f"--submission {path.name} is not named as the evaluation server wants results on {split}: call "
            f"it {usual}.zip"
        )
    return f"{usual}.json"


def write_submission(
    path: Path, name: str, split: str, detections: Detections, image_ids: Sequence[int] | NDArray[np.int64]
) -> Submission:
    """Write the best detections of each image to an archive, and read it again as the server would.

    name: of the JSON file (:func:`results_name`). image_ids: all images of the split.
    The same detections give the same bytes. Raises ValueError for what the server would refuse; nothing is
    written then.
    """
    best = best_per_image(detections)
    rounded = Detections(
        best.image_ids,
        best.category_ids,
        best.boxes_xywh.round(BOX_DIGITS),
        best.scores.round(SCORE_DIGITS),
    )
    check_results(rounded, image_ids)
    columns = zip(
        rounded.image_ids.tolist(),
        rounded.category_ids.tolist(),
        map(tuple, rounded.boxes_xywh.tolist()),
        rounded.scores.tolist(),
        strict=True,
    )
    content = msgspec.json.encode([Entry(*column) for column in columns])
    member = zipfile.ZipInfo(name)  # of a fixed date
    member.compress_type = zipfile.ZIP_DEFLATED
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, content)
    check_submission(path, split, image_ids)
    empty = np.setdiff1d(np.asarray(image_ids, np.int64), rounded.image_ids)
    remarks = []
    if len(empty):
        remarks.append(f"no detection on {len(empty)} of {len(image_ids)} images: {_some(empty)}")
    if len(image_ids) != (known := COCO_IMAGES.get(split, len(image_ids))):
        remarks.append(
            f"{split} of COCO has {known} images, this one {len(image_ids)}: on the others nothing is found"
        )
    left_out = len(detections) - len(best)
    return Submission(name, len(image_ids), len(best), left_out, len(empty), tuple(remarks))


def check_submission(path: Path, split: str, image_ids: Sequence[int] | NDArray[np.int64]) -> None:
    """Raises ValueError for an archive that COCO's evaluation server would refuse, or score as nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise ValueError(f"{path} must hold one JSON file and nothing else, not {names}")
            if not re.fullmatch(rf"detections_{re.escape(split)}_[\w.-]+_results\.json", names[0]):
                raise ValueError(
                    f"{path} holds {names[0]}; the evaluation server wants detections_{split}_NAME_results"
                    ".json, in no folder"
                )
            content = archive.read(names[0])
        entries = msgspec.json.decode(content, type=list[Entry])
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no whole zip archive ({error}); write it again") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is not in COCO's result format: {error}") from error
    results = Detections(
        np.array([e.image_id for e in entries], np.int64),
        np.array([e.category_id for e in entries], np.int64),
        np.array([e.bbox for e in entries], np.float64).reshape(-1, 4),
        np.array([e.score for e in entries], np.float64),
    )
    check_results(results, image_ids)


def check_results(detections: Detections, image_ids: Sequence[int] | NDArray[np.int64]) -> None:
    """Raises ValueError for detections that COCO's evaluation server would refuse, or score as nothing.

    image_ids: all images of the split.
    """
    listed = np.asarray(image_ids, np.int64)
    images, times = np.unique(listed, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"images listed twice: {_some(images[times > 1])}; each may count once")
    if not len(detections):
        raise ValueError("there is no detection at all; the evaluation server refuses an empty list")
    if len(strangers := np.setdiff1d(detections.image_ids, images)):
        raise ValueError(f"detections on images that the split does not have: {_some(strangers)}")
    if len(strangers := np.setdiff1d(detections.category_ids, COCO_CATEGORY_IDS)):
        raise ValueError(
            f"category ids that COCO does not have: {_some(strangers)}; it numbers its 80 categories from 1 "
            "to 90, with gaps"
        )
    numbers = np.column_stack([detections.boxes_xywh, detections.scores])
    if not (finite := np.isfinite(numbers).all(axis=1)).all():
        affected = _some(np.unique(detections.image_ids[~finite]))
        raise ValueError(f"boxes or scores that are not finite, on images {affected}")
    if (turned := (detections.boxes_xywh[:, 2:] < 0).any(axis=1)).any():
        raise ValueError(
            "boxes of negative width or height, on images "
            f"{_some(np.unique(detections.image_ids[turned]))}; bbox is left, top, width, height"
        )
    busy, counts = np.unique(detections.image_ids, return_counts=True)
    if (counts > MOST_PER_IMAGE).any():
        raise ValueError(
            f"more than {MOST_PER_IMAGE} detections on images {_some(busy[counts > MOST_PER_IMAGE])}"
        )


def best_per_image(detections: Detections, most: int = MOST_PER_IMAGE) -> Detections:
    """The ``most`` detections of highest score of each image, sorted by image and score; of equal ones the
    first.
    """
    order = np.lexsort((-detections.scores, detections.image_ids))
    images = detections.image_ids[order]
    _, starts, counts = np.unique(images, return_index=True, return_counts=True)
    rank = np.arange(len(images)) - np.repeat(starts, counts)
    return detections.select(order[rank < most])


def _some(ids: NDArray[np.int64]) -> str:
    return ", ".join(map(str, ids[:_NAMED].tolist())) + (" …" if len(ids) > _NAMED else "")
