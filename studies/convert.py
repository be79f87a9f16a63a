"""How is a dataset in YOLO's layout (data.yaml) or Pascal VOC's (Annotations/*.xml) made ready for training?

    python -m studies.convert --data DIR --out NEW_FOLDER
    python -m studies.roadmap --data NEW_FOLDER --protocol small

DIR holds a data.yaml (the file itself may be given too), or VOC's folders Annotations, ImageSets/Main and
JPEGImages. Written once, in COCO's layout: annotations, and a folder per split with links to the images
(--copy for copies). Outlines become their boxes; what VOC calls difficult becomes a crowd, which is neither
learnt nor judged. Images that their EXIF data rotate are written anew upright, as the boxes refer to what
viewers show.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from roadmap.words import counted

if TYPE_CHECKING:
    from yolox_core.data.converting import Convertible


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when the folder was written, 2 with a message when it was not."""
    options = _parser().parse_args(arguments)
    from yolox_core.data.converting import convert
    from yolox_core.data.voc import is_voc, read_voc
    from yolox_core.data.yolo import find_yaml, read_yaml

    try:
        dataset: Convertible
        if is_voc(options.data):
            dataset = read_voc(options.data, options.train_split, options.val_split)
        elif options.train_split or options.val_split:
            raise ValueError(
                "a data.yaml names its splits itself; --train-split and --val-split are for VOC's"
            )
        else:
            dataset = read_yaml(find_yaml(options.data))
        counts = convert(dataset, options.out, options.copy)
    except (ValueError, OSError) as error:
        print(f"convert: error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"out": str(options.out), "classes": dataset.names, "splits": counts}, indent=1))
        return 0
    for split, count in counts.items():
        difficult = f", {count['difficult']} of them difficult" if count["difficult"] else ""
        upright = f", {count['upright']} written upright" if count["upright"] else ""
        boxes = counted(count["boxes"], "box")
        print(f"{split}: {counted(count['images'], 'image')}, {boxes}{difficult}{upright}")
    print(f"{counted(len(dataset.names), 'class')}. Next: python -m studies.check_data --data {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with data.yaml or the file, or VOC's"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a folder that is new")
    parser.add_argument(
        "--train-split", metavar="NAME", help="VOC: list for training (default: trainval or train)"
    )
    parser.add_argument("--val-split", metavar="NAME", help="VOC: list for validation (default: test or val)")
    parser.add_argument("--copy", action="store_true", help="copy images instead of linking them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
