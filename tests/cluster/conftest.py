"""The cluster that the drills share: started once, stopped by process id."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, why_unavailable
from tests.cluster.laboratory import Laboratory
from tests.cluster.registry import under_way


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    """A running cluster and a runs folder on it. Skips where no Slurm can be started."""
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="yolox-slurm-") as name:
        Path(name).chmod(0o755)  # munged wants its socket reachable by all
        cluster = Cluster(Path(name) / "cluster")
        before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = cluster.env["SLURM_CONF"]
        try:
            cluster.start()
            (Path(name) / "runs").mkdir()
            yield Laboratory(cluster, Path(name) / "runs")
        finally:
            cluster.stop()
            if before is None:
                del os.environ["SLURM_CONF"]
            else:
                os.environ["SLURM_CONF"] = before


@pytest.fixture(scope="session")
def drills(laboratory: Laboratory, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """The chosen drills, all under way at the same time."""
    parameters = [getattr(item, "callspec", None) for item in request.session.items]
    items = zip(request.session.items, parameters, strict=True)
    chosen = [call.params["name"] for item, call in items if call and "drills" in item.fixturenames]
    with under_way(chosen, laboratory) as futures:
        yield futures
