"""Which dataset a command line means, and what identifies it.

Light: of large annotation files only what planning needs is found out, once (:mod:`roadmap.annotations`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from roadmap.annotations import read_facts
from roadmap.coco2017 import PARTS, is_official
from roadmap.recipe import DatasetConfig
from yolox_core.config import SPLITS, ShapesSpec, annotation_file
from yolox_core.files import cache_folder

EMBEDDED_NAME = "embedded-shapes"
#: The embedded dataset; its pixels come from yolox_core.data.shapes.
EMBEDDED = ShapesSpec()

#: Names under which a split is looked for where the user gives none: COCO's, then what exports call it.
TRAIN_NAMES = (SPLITS[0], "train")
VAL_NAMES = (SPLITS[1], "val", "valid")

LAYOUT = (
    "expected DIR/annotations/instances_train2017.json, DIR/annotations/instances_val2017.json, "
    "DIR/train2017/ and DIR/val2017/ (COCO's layout; other split names: --train-split, --val-split), or "
    "DIR/train/_annotations.coco.json and DIR/valid/_annotations.coco.json (Roboflow's COCO export)"
)


def resolve_dataset(
    argument: str | None, train_split: str | None = None, val_split: str | None = None
) -> Path | None:
    """Folder of ``--data``, else of the environment variable COCO_DIR, else None: the embedded dataset.

    Raises ValueError naming what is missing and the expected layout.
    """
    given = argument or os.environ.get("COCO_DIR")
    if not given:
        if train_split or val_split:
            raise ValueError("--train-split and --val-split name parts of a dataset; give --data DIR too")
        return None
    origin = "--data" if argument else "COCO_DIR"
    root = Path(given).expanduser()
    if not root.is_dir():
        raise ValueError(f"{origin}: {root} is not a folder; {LAYOUT}")
    try:
        find_splits(root, train_split, val_split)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error
    return root


def find_splits(root: Path, train: str | None = None, val: str | None = None) -> tuple[str, str]:
    """Names of the training and the validation split: as given, else the first known name that is there.

    Raises ValueError naming what is missing.
    """
    splits = (_find(root, train, TRAIN_NAMES), _find(root, val, VAL_NAMES))
    for split in splits:
        annotations = annotation_file(root, split)
        if not annotations.is_file():
            yolo, voc = (root / "data.yaml").is_file(), (root / "ImageSets" / "Main").is_dir()
            if yolo or voc:
                layout = "YOLO's layout (data.yaml)" if yolo else "Pascal VOC's layout (ImageSets/Main)"
                raise ValueError(
                    f"{root} is in {layout}; convert it once: "
                    f"python -m studies.convert --data {root} --out NEW_FOLDER"
                )
            raise ValueError(f"{annotations} is missing; {LAYOUT}")
        if not (root / split).is_dir():
            raise ValueError(f"{root / split}/ is missing; {LAYOUT}")
    if splits[0] == splits[1]:
        raise ValueError(f"training and validation split are both {splits[0]!r}; give two different ones")
    return splits


def usual_val_split(root: Path) -> str:
    """The first usual name of a validation split that a folder has annotations for."""
    return _find(root, None, VAL_NAMES)


def _find(root: Path, given: str | None, names: tuple[str, ...]) -> str:
    return given or next((name for name in names if annotation_file(root, name).is_file()), names[0])


def describe_dataset(root: Path | None, splits: tuple[str, str] | None = None) -> DatasetConfig:
    """Identity of a dataset (its splits found where none are given), or of the embedded one for None.

    Raises ValueError naming the file that is missing, broken, empty or at odds with the other.
    """
    if root is None:
        return DatasetConfig(
            EMBEDDED_NAME,
            EMBEDDED.fingerprint,
            len(EMBEDDED.classes),
            EMBEDDED.train_images,
            EMBEDDED.val_images,
        )
    files = [annotation_file(root, split) for split in splits or find_splits(root)]
    train, val = facts = [read_facts(file) for file in files]
    for file, known in zip(files, facts, strict=True):
        if not known.annotations:
            raise ValueError(f"{file} lists no annotations; there is nothing to learn or to measure")
    if train.categories != val.categories:
        raise ValueError(f"{files[0]} and {files[1]} must list the same categories")
    return DatasetConfig(
        root.resolve().name,
        hashlib.sha256(f"{train.sha256} {val.sha256}".encode()).hexdigest(),
        len(val.categories),
        train.images,
        val.images,
        coco=all(is_official(*part) for part in zip(PARTS, files, facts, strict=True)),
    )


def embedded_folder() -> Path:
    """Where the embedded dataset is made."""
    return cache_folder() / "embedded"
