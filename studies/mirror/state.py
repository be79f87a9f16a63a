"""tracking.json: what a run's tracker was told, and what is still to be mirrored.

uri             the tracking server, without credentials
experiment      its experiment
run_id          MLflow's id of the run, null before it exists
mirrored_epoch  last epoch that MLflow has
status          the status that MLflow shows
pending         what is not mirrored, in words; ``python -m studies.sync`` sends it
error           the latest failure, null after a success
updated         UTC time
"""

from __future__ import annotations

from typing import Any

from roadmap.record import RunFolder, now, read_json, write_json
from roadmap.redaction import public_uri
from studies.mirror.layout import View, record_id


def write_mirrored(folder: RunFolder, uri: str, run_id: str, view: View) -> None:
    """Everything that the record held when ``view`` was read is in MLflow."""
    _write(folder, uri, run_id=run_id, mirrored_epoch=view.epoch, status=view.status)


def write_pending(folder: RunFolder, uri: str, error: str, ended: bool) -> None:
    """Mirroring failed: what was mirrored before stays said, what was not is named.

    ended: whether the run is over, so that its status is to be mirrored too.
    """
    before = read_state(folder)
    if before.get("uri") != public_uri(uri) or before.get("record") != record_id(folder.attempts()):
        before = {}
    mirrored, status = before.get("mirrored_epoch", 0), before.get("status")
    epochs = [row["epoch"] for row in folder.metrics() if row["epoch"] > mirrored]
    pending = [f"epochs {min(epochs)} to {max(epochs)}"] if epochs else []
    if status != "FINISHED" and folder.result() is not None:
        pending.append("result")
    elif ended and status in (None, "RUNNING"):
        pending.append("status")
    _write(
        folder,
        uri,
        run_id=before.get("run_id"),
        mirrored_epoch=mirrored,
        status=status,
        pending=pending,
        error=error,
    )


def read_state(folder: RunFolder) -> dict[str, Any]:
    """tracking.json, empty before the first attempt."""
    return read_json(folder.path / "tracking.json") or {}


def _write(
    folder: RunFolder,
    uri: str,
    *,
    run_id: str | None,
    mirrored_epoch: int,
    status: str | None,
    pending: list[str] | None = None,
    error: str | None = None,
) -> None:
    state = {
        "record": record_id(folder.attempts()),
        "uri": public_uri(uri),
        "experiment": folder.study,
        "run_id": run_id,
        "mirrored_epoch": mirrored_epoch,
        "status": status,
        "pending": pending or [],
        "error": error,
        "updated": now(),
    }
    write_json(folder.path / "tracking.json", state)
