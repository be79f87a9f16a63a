"""AP against streaming AP, arm by arm, and who overtakes whom at which frame rate, as tables."""

from __future__ import annotations

from reports.blocks import Caption
from reports.grid import NOTHING, Cell, Column, Grid
from reports.judging.overtaking import overtakings, pairs_without
from reports.tables.conditions import BUSY
from roadmap.streaming import SOURCES, VARIANT_NAMES, VARIANTS, Stream, StreamArm, StreamingRecord
from roadmap.words import counted

#: What stands wherever a figure of the embedded video can be cut from.
MARK = "demo, not Argoverse-HD"


def mark(record: StreamingRecord) -> str:
    """Why the figures are no benchmark's; empty for a video of the user's, which its caption names."""
    return MARK if record.video.embedded else ""


def streaming_grid(record: StreamingRecord) -> Grid:
    """One row per arm: latency, AP, and streaming AP in every way of playing, at the record's frame rate."""
    fps = record.conditions.fps
    group = ", ".join(filter(None, (f"AP, and sAP at {fps:g} fps (%)", mark(record))))
    streams = ("sAP", "+ Kalman", "+ dynamic", "+ both")
    columns = (
        Column("", "Arm", "l"), Column("Latency (ms)", "median"), Column("Latency (ms)", "95 %"),
        *(Column(group, title) for title in ("AP", *streams)),
        Column("Plain stream", "frames old"), Column("Plain stream", "processed"),
    )  # fmt: skip
    return Grid(columns, tuple(_row(arm, fps) for arm in record.arms))


def _row(arm: StreamArm, fps: float) -> tuple[Cell, ...]:
    streams = [arm.stream(fps, variant) for variant in VARIANTS]
    plain = streams[0]
    total = plain.frames if plain else 0
    return (
        Cell(arm.label, kind="label"),
        Cell(f"{arm.latency_ms.median:.1f}"),
        Cell(f"{arm.latency_ms.p95:.1f}"),
        Cell(_percent(arm.ap)),
        *(Cell(_percent(stream.ap if stream else None)) for stream in streams),
        Cell(_age(plain)),
        Cell(f"{plain.processed} of {total}" if plain else NOTHING),
    )


def overtaking_grid(record: StreamingRecord, variant: tuple[bool, bool]) -> Grid | None:
    """Every change of the lead over the frame rates of a record; None where there is none."""
    changes = overtakings(record, variant)
    if not changes:
        return None
    labels = {arm.name: arm.label for arm in record.arms}
    columns = (
        Column("", "Ahead before", "l"), Column("", "Ahead after", "l"), Column("", "Between (fps)"),
        Column(mark(record), "Largest lead after (sAP)"),
    )  # fmt: skip
    rows = tuple(
        (
            Cell(labels[c.before], kind="label"), Cell(labels[c.after], kind="label"),
            Cell(f"{'AP' if c.low is None else format(c.low, 'g')} and {c.high:g}"), Cell(f"{c.lead:.1f}"),
        )
        for c in changes
    )  # fmt: skip
    return Grid(columns, rows)


def overtaking_sentence(record: StreamingRecord, variant: tuple[bool, bool]) -> str:
    """What the table leaves out: pairs whose order never changes."""
    rates = record.conditions.swept
    number = pairs_without(record, variant)
    some = overtakings(record, variant)
    over = f"at every rate that was tried ({', '.join(f'{r:g}' for r in rates)} fps), and by AP"
    if not some:
        return f"No arm overtakes another ({VARIANT_NAMES[variant]}): the order is the same {over}."
    name = VARIANT_NAMES[variant].capitalize()
    return f"{name}: of {counted(number, 'other pair')} the order is the same {over}."


def streaming_caption(record: StreamingRecord) -> Caption:
    """Everything a reader must know about the figures."""
    video, c = record.video, record.conditions
    sources = dict.fromkeys(arm.source for arm in record.arms)
    warning = (
        f"{MARK.upper()}: the video shows drawn shapes; its figures compare with no other video's."
        if video.embedded
        else ""
    )
    busy = c.others_load
    sentences = (
        f"Video: {video.name} (annotations' SHA-256 {video.sha256[:12]}), "
        f"{counted(video.sequences, 'sequence')}, {counted(video.frames, 'frame')}, "
        f"{counted(video.objects, 'object')} of {counted(len(video.classes), 'class')}.",
        "sAP is COCO's AP of what the detector had said by the moment at which each frame comes; AP that of "
        "every frame with its own detections. One video, no seeds: differences get no word.",
        f"Latency: {'; '.join(SOURCES[s] for s in sources)}; on {c.hardware}, "
        f"{c.dtype}, batch 1{_threads(record)}; drawn with seed {c.seed}.",
        f"Other processes kept {busy:.1f} cores busy meanwhile: latencies are too high by an unknown amount."
        if busy is not None and busy >= BUSY and "constant" not in sources
        else "",
        f"Detections from confidence {c.confidence:g} on, NMS at IoU {c.nms_iou:g}. Forecasts take no time. "
        "Kalman: boxes moved ahead by the filter; dynamic: the dynamic schedule. Frames old: how old the "
        "answer is on average; processed: frames that were detected on.",
        f"Code: {c.commit}." if c.commit else "",
    )
    return Caption(f"AP and streaming AP on {video.name}", warning, tuple(filter(None, sentences)))


def stamp(record: StreamingRecord) -> str:
    """Conditions in a picture itself."""
    c = record.conditions
    where = f"latency on {c.hardware}, {c.dtype}{_threads(record)}"
    return f"{record.video.name}, {record.video.frames} frames; {where}"


def _threads(record: StreamingRecord) -> str:
    """How many, where they decide: on a processor."""
    c = record.conditions
    return f", {counted(c.threads, 'thread')}" if c.device == "cpu" and c.threads else ""


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _age(stream: Stream | None) -> str:
    return NOTHING if stream is None or stream.mean_age is None else f"{stream.mean_age:.2f}"
