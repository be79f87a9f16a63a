"""The scan before training: headers, ends of files, and its cache."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.yolox_core.data_folders import gradient
from yolox_core.data import scan
from yolox_core.data.scan import check_image, scan_images

ONE = np.array([b"a.jpg"]), np.zeros((1, 2), np.int32)


def _write(path: Path, image: np.ndarray, *flags: int) -> Path:
    cv2.imwrite(str(path), image, list(flags))
    return path


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_jpeg_size_is_read_from_its_frame_header(tmp_path: Path, flags: tuple[int, ...]) -> None:
    path = _write(tmp_path / "a.jpg", gradient(37, 91), *flags)
    assert check_image(path, None) == ("", (37, 91))
    assert check_image(path, (37, 91)) == ("", (37, 91))
    assert "is 91×37 pixels, the annotations say 37×91" in check_image(path, (91, 37))[0]


def test_png_size_and_end(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.png", gradient(37, 91))
    assert check_image(path, None) == ("", (37, 91))
    path.write_bytes(path.read_bytes()[:-20])
    assert check_image(path, None)[0] == "truncated"


def test_a_little_after_the_end_marker_is_no_damage(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jpg", gradient(37, 91))
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert check_image(path, (37, 91))[0] == ""


def test_other_formats_are_decoded(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.bmp", gradient(37, 91))
    assert check_image(path, (37, 91)) == ("", (37, 91))
    assert check_image(path, None) == ("", (37, 91))
    assert "is 91×37 pixels" in check_image(path, (91, 37))[0]
    path.write_text("not an image at all, whatever its name says")
    assert check_image(path, (37, 91)) == ("can't be decoded", None)


def test_damage_in_the_middle_shows_when_asked_to_decode(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jpg", gradient(37, 91))
    assert check_image(path, (37, 91), decoding=True) == ("", (37, 91))
    jpeg = path.read_bytes()
    scan_start = jpeg.index(b"\xff\xda")
    path.write_bytes(jpeg[: scan_start - 200] + b"\0" * 200 + b"\xff\xd9")
    assert check_image(path, (37, 91))[0] == ""
    assert check_image(path, (37, 91), decoding=True)[0] == "can't be decoded"


@pytest.mark.timeout(20)
def test_a_named_pipe_is_no_image_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert check_image(tmp_path / "a.jpg", (8, 8))[0] == "unreadable: not a regular file"


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    assert check_image(tmp_path, (1, 1))[0].startswith("unreadable")


def test_every_cut_of_a_file_is_noticed(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jpg", gradient(16, 16))
    data = path.read_bytes()
    for length in range(0, len(data) - 1, 7):
        path.write_bytes(data[:length])
        reason, _ = check_image(path, (16, 16))
        # The first bytes alone could be any format: that is then the decoder's to say.
        assert reason or length < 3, length


def test_large_folders_are_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scan, "_CACHE_FROM", 2)
    folder = tmp_path / "images"
    folder.mkdir()
    names, sizes = np.array([b"a.jpg", b"b.jpg", b"c.jpg"]), np.array([[0, 0], [8, 9], [0, 0]], np.int32)
    for name in ("a.jpg", "b.jpg"):
        _write(folder / name, gradient(8, 9))
    expected = ({2: "missing"}, {0: (8, 9)})
    assert scan_images(folder, names, sizes, "key") == expected
    calls: list[Path] = []
    monkeypatch.setattr(scan, "check_image", lambda path, *_: calls.append(path) or ("", None))
    assert scan_images(folder, names, sizes, "key") == expected
    assert calls == []
    scan_images(folder, names, sizes, "other annotations")
    assert len(calls) == 3
    _write(folder / "c.jpg", gradient(8, 9))
    scan_images(folder, names, sizes, "key")
    assert len(calls) == 6, "a file that came makes the cache stale"


def test_a_damaged_or_unwritable_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_CACHE_FROM", 1)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    folder = tmp_path / "images"
    folder.mkdir()
    assert scan_images(folder, *ONE, "key") == ({0: "missing"}, {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scan_images(folder, *ONE, "key")
    (cached,) = (tmp_path / "cache").rglob("*.json")
    cached.write_text("{")
    assert scan_images(folder, *ONE, "key") == ({0: "missing"}, {})


def test_a_stopped_scan_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scan, "_CACHE_FROM", 2)
    monkeypatch.setattr(scan, "_AT_ONCE", 2)
    folder = tmp_path / "images"
    folder.mkdir()
    names, sizes = np.array([b"%d.jpg" % i for i in range(6)]), np.full((6, 2), 8, np.int32)
    calls: list[str] = []

    def check(path: Path, *_: object) -> tuple[str, None]:
        calls.append(path.name)
        if path.name == "3.jpg" and calls.count("3.jpg") == 1:
            raise KeyboardInterrupt
        return ("missing" if path.name in ("0.jpg", "5.jpg") else ""), None

    monkeypatch.setattr(scan, "check_image", check)
    with pytest.raises(KeyboardInterrupt):
        scan_images(folder, names, sizes, "key")
    assert scan_images(folder, names, sizes, "key") == ({0: "missing", 5: "missing"}, {})
    assert calls.count("0.jpg") == 1
    assert calls.count("3.jpg") == 2
