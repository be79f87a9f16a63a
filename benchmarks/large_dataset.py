"""An annotation file of Objects365's size: how long does it take to open, and how much memory?

    python -m benchmarks.large_dataset [--images 1700000] [--boxes 25000000] [--classes 365]

Makes the file (3.3 GB at the defaults, some minutes), then, each in a process of its own with a cache of
their own: hash it and count as planning does, open it the first time, open it again. Prints seconds, and the
process's peak memory. Goals at the defaults: under a minute and 3 GB the first time, under two seconds after.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_BLOCK = 100_000

_MEASURE = """
import json, resource, sys, time
from pathlib import Path
what, path = sys.argv[1], Path(sys.argv[2])
if what == "plan":
    from roadmap.datasets import describe_dataset
else:
    from yolox_core.data.packed_annotations import open_annotations
start, used = time.perf_counter(), time.process_time()
if what == "plan":
    found = describe_dataset(path.parents[1]).train_images
else:
    found = len(open_annotations(path).labels)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([seconds, time.process_time() - used, peak, found]))
"""


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="yolox-large-") as folder:
        root = Path(folder)
        path = layout(root, options)
        print(f"{options.images} images, {options.boxes} boxes: {path.stat().st_size / 1e9:.2f} GB")
        environment = os.environ | {"XDG_CACHE_HOME": str(root / "cache")}
        for title, what in (
            ("planning: hash and count", "plan"),
            ("planning again", "plan"),
            ("open the first time", "open"),
            ("open again", "open"),
        ):
            seconds, used, peak, found = measure(what, path, environment)
            print(
                f"  {title:<26} {seconds:8.2f} s ({used:.2f} s of processor time), peak {peak:7.0f} MB "
                f"({found:.0f} found)",
                flush=True,
            )


def measure(what: str, path: Path, environment: dict[str, str]) -> tuple[float, float, float, float]:
    """Seconds, of processor time too, peak resident MB and what was counted, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, what, str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    seconds, used, peak, found = json.loads(done.stdout)
    return seconds, used, peak, found


def layout(root: Path, options: argparse.Namespace) -> Path:
    """COCO's layout around the large file; a tiny validation split beside it, and no images."""
    (root / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
    path = root / "annotations" / "instances_train2017.json"
    write(path, options.images, options.boxes, options.classes)
    write(path.with_name("instances_val2017.json"), 10, 50, options.classes)
    return path


def write(path: Path, images: int, boxes: int, classes: int) -> None:
    """Write an annotation file in COCO's order, objects in the order of their images."""
    rng = np.random.default_rng(0)
    owners = np.sort(rng.integers(1, images + 1, boxes))
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "made for a benchmark"}, "images": [')
        for start in range(0, images, _BLOCK):
            rows = (
                f'{{"id": {i}, "file_name": "patch{i % 50}/{i:08d}.jpg", "height": 600, "width": 800}}'
                for i in range(start + 1, min(start + _BLOCK, images) + 1)
            )
            file.write((", " if start else "") + ", ".join(rows))
        file.write('], "annotations": [')
        for start in range(0, boxes, _BLOCK):
            stop = min(start + _BLOCK, boxes)
            sides = rng.uniform(4, 200, (stop - start, 2)).round(2)
            corners = (rng.uniform(0, 1, (stop - start, 2)) * (np.array([800, 600]) - sides)).round(2)
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
    return parser


if __name__ == "__main__":
    main()
