"""Videos in Argoverse-HD's layout, and the embedded one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from yolox_core.data.moving_shapes import (
    ANNOTATIONS,
    VideoSpec,
    boxes_of,
    draw_video,
    ensure_moving_shapes,
)
from yolox_core.streaming.video import Video, read_video

SMALL = VideoSpec(sequences=2, frames=12)


def layout() -> dict[str, Any]:
    """Two videos of two and three frames, out of order in the file."""
    places = [(1, 2), (0, 0), (1, 0), (0, 1), (1, 1)]
    return {
        "sequences": ["a", "b"],
        "seq_dirs": ["first/front", "second/front"],
        "categories": [{"id": 1, "name": "car"}, {"id": 0, "name": "person"}],
        "images": [
            {"id": 10 * sid + fid, "sid": sid, "fid": fid, "name": f"{fid}.png", "width": 8, "height": 6}
            for sid, fid in places
        ],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 0, "bbox": [1, 1, 3, 3]}],
        "coco_mapping": [0, 2, 1, 2],
    }


def written(folder: Path, content: dict[str, Any]) -> Path:
    for name, number in (("first", 2), ("second", 3)):
        (folder / name / "front").mkdir(parents=True, exist_ok=True)
        for frame in range(number):
            cv2.imwrite(str(folder / name / "front" / f"{frame}.png"), np.full((6, 8, 3), frame, np.uint8))
    file = folder / "val.json"
    file.write_text(json.dumps(content))
    return file


def read(folder: Path, content: dict[str, Any]) -> Video:
    return read_video(written(folder, content), folder)


def test_frames_are_in_time_in_each_video(tmp_path: Path) -> None:
    video = read(tmp_path, layout())
    assert [s.name for s in video.sequences] == ["a", "b"]
    assert [s.image_ids.tolist() for s in video.sequences] == [[0, 1], [10, 11, 12]]
    assert video.sequences[1].load(2).shape == (6, 8, 3)
    assert video.sequences[1].load(2).max() == 2
    assert video.sequences[0].sizes.tolist() == [[6, 8], [6, 8]]
    assert (video.frames, video.objects, video.class_names) == (5, 1, ("person", "car"))


def test_labels_are_the_categories_or_those_that_cocos_classes_are_mapped_to(tmp_path: Path) -> None:
    video = read(tmp_path, layout())
    assert video.categories_of(2).tolist() == [0, 1]
    assert video.categories_of(4).tolist() == [0, -1, 1, -1]
    with pytest.raises(ValueError, match=r"80 classes .* 2 categories and coco_mapping of 4"):
        video.categories_of(80)


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.pop(key)


def each_image(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: [image.update(values) for image in data["images"]]  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("sequences"), "has no sequences; expected Argoverse-HD's layout"),
        (without("seq_dirs"), "has no seq_dirs"),
        (lambda data: data["seq_dirs"].pop(), "2 sequences and 1 seq_dirs"),
        (lambda data: [i.pop("sid") for i in data["images"]], "KeyError 'sid'; expected"),
        (lambda data: [i.pop("fid") for i in data["images"]], "KeyError 'fid'; expected"),
        (each_image(sid=2), "has sid 2, of 2 sequences"),
        (lambda data: data["images"].pop(2), "frame 0 of sequence b is missing"),
        (each_image(fid=0), "frame 1 of sequence a is there twice"),
        (each_image(id=3), "an image id occurs twice"),
        (each_image(name="../x.png"), "leaves the image folder"),
        (lambda data: data["seq_dirs"].__setitem__(0, "/etc"), "leaves the image folder"),
        (lambda data: data["sequences"].append("c") or data["seq_dirs"].append("c"), "c has no frames"),
    ],
)
def test_other_layouts_are_refused_by_name(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    content = layout()
    spoil(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, content)
    assert "val.json" in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    video = read(tmp_path, layout())
    folder = video.sequences[0].folder
    (folder / "0.png").write_bytes(b"no image")
    (folder / "1.png").unlink()
    with pytest.raises(ValueError, match=r"0\.png can't be decoded: frame 0 of a"):
        video.sequences[0].load(0)
    with pytest.raises(ValueError, match=r"1\.png is missing: frame 1 of a"):
        video.sequences[0].load(1)
    cv2.imwrite(str(folder / "0.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="9×9, not of the annotated size"):
        video.sequences[0].load(0)
    with pytest.raises(ValueError, match="nowhere is no folder"):
        read_video(video.annotation_file, tmp_path / "nowhere")


def test_the_embedded_video_is_read_by_the_same_reader(tmp_path: Path) -> None:
    folder = ensure_moving_shapes(tmp_path, SMALL)
    video = read_video(folder / ANNOTATIONS, folder)
    assert [len(s) for s in video.sequences] == [12, 12]
    assert video.class_names == SMALL.shapes.classes
    assert video.objects > video.frames
    for sequence in video.sequences:
        assert sequence.load(11).shape == (SMALL.height, SMALL.width, 3)
    before = (folder / ANNOTATIONS).stat().st_mtime_ns
    assert ensure_moving_shapes(tmp_path, SMALL) == folder
    assert (folder / ANNOTATIONS).stat().st_mtime_ns == before


def test_its_pixels_follow_from_the_specification_and_its_shapes_from_their_speed() -> None:
    frames, again = draw_video(SMALL, 0), draw_video(SMALL, 0)
    assert all(
        (one[0] == other[0]).all() and one[1] == other[1] for one, other in zip(frames, again, strict=True)
    )
    moved = []
    for (_, before), (_, after) in itertools.pairwise(frames):
        boxes = {track: np.array(box) for track, _, box in after}
        moved += [np.abs(boxes[track] - box).max() for track, _, box in before if track in boxes]
    assert max(moved) <= np.ceil(SMALL.speed[1]) + 1
    assert np.mean(moved) > SMALL.speed[0]


def test_what_is_hardly_seen_is_not_annotated() -> None:
    """A square of 10 px, of which one in front of it hides nothing, 60 %, 70 % and all."""
    for left, seen in ((20, True), (14, True), (13, False), (10, False)):
        behind, front = np.zeros((2, 40, 40), bool)
        behind[10:20, 10:20] = True
        front[10:20, left : left + 10] = True
        boxes = boxes_of([behind, front])
        assert boxes[1] == (left, 10, left + 10, 20)
        assert (boxes[0] == (10, 10, 20, 20)) is seen
