"""A study kept: its finished runs' records in one small archive, from which its report can be rebuilt.

    study.json         the study, to be read
    records.tar.gz     <study>/study.json and <study>/<run>/…, as below runs/; a search's search.json too
    images.json        what annotations and detections say, where it was asked for
    report/            the report, built from these

What a repository should not hold stays out: checkpoints, detections, pictures of a dataset, logs, names of
hosts, and where files lay on the machine that made them.
"""

from __future__ import annotations

import gzip
import io
import json
import os.path
import tarfile
import zlib
from pathlib import Path
from typing import Any

from roadmap.importances import FILE as IMPORTANCES
from roadmap.record import find_runs, read_json, read_lines, write_atomic
from roadmap.search import FILE as SEARCH
from roadmap.study import FILE

ARCHIVE = "records.tar.gz"
IMAGES = "images.json"
_DOCUMENTS = ("recipe.json", "environment.json", "result.json")
_LINES = ("attempts.jsonl", "metrics.jsonl")
#: Where a search keeps its storage and finds its data.
_WHERE: dict[str, Any] = {"storage": "", "inputs": {}}
#: Who and where: of no use to anybody else.
_LOCAL = {"host": "", "pid": 0}


def keep_records(runs: Path, study: str, folder: Path, images: dict[str, Any] | None = None) -> int:
    """Write the finished runs of a study below ``runs`` to ``folder``; how many there are.

    images: what their annotations and detections say, by the folder of a group's tables.

    The same records give the same bytes. Raises ValueError where there is none.
    """
    finished = [run for run in find_runs(runs, study) if (run.path / "result.json").exists()]
    if not finished:
        raise ValueError(f"no finished runs of {study} below {runs}; nothing to keep")
    plan = read_json(runs / study / FILE)
    files = {} if plan is None else {f"{study}/{FILE}": _json(plan)}
    for name in (SEARCH, IMPORTANCES):
        if (data := read_json(runs / study / name)) is not None:
            files[f"{study}/{name}"] = _json(anywhere({**data, **_WHERE} if name == SEARCH else data))
    for run in finished:
        start = f"{study}/{run.name}"
        for name in _DOCUMENTS:
            files[f"{start}/{name}"] = _json(anywhere(read_json(run.path / name)))
        for name in _LINES:
            rows = [json.dumps(anywhere(row)) + "\n" for row in read_lines(run.path / name)]
            files[f"{start}/{name}"] = "".join(rows).encode()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / ARCHIVE, _packed(files))
    if plan is not None:
        write_atomic(folder / FILE, _json(plan))
    if images is None:
        (folder / IMAGES).unlink(missing_ok=True)
    else:
        write_atomic(folder / IMAGES, _json(anywhere(images)))
    return len(finished)


def read_images(folder: Path) -> dict[str, Any]:
    """What was kept of a study's annotations and detections; nothing where that was not asked for."""
    return read_json(folder / IMAGES) or {}


def unpack_records(folder: Path, runs: Path) -> str:
    """Unpack kept records below ``runs``; the study's name. Raises ValueError where ``folder`` keeps none."""
    try:
        # Whole and checked before any of it is read: tarfile takes a damaged stream for a shorter one.
        plain = gzip.decompress((folder / ARCHIVE).read_bytes())
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            archive.extractall(runs, filter="data")
        (study,) = [path.name for path in runs.iterdir()]
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise ValueError(f"{folder} keeps no study: {error}; --keep makes such a folder") from error
    return study


def anywhere(value: Any) -> Any:
    """A JSON value without what only holds on one machine: names of hosts and processes, folders of files."""
    if isinstance(value, dict):
        return {k: _LOCAL[k] if k in _LOCAL and v is not None else anywhere(v) for k, v in value.items()}
    if isinstance(value, list):
        return [anywhere(item) for item in value]
    return _portable(value) if isinstance(value, str) else value


def _portable(text: str) -> str:
    """A path's last part, also behind ``--option=``; other text as it is."""
    option, equals, path = text.partition("=")
    if os.path.isabs(path):
        return f"{option}{equals}{os.path.basename(path)}"
    return os.path.basename(text) if os.path.isabs(text) else text


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _packed(files: dict[str, bytes]) -> bytes:
    """A tar.gz that knows no time and no owner."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), 9, mtime=0)
