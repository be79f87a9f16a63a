"""What is left of an AP when the world does not wait for the detector?

    python -m studies.streaming --runs runs/roadmap                  finished runs on the embedded video
    python -m studies.streaming --weights yolox-nano=yolox_nano.pth --weights yolox-s=yolox_s.pth \\
        --annotations Argoverse-HD/annotations/val.json --images Argoverse-1.1/tracking
    python -m studies.streaming --runs runs/roadmap --latency record    latencies of the runs' records
    python -m studies.streaming --runs runs/roadmap --latency realtime  by the wall clock
    python -m studies.streaming --record runs/streaming/streaming.json  tables and figures again

Streaming AP (Li, Wang and Ramanan, ECCV 2020): each frame is judged by what the detector had said by then.
With and without the dynamic schedule and a Kalman filter that forecasts, at the video's frame rate and at
others: the record says at which rate one arm overtakes another. docs/streaming.md explains the protocol.

The embedded video shows drawn shapes, for detectors that were trained on the embedded dataset; its figures
are no Argoverse-HD figures, and say so.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.stages import STAGE_NAMES
from roadmap.streaming import NAME
from studies.attempt.played import NAMED, find_subjects, with_latencies
from yolox_core.config import MODELS, TrainConfig

if TYPE_CHECKING:
    from roadmap.record import Latency
    from roadmap.streaming import StreamingRecord, VideoFacts
    from yolox_core.streaming.video import Video

#: Frame rates that are tried beside the video's own.
SWEEP = (15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 360.0, 480.0)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when everything was played, 1 with a message when it was not."""
    options = _parser().parse_args(arguments)
    try:
        if options.record is not None:
            from roadmap.streaming import read_streaming

            record, out = read_streaming(options.record), options.out or options.record.parent
        else:
            out = options.out or Path("runs/streaming")
            out.mkdir(parents=True, exist_ok=True)  # what cannot be written is not to be played for hours
            record = make_record(options)
        return _report(record, out, options)
    except (ValueError, OSError) as error:
        print(f"streaming: {error}", file=sys.stderr)
        return 1


def _report(record: StreamingRecord, out: Path, options: argparse.Namespace) -> int:
    from reports.pages.streaming import write_streaming
    from roadmap.record import write_json
    from roadmap.text_table import say
    from roadmap.typed import to_json

    out.mkdir(parents=True, exist_ok=True)
    if options.record is None:
        write_json(out / NAME, to_json(record))
    written = write_streaming(record, out)
    if options.json:
        say(json.dumps(to_json(record), indent=1))
    else:
        say(f"{written.summary}\n\n{written.page}")
    return 0


def make_record(options: argparse.Namespace) -> StreamingRecord:
    """Play the video to everything that was named. Raises ValueError naming what is missing."""
    latency = options.latency
    source = latency if latency in NAMED else "constant" if _is_number(latency) else "file"
    others = options.sweep if options.sweep is not None else () if source == "realtime" else SWEEP
    swept = tuple(sorted({options.fps, *others}))
    subjects = find_subjects(options)
    if source in ("record", "file"):
        subjects = with_latencies(subjects, Path(latency) if source == "file" else None)

    from tqdm import tqdm

    from roadmap.code import code_state
    from roadmap.record import now
    from roadmap.streaming import SCHEMA, Conditions, StreamingRecord
    from studies.attempt.environment import describe_hardware
    from studies.attempt.load import others_load, read_clock
    from studies.attempt.process import prepare_process
    from studies.attempt.streams import Playing, load_detector, play_to
    from studies.evaluate import choose_device
    from yolox_core.training.distributed import World

    device = choose_device(options.device)
    prepare_process(0, World(device=device))
    video, embedded = _video(options)
    constant = float(latency) / 1e3 if source == "constant" else 0.0
    playing = Playing(
        options.fps, swept, options.seed, source, constant, options.confidence, options.nms_iou, device
    )
    for subject in subjects:
        load_detector(subject, video)  # what does not fit is said before anything is played
    before, arms, dtype = read_clock(), [], ""
    for subject in subjects:
        with tqdm(total=video.frames, desc=subject.name, unit="frame", disable=None, leave=False) as bar:
            arm, dtype = play_to(subject, video, playing, bar.update)
        arms.append(arm)
    busy: float | None = others_load(before, read_clock())
    if source in ("record", "file"):
        busy = max((s.latency.others_load or 0.0 for s in subjects if s.latency), default=None)
    here = describe_hardware(World(device=device))
    timed = {"device": device.type, "hardware": here["name"], "dtype": dtype, "threads": here["threads"]}
    if source in ("record", "file"):
        timed = _timed_on([s.latency for s in subjects if s.latency])
    conditions = Conditions(
        fps=options.fps,
        swept=swept,
        seed=options.seed,
        latency=source,
        confidence=options.confidence,
        nms_iou=options.nms_iou,
        **timed,
        host=here["host"],
        commit=str(code_state()),
        measured=now(),
        others_load=busy,
    )
    return StreamingRecord(SCHEMA, _facts(video, embedded), conditions, tuple(arms))


def _facts(video: Video, embedded: bool) -> VideoFacts:
    from roadmap.streaming import VideoFacts

    return VideoFacts(
        name="embedded video of moving shapes" if embedded else video.annotation_file.name,
        embedded=embedded,
        sha256=_sha256(video.annotation_file),
        sequences=len(video.sequences),
        frames=video.frames,
        objects=video.objects,
        classes=video.class_names,
    )


def _timed_on(latencies: list[Latency]) -> dict[str, Any]:
    """What latencies of records were measured on: each kind once, and the most threads."""

    def each(name: str) -> str:
        return "; ".join(sorted({str(getattr(latency, name) or "unknown") for latency in latencies}))

    threads = max(latency.threads or 0 for latency in latencies)
    return {"device": each("device"), "hardware": each("name"), "dtype": each("dtype"), "threads": threads}


def _video(options: argparse.Namespace) -> tuple[Video, bool]:
    """The video, and whether it is the embedded one."""
    from roadmap.datasets import embedded_folder
    from yolox_core.streaming.video import read_video

    if options.annotations is None:
        from yolox_core.data.moving_shapes import ANNOTATIONS, ensure_moving_shapes

        folder = ensure_moving_shapes(embedded_folder())
        return read_video(folder / ANNOTATIONS, folder), True
    if not options.annotations.is_file():
        raise ValueError(f"--annotations {options.annotations} is missing")
    if options.images is None:
        raise ValueError("--images DIR is missing: the folder in which the annotations' seq_dirs lie")
    return read_video(options.annotations, options.images), False


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.streaming",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what is played to")
    what.add_argument(
        "--runs", type=Path, action="append", metavar="FOLDER",
        help="finished runs: a run's folder, a study's, or one of studies; may be repeated",
    )  # fmt: skip
    what.add_argument(
        "--weights", type=_named_file, action="append", metavar="NAME=FILE",
        help=f"a checkpoint of a named model or stage; may be repeated: {', '.join((*MODELS, *STAGE_NAMES))}",
    )  # fmt: skip
    what.add_argument("--image-size", type=int, metavar="PIXELS", help="for --weights (default: the model's)")
    video = parser.add_argument_group("the video (default: the embedded one)")
    video.add_argument("--annotations", type=Path, metavar="FILE", help="in Argoverse-HD's layout")
    video.add_argument("--images", type=Path, metavar="DIR", help="where its seq_dirs lie")
    how = parser.add_argument_group("how it is played")
    how.add_argument("--fps", type=_positive, default=30.0, help="frames per second (default: %(default)g)")
    how.add_argument(
        "--sweep", type=_rates, metavar="FPS,FPS,…",
        help=f"frame rates to try beside (default: {', '.join(f'{r:g}' for r in SWEEP)}; in real time none)",
    )  # fmt: skip
    how.add_argument(
        "--latency", default="measured", metavar="HOW",
        help="measured (in this run; default), record (the runs' records), realtime (by the wall clock), a "
        "FILE that studies.profile --latency --json printed, or a number of milliseconds",
    )  # fmt: skip
    how.add_argument("--seed", type=int, default=0, help="of the drawn latencies (default: %(default)s)")
    how.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    how.add_argument("--confidence", type=float, default=TrainConfig.final_confidence, help="%(default)s")
    how.add_argument("--nms-iou", type=float, default=TrainConfig.nms_iou, help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/streaming, or the record's")
    parser.add_argument("--record", type=Path, metavar="FILE", help=f"tables and figures of a {NAME} again")
    parser.add_argument("--json", action="store_true", help="print the record instead of a table")
    return parser


def _named_file(text: str) -> tuple[str, Path]:
    name, _, file = text.partition("=")
    if name not in MODELS and name not in STAGE_NAMES:
        raise argparse.ArgumentTypeError(
            f"{name!r} is no model or stage: {', '.join((*MODELS, *STAGE_NAMES))}"
        )
    if not file:
        raise argparse.ArgumentTypeError(f"needs a file: {name}=FILE")
    return name, Path(file)


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text}")
    return value


def _rates(text: str) -> tuple[float, ...]:
    return tuple(_positive(part) for part in text.split(",") if part)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and float(text) >= 0
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
