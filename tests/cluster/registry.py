"""Drills mostly wait, so all chosen ones run at the same time, a thread each; a test waits for its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from threading import BoundedSemaphore

from tests.cluster.laboratory import Laboratory

Drill = Callable[[Laboratory], None]
_DRILLS: dict[str, Drill] = {}
#: More real trainings than this only make each other slow: then the slowest runs out of patience.
_TRAINING = BoundedSemaphore(4)


def drill(function: Drill) -> Drill:
    """Register a drill under its name."""
    assert function.__name__ not in _DRILLS
    _DRILLS[function.__name__] = function
    return function


def training_drill(function: Drill) -> Drill:
    """Register a drill that trains for real; only a few run at a time, for each needs a core."""

    @wraps(function)
    def with_others(laboratory: Laboratory) -> None:
        with _TRAINING:
            function(laboratory)

    return drill(with_others)


def names(module: str) -> list[str]:
    """Drills that a test module has registered, in order."""
    return [name for name, function in _DRILLS.items() if function.__module__ == module]


@contextmanager
def under_way(chosen: Iterable[str], laboratory: Laboratory) -> Iterator[dict[str, Future[None]]]:
    """The chosen drills, started."""
    with ThreadPoolExecutor(len(_DRILLS)) as pool:
        yield {name: pool.submit(_DRILLS[name], laboratory) for name in chosen}
