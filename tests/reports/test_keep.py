"""A kept study: a small archive without anything of the machine, and the same report again."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from reports.__main__ import NO_FINISHED_RUNS, WRONG_USAGE, main
from reports.build import build_report
from reports.records.keep import ARCHIVE, IMAGES, anywhere, keep_records, unpack_records
from roadmap.record import PICTURE
from tests.reports.factory import write_run, write_study
from tests.reports.test_images import FIFTEEN, TEN, write_annotations, write_detections


def test_what_is_kept_gives_the_same_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    for folder in write_study(runs, seeds=2, stages=("baseline", "decoupled-head")):
        (folder / "detections.json").write_text("[]", encoding="utf-8")
        (folder / PICTURE).write_bytes(b"\xff\xd8")
    write_run(runs, "simota", state="interrupted")
    assert main(["--runs", str(runs), "--keep", str(kept), "--no-figures"]) == 0
    with tarfile.open(kept / ARCHIVE) as archive:
        names = archive.getnames()
        content = b"".join(
            file.read() for member in archive if (file := archive.extractfile(member)) is not None
        )
    assert len(names) == 1 + 4 * 5
    assert not any(name.endswith(("detections.json", PICTURE)) for name in names)
    assert b"laptop" not in content
    assert str(tmp_path).encode() not in content
    ours = build_report(runs, "roadmap", tmp_path / "direct", figures=False).data
    theirs = json.loads((kept / "report" / "report.json").read_text(encoding="utf-8"))
    assert theirs["groups"] == json.loads(json.dumps(ours["groups"]))
    first = (kept / "report" / "report.md").read_bytes()
    assert main(["--kept", str(kept), "--no-figures"]) == 0
    assert (kept / "report" / "report.md").read_bytes() == first
    capsys.readouterr()


def test_what_annotations_and_detections_say_is_kept_without_them(tmp_path: Path) -> None:
    runs, kept, data = tmp_path / "runs", tmp_path / "kept", tmp_path / "data"
    write_annotations(data)
    for stage, ap, found in (("multi-positives", TEN, 10), ("simota", FIFTEEN, 15)):
        write_detections(write_run(runs, stage, ap=ap), data, range(found))
    assert main(["--runs", str(runs), "--keep", str(kept), "--images", "--no-figures"]) == 0
    ours = build_report(runs, "roadmap", tmp_path / "direct", figures=False, images=True).data["groups"]
    shutil.rmtree(data)
    assert main(["--kept", str(kept), "--no-figures"]) == 0
    (group,) = json.loads((kept / "report" / "report.json").read_text(encoding="utf-8"))["groups"]
    assert group["over_images"]
    assert group["errors"]
    assert [group] == json.loads(json.dumps(ours))
    (kept / IMAGES).write_text('{"' + group["folder"] + '": {"steps": 1}}', encoding="utf-8")
    assert main(["--kept", str(kept), "--no-figures"]) == WRONG_USAGE


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    write_study(tmp_path / "runs", stages=("baseline",))
    assert keep_records(tmp_path / "runs", "roadmap", tmp_path / "a") == 1
    keep_records(tmp_path / "runs", "roadmap", tmp_path / "b")
    assert (tmp_path / "a" / ARCHIVE).read_bytes() == (tmp_path / "b" / ARCHIVE).read_bytes()


def test_folders_and_hosts_are_left_out() -> None:
    told = {"host": "node1", "pid": 7, "command": ["python", "--data", "/home/me/coco"], "slurm": None}
    assert anywhere(told) == {"host": "", "pid": 0, "command": ["python", "--data", "coco"], "slurm": None}
    assert anywhere([1.5, "a/b", {"host": None}]) == [1.5, "a/b", {"host": None}]
    assert anywhere(["--data=/home/me/coco", "a=b/c", "/x/a=b"]) == ["--data=coco", "a=b/c", "a=b"]


def test_a_damaged_archive_is_no_shorter_study(tmp_path: Path) -> None:
    write_study(tmp_path / "runs", stages=("baseline",))
    keep_records(tmp_path / "runs", "roadmap", tmp_path)
    whole = (tmp_path / ARCHIVE).read_bytes()
    middle = len(whole) // 2
    for place, damaged in enumerate(
        (whole[:middle], whole[:-2], whole[:middle] + bytes(8) + whole[middle + 8 :])
    ):
        (tmp_path / ARCHIVE).write_bytes(damaged)
        with pytest.raises(ValueError, match="keeps no study"):
            unpack_records(tmp_path, tmp_path / f"out{place}")


def test_what_cannot_be_kept_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kept", str(tmp_path)]) == WRONG_USAGE
    assert "--keep makes such a folder" in capsys.readouterr().err
    write_run(tmp_path / "runs", "simota", state="interrupted")
    keep = ["--runs", str(tmp_path / "runs"), "--keep", str(tmp_path / "kept")]
    assert main(keep) == WRONG_USAGE
    assert "no finished runs of roadmap" in capsys.readouterr().err
    assert main([*keep, "--images"]) == NO_FINISHED_RUNS
    capsys.readouterr()
    assert main(["--kept", str(tmp_path), "--images"]) == WRONG_USAGE
    assert "leave out --all and --images" in capsys.readouterr().err
    assert main([*keep, "--kept", str(tmp_path)]) == WRONG_USAGE
    assert "give one of them" in capsys.readouterr().err
    assert main(["--runs", str(tmp_path / "none"), "--keep", str(tmp_path / "kept")]) == NO_FINISHED_RUNS
