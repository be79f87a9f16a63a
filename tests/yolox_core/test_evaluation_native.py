"""Compiling on first use: the cache, the fallback, several processes at once."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from yolox_core.evaluation import coco_engines, native
from yolox_core.evaluation.collect import coco_metrics
from yolox_core.evaluation.detections import Detections
from yolox_core.evaluation.native import NativeUnavailableError, load

SOURCE = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "answer.cpp"
    file.write_text(SOURCE)
    return file


@pytest.fixture
def fresh_engines() -> Iterator[None]:
    """Engines are chosen once per process: forget the choice before and after."""
    caches = (coco_engines.native_library, coco_engines._native_works)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def annotation_file(tmp_path: Path) -> Path:
    file = tmp_path / "instances.json"
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 50]}
    file.write_text(json.dumps({"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": [box]}))
    return file


def test_compiled_once_then_taken_from_the_cache(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    assert load(source, cache).answer() == 42
    assert [p.suffix for p in cache.iterdir()] == [".so"], "nothing else may be left behind"
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert load(source, cache).answer() == 42


def test_a_changed_source_is_compiled_anew(source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    load(source, cache)
    source.write_text(SOURCE.replace("42", "43"))
    assert load(source, cache).answer() == 43
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_library_is_compiled_anew(source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    native.compile_library(source, cache / f"answer-{native._key(source)}.so")
    (library,) = cache.iterdir()
    library.write_bytes(b"damaged")
    assert load(source, cache).answer() == 42


def test_processes_that_compile_at_once_all_get_the_library(source: Path, tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from yolox_core.evaluation.native import load
        print(load(Path(sys.argv[1]), Path(sys.argv[2])).answer())
    """)
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "cache")]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in several] == ["42"] * 4
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "message"), [("int broken(", "failed on answer.cpp"), ("#include <nowhere.h>", "answer.cpp")]
)
def test_a_failing_compiler_is_reported(source: Path, tmp_path: Path, text: str, message: str) -> None:
    source.write_text(text)
    with pytest.raises(NativeUnavailableError, match=message):
        load(source, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_compiler_is_reported(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeUnavailableError, match=r"no C\+\+ compiler"):
        load(source, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_reported(source: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(NativeUnavailableError, match=r"cannot compile answer\.cpp"):
        load(source, tmp_path / "cache")


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.cache_folder() == tmp_path / "yolox-roadmap"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert native.cache_folder() == Path("/home/somebody/.cache/yolox-roadmap")


@pytest.mark.usefixtures("fresh_engines")
def test_without_a_compiler_auto_is_pycocotools_and_says_so_once(
    annotation_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert coco_metrics(annotation_file, Detections.empty())["AP"] == 0.0
    assert caplog.text.count("COCO evaluation by pycocotools") == 1
    assert "no-such-compiler" in caplog.text
    with pytest.raises(NativeUnavailableError):
        coco_metrics(annotation_file, Detections.empty(), engine="native")


@pytest.mark.usefixtures("fresh_engines")
def test_with_a_compiler_auto_is_native(annotation_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("pycocotools was asked")

    monkeypatch.setattr(coco_engines, "pycocotools_engine", never)
    assert coco_metrics(annotation_file, Detections.empty())["AP"] == 0.0
