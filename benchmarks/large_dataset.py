"""A dataset of Objects365's size: how long does it take to plan, open, scan, evaluate, and in what memory?

    python -m benchmarks.large_dataset [--images 1700000] [--boxes 25000000] [--classes 365]
                                       [--val-images 80000] [--val-boxes 1240000] [--folder DIR]

Makes the annotation files (2.8 GB at the defaults) and a name for every image, all of them links to a few
files; then, each in a process of its own with a cache of their own: plans (hash, counts, anchors), opens the
annotations, opens the training split with its images looked at, each the first time and again; feeds two data
processes from the large split and from a small one; evaluates 100 detections per validation image. Prints
seconds and peak memory. Goals at the defaults: under a minute of processor time and 3 GB for the first
opening, under two seconds after.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

_BLOCK = 100_000
#: Names of one file; file systems allow some 65,000.
_LINKS = 30_000
_HEIGHT, _WIDTH = 600, 800
_TRAIN, _VAL, _SMALL = "train2017", "val2017", "small"


def main() -> None:
    options = _parser().parse_args()
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="yolox-large-")
        root = options.folder or Path(stack.enter_context(temporary))
        make(root, options)
        size = _annotations(root, _TRAIN).stat().st_size / 1e9
        print(f"{options.images} images, {options.boxes} boxes, {options.classes} classes: {size:.2f} GB")
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yolox-cache-")))
        for title, what in (
            ("hash and count", "facts"),
            ("hash and count, again", "facts"),
            ("boxes and anchors", "anchors"),
            ("boxes and anchors, again", "anchors"),
            ("annotations", "annotations"),
            ("annotations, again", "annotations"),
            ("split, every image looked at", "split"),
            ("split, again", "split"),
            ("own memory of a worker, small", "worker-small"),
            ("own memory of a worker, large", "worker-large"),
            (f"evaluation, {options.val_images} images", "evaluation"),
        ):
            seconds, used, peak, found = measure(what, root, cache)
            print(
                f"  {title:<30} {seconds:8.2f} s ({used:.2f} s of processor time), "
                f"peak {peak:6.0f} MB: {found}",
                flush=True,
            )


def measure(what: str, root: Path, cache: Path) -> tuple[float, float, float, str]:
    """Seconds, of processor time too, peak resident MB and what was found, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks import large_dataset as b; b.carry_out()", what, str(root)],
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    seconds, used, peak, found = json.loads(done.stdout.splitlines()[-1])
    return seconds, used, peak, found


def carry_out() -> None:
    """In that process: import what is needed, then do it and say how it went."""
    act = _PREPARE[sys.argv[1]](Path(sys.argv[2]))
    start, used = time.perf_counter(), time.process_time()
    found = act()
    seconds, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, used, peak, found]))


def _facts(root: Path) -> Callable[[], str]:
    from roadmap.datasets import describe_dataset

    return lambda: f"{describe_dataset(root).train_images} images"


def _anchors(root: Path) -> Callable[[], str]:
    from roadmap.anchors import fitting_anchors

    return lambda: f"{fitting_anchors(_annotations(root, _TRAIN), 640)[0][0]}"


def _open(root: Path) -> Callable[[], str]:
    from yolox_core.data.packed_annotations import open_annotations

    return lambda: f"{len(open_annotations(_annotations(root, _TRAIN)).labels)} objects"


def _split(root: Path) -> Callable[[], str]:
    from yolox_core.data.coco import CocoDataset

    return lambda: f"{len(CocoDataset(root, _TRAIN))} images"


def _worker(root: Path, split: str) -> Callable[[], str]:
    """Megabytes that a process alone holds, the larger of two data processes after 24 batches of 8."""
    from yolox_core.build import build_pipelines
    from yolox_core.config import YOLOX_INGREDIENTS, TrainConfig
    from yolox_core.data.coco import CocoDataset
    from yolox_core.data.loader import TrainStream

    def feed() -> str:
        config = TrainConfig(batch_size=8, image_size=64, epochs=50, warmup_epochs=0, closing_epochs=0)
        pipelines = build_pipelines(YOLOX_INGREDIENTS, config)
        with TrainStream(CocoDataset(root, split), *pipelines, config, seed=0, workers=2) as stream:
            for _ in range(24):
                next(stream)
            own = [_private(process.pid or 0) for process in stream._workers]
        return f"{max(own):.0f} MB of its own"

    return feed


def _private(process: int) -> float:
    """Without pages of a file, which the system may drop and every process can share."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


def _evaluation(root: Path) -> Callable[[], str]:
    from yolox_core.evaluation.collect import Detections, coco_metrics

    file, per_image = _annotations(root, _VAL), 100
    content = json.loads(file.read_bytes())
    ids = np.array([image["id"] for image in content["images"]]).repeat(per_image)
    classes = len(content["categories"])
    rng = np.random.default_rng(1)
    boxes = rng.uniform(4, 200, (len(ids), 4))
    labels, scores = rng.integers(1, classes + 1, len(ids)), rng.uniform(0, 0.5, len(ids))
    # A third of the true boxes is found, a little beside its place.
    hits = np.arange(0, len(content["annotations"]), 3)
    place = rng.permutation(len(ids))[: len(hits)]
    true = [content["annotations"][hit] for hit in hits.tolist()]
    ids[place], labels[place] = [a["image_id"] for a in true], [a["category_id"] for a in true]
    boxes[place] = np.array([a["bbox"] for a in true]) + rng.normal(0, 3, (len(hits), 4))
    scores[place] += 0.5
    detections = Detections(ids, labels, boxes.clip(0.5), scores)
    del content, true
    return lambda: f"AP {coco_metrics(file, detections)['AP']:.4f} of {len(ids)} detections"


_PREPARE: dict[str, Callable[[Path], Callable[[], str]]] = {
    "facts": _facts,
    "anchors": _anchors,
    "annotations": _open,
    "split": _split,
    "worker-small": lambda root: _worker(root, _SMALL),
    "worker-large": lambda root: _worker(root, _TRAIN),
    "evaluation": _evaluation,
}


def make(root: Path, options: argparse.Namespace) -> None:
    """COCO's layout: a large training split, a validation split, and a tiny one to compare with."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, images, boxes in (
        (_TRAIN, options.images, options.boxes),
        (_VAL, options.val_images, options.val_boxes),
        (_SMALL, 100, 1500),
    ):
        if not _annotations(root, split).exists():
            link_images(root / split, images)
            write(_annotations(root, split), images, boxes, options.classes)


def _annotations(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}.json"


def _name(image: int) -> str:
    return f"patch{image % 50}/{image:08d}.jpg"


def link_images(folder: Path, images: int) -> None:
    """A name for every image; the files behind them are the same noise."""
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (_HEIGHT // 8, _WIDTH // 8, 3), np.uint8)
    picture = cv2.imencode(".jpg", cv2.resize(noise, (_WIDTH, _HEIGHT)))[1].tobytes()
    for patch in range(50):
        (folder / f"patch{patch}").mkdir(parents=True, exist_ok=True)
    for first in range(1, images + 1, _LINKS):
        file = folder / _name(first)
        file.write_bytes(picture)
        for image in range(first + 1, min(first + _LINKS, images + 1)):
            os.link(file, folder / _name(image))


def write(path: Path, images: int, boxes: int, classes: int) -> None:
    """Write an annotation file in COCO's order, objects in the order of their images."""
    rng = np.random.default_rng(0)
    owners = np.sort(rng.integers(1, images + 1, boxes))
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "made for a benchmark"}, "images": [')
        for start in range(0, images, _BLOCK):
            rows = (
                f'{{"id": {i}, "file_name": "{_name(i)}", "height": {_HEIGHT}, "width": {_WIDTH}}}'
                for i in range(start + 1, min(start + _BLOCK, images) + 1)
            )
            file.write((", " if start else "") + ", ".join(rows))
        file.write('], "annotations": [')
        for start in range(0, boxes, _BLOCK):
            stop = min(start + _BLOCK, boxes)
            sides = rng.uniform(4, 200, (stop - start, 2)).round(2)
            corners = (rng.uniform(0, 1, (stop - start, 2)) * (np.array([_WIDTH, _HEIGHT]) - sides)).round(2)
            labels = rng.integers(1, classes + 1, stop - start)
            columns = (range(start + 1, stop + 1), owners[start:stop].tolist(), labels.tolist())
            rows = (
                f'{{"id": {i}, "image_id": {image}, "category_id": {label}, "bbox": [{x}, {y}, {w}, {h}], '
                f'"area": {w * h:.1f}, "iscrowd": 0}}'
                for i, image, label, (x, y), (w, h) in zip(
                    *columns, corners.tolist(), sides.tolist(), strict=True
                )
            )
            file.write((", " if start else "") + ", ".join(rows))
        categories = [{"id": i, "name": f"class {i}"} for i in range(1, classes + 1)]
        file.write(f'], "categories": {json.dumps(categories)}}}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large_dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=1_700_000)
    parser.add_argument("--boxes", type=int, default=25_000_000)
    parser.add_argument("--classes", type=int, default=365)
    parser.add_argument("--val-images", type=int, default=80_000)
    parser.add_argument("--val-boxes", type=int, default=1_240_000)
    parser.add_argument("--folder", type=Path, help="make it here, keep it, and use it again")
    return parser


if __name__ == "__main__":
    main()
