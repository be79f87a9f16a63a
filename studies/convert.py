"""How is a dataset in YOLO's layout (data.yaml, labels/*.txt) made ready for training here?

    python -m studies.convert --data DIR --out NEW_FOLDER
    python -m studies.roadmap --data NEW_FOLDER --protocol small

DIR holds a data.yaml; the file itself may be given too. Written once, in COCO's layout: annotations, and a
folder per split with links to the images (--copy for copies). Outlines become their boxes. Images that their
EXIF data rotate are written anew upright, as the boxes refer to what viewers show.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from roadmap.words import counted


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when the folder was written, 2 with a message when it was not."""
    options = _parser().parse_args(arguments)
    from yolox_core.data.yolo import convert, find_yaml, read_yaml

    try:
        dataset = read_yaml(find_yaml(options.data))
        counts = convert(dataset, options.out, options.copy)
    except (ValueError, OSError) as error:
        print(f"convert: error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"out": str(options.out), "classes": dataset.names, "splits": counts}, indent=1))
        return 0
    for split, count in counts.items():
        upright = f", {count['upright']} written upright" if count["upright"] else ""
        print(f"{split}: {counted(count['images'], 'image')}, {counted(count['boxes'], 'box')}{upright}")
    print(f"{counted(len(dataset.names), 'class')}. Next: python -m studies.check_data --data {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with data.yaml, or the file"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a folder that is new")
    parser.add_argument("--copy", action="store_true", help="copy images instead of linking them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
