"""What is in a dataset, and what is wrong with it, before GPU-hours are paid for it?

    python -m studies.check_data --data DIR
    python -m studies.check_data --data DIR --val-split test --json

Opens every image of both splits. Prints annotations that are not used, by reason; boxes and images per class
and size; images that can't be read; images that are in both splits; the training size and the anchors that
suit the boxes; and whether this is COCO 2017, by bytes or by content. Exit status: 0 usable, 1 a run would
refuse it (or a person should: a class never seen in training, an image in both splits), 2 it can't be opened.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.anchors import coverage, fitting_anchors
from roadmap.annotations import read_facts
from roadmap.coco2017 import PARTS, confirm, confirmed_file, has_official_bytes, is_official
from roadmap.datasets import find_splits, resolve_dataset
from roadmap.fitting import suggested_side
from roadmap.geometry import read_geometry
from roadmap.text_table import format_table, say
from roadmap.words import counted
from yolox_core.config import YOLOV3_ANCHORS, annotation_file

if TYPE_CHECKING:
    from yolox_core.data.coco import CocoDataset

#: COCO's bounds between small, medium and large, in square pixels of the box.
_SMALL, _LARGE = 32**2, 96**2
#: Files that are named one by one.
_NAMED = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        root = resolve_dataset(options.data, options.train_split, options.val_split)
        if root is None:
            raise ValueError("--data DIR is missing (or COCO_DIR): the dataset to look at")
        report = inspect_dataset(root, find_splits(root, options.train_split, options.val_split))
    except ValueError as error:
        print(f"check_data: error: {error}", file=sys.stderr)
        return 2
    say(json.dumps(report, indent=1) if options.json else format_report(report))
    return 1 if report["problems"] else 0


def inspect_dataset(root: Path, splits: tuple[str, str]) -> dict[str, Any]:
    """Everything that the command prints, as plain values. Raises ValueError when a split can't be opened."""
    from yolox_core.data.coco import CocoDataset

    datasets = [CocoDataset(root, split, max_skipped=1.0, decoding=True, masks=True) for split in splits]
    train, val = datasets
    duplicates = _duplicates(train, val)
    report = {
        "data": str(root),
        "splits": {
            part: _describe(dataset, annotation_file(root, dataset.split))
            for part, dataset in zip(PARTS, datasets, strict=True)
        },
        "duplicates": duplicates,
        "suggested": _suggested(annotation_file(root, splits[0])),
        "coco2017": _coco(root, splits),
    }
    return report | {"problems": [*_refusals(datasets), *_doubts(report)]}


def _describe(dataset: CocoDataset, annotations: Path) -> dict[str, Any]:
    import numpy as np

    boxes = [dataset.objects(index) for index in range(len(dataset))]
    labels = np.concatenate([b.labels for b in boxes]) if boxes else np.zeros(0, np.int64)
    xyxy = np.concatenate([b.boxes_xyxy for b in boxes]) if boxes else np.zeros((0, 4), np.float32)
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    owner = np.repeat(np.arange(len(boxes)), [len(b.labels) for b in boxes])
    classes = [
        {
            "name": name,
            "images": len(np.unique(owner[labels == label])),
            "boxes": int((labels == label).sum()),
            **_by_size(area[labels == label]),
        }
        for label, name in enumerate(dataset.class_names)
    ]
    longest = np.array([max(dataset.size(index)) for index in range(len(dataset))])
    return dataset.summary() | {
        "annotations_listed": read_facts(annotations).annotations,
        "longest_side": {
            name: int(value)
            for name, value in zip(
                ("least", "median", "most"), np.quantile(longest, (0, 0.5, 1)), strict=True
            )
        }
        if len(longest)
        else {},
        "boxes_per_image": round(len(labels) / max(1, len(dataset)), 2),
        **_by_size(area),
        "classes": classes,
    }


def _by_size(area: Any) -> dict[str, int]:
    return {
        "small": int((area < _SMALL).sum()),
        "medium": int(((area >= _SMALL) & (area < _LARGE)).sum()),
        "large": int((area >= _LARGE).sum()),
    }


def _duplicates(train: CocoDataset, val: CocoDataset) -> list[dict[str, str]]:
    """Images whose files are the same, byte by byte, in both splits."""
    by_size: dict[int, list[str]] = {}
    for index in range(len(train)):
        name = train.name(index)
        by_size.setdefault((train.folder / name).stat().st_size, []).append(name)
    hashes: dict[str, str] = {}
    found = []
    for index in range(len(val)):
        name = val.name(index)
        for other in by_size.get((val.folder / name).stat().st_size, ()):
            if other not in hashes:
                hashes[other] = _hash(train.folder / other)
            if hashes[other] == _hash(val.folder / name):
                found.append({"train": other, "val": name})
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _suggested(train_annotations: Path) -> dict[str, Any]:
    import numpy as np

    side = suggested_side(train_annotations)
    anchors = fitting_anchors(train_annotations, side)
    shapes = read_geometry(train_annotations).shapes * side
    if not anchors:
        return {"image_size": side, "anchors": None}
    return {
        "image_size": side,
        "boxes_under_8_px": round(float((shapes.min(axis=1) < 8).mean()), 4),
        "anchors": anchors,
        "coverage": round(coverage(shapes, np.array([a for level in anchors for a in level])), 4),
        "coverage_of_yolov3s": round(
            coverage(shapes, np.array([a for level in YOLOV3_ANCHORS for a in level])), 4
        ),
    }


def _coco(root: Path, splits: tuple[str, str]) -> dict[str, Any]:
    """Whether the annotations are COCO 2017's, and the content hashes by which copies are recognised."""
    result: dict[str, Any] = {}
    for part, split in zip(PARTS, splits, strict=True):
        file = annotation_file(root, split)
        facts = read_facts(file)
        result[part] = {
            "content": confirm(part, file, facts),
            "official_bytes": has_official_bytes(part, facts),
            "recognised": is_official(part, file, facts),
        }
    return result


def _refusals(datasets: Sequence[CocoDataset]) -> list[str]:
    """Why a run would refuse the dataset."""
    from yolox_core.data.coco import check_same_categories

    problems = []
    for check in (*(d.check_images for d in datasets), *(d.check_annotations for d in datasets)):
        try:
            check()
        except ValueError as error:
            problems.append(str(error))
    try:
        check_same_categories(*datasets)
    except ValueError as error:
        problems.append(str(error))
    return problems


def _doubts(report: dict[str, Any]) -> list[str]:
    """What a run would accept and a person should not."""
    train, val = (report["splits"][part] for part in PARTS)
    problems = []
    if report["duplicates"]:
        problems.append(
            f"{len(report['duplicates'])} validation images are in the training split too, byte by byte: AP "
            "would count what was learnt by heart; take them out of one split"
        )
    trained = {c["name"] for c in train["classes"] if c["boxes"]}
    unseen = [c["name"] for c in val["classes"] if c["boxes"] and c["name"] not in trained]
    if unseen:
        problems.append(f"no training box of {', '.join(unseen)}, but validation boxes")
    return problems


def format_report(report: dict[str, Any]) -> str:
    """The report as text."""
    return "\n\n".join(
        [
            *(_format_split(split) for split in report["splits"].values()),
            _format_duplicates(report["duplicates"]),
            _format_suggested(report["suggested"]),
            _format_coco(report["coco2017"]),
            "\n".join(["Problems:", *(f"- {p}" for p in report["problems"])])
            if report["problems"]
            else "Nothing that a run would refuse.",
        ]
    )


def _format_split(split: dict[str, Any]) -> str:
    sides = split["longest_side"]
    dropped = {reason.replace("_", " "): n for reason, n in split["dropped"].items() if n}
    columns = ("name", "images", "boxes", "small", "medium", "large")
    total = {"name": "(all)", "images": split["images"], "boxes": split["objects"]} | {
        size: split[size] for size in ("small", "medium", "large")
    }
    lines = [
        f"{split['split']}: {counted(split['images'], 'image')} "
        f"({split['images_without_objects']} without boxes), "
        f"{counted(split['objects'], 'box')} of {counted(split['annotations_listed'], 'annotation')}",
        f"longest side: {sides['least']} to {sides['most']} px, median {sides['median']}" if sides else "",
        "annotations not used: " + (", ".join(f"{r} {n}" for r, n in dropped.items()) or "none"),
        f"boxes without a mask: {split['objects_without_mask'] or 'none'} (Copy-Paste needs them)",
        f"images that can't be used: {len(split['skipped']) or 'none'}",
        *(f"  {image['file']}: {image['reason']}" for image in split["skipped"][:_NAMED]),
        "  …" if len(split["skipped"]) > _NAMED else "",
        format_table([{key: row[key] for key in columns} for row in (*split["classes"], total)]),
    ]
    return "\n".join(line for line in lines if line)


def _format_duplicates(duplicates: list[dict[str, str]]) -> str:
    lines = [f"images in both splits: {len(duplicates) or 'none'}"]
    lines += [f"  {pair['train']} = {pair['val']}" for pair in duplicates[:_NAMED]]
    return "\n".join(lines + ["  …"] * (len(duplicates) > _NAMED))


def _format_suggested(suggested: dict[str, Any]) -> str:
    if suggested["anchors"] is None:
        return f"suggested training size: {suggested['image_size']} px (the annotations state no sizes)"
    levels = "; ".join(", ".join(f"{w}×{h}" for w, h in level) for level in suggested["anchors"])
    return (
        f"suggested training size: {suggested['image_size']} px "
        f"({suggested['boxes_under_8_px']:.1%} of the boxes are then narrower than 8 px)\n"
        f"suggested anchors there: {levels}\n"
        f"mean IoU of a box with its best anchor: {suggested['coverage']:.3f}; "
        f"with YOLOv3's {suggested['coverage_of_yolov3s']:.3f}"
    )


def _format_coco(coco: dict[str, Any]) -> str:
    lines = ["COCO 2017: " + ("yes" if all(part["recognised"] for part in coco.values()) else "no")]
    for name, part in coco.items():
        how = (
            f"official bytes; copies written anew are recognised from now on ({confirmed_file()})"
            if part["official_bytes"]
            else "recognised by its content"
            if part["recognised"]
            else "not COCO's"
        )
        lines.append(f"  {name}: content {part['content']}, {how}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.check_data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="DIR", help="the dataset (default: $COCO_DIR)")
    parser.add_argument("--train-split", metavar="NAME", help="default: train2017 or train")
    parser.add_argument("--val-split", metavar="NAME", help="default: val2017, val or valid")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
