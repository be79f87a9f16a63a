"""Training and latency compute the same way, and the record says which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from studies.attempt.process import prepare_process
from yolox_core.build import build_detector
from yolox_core.config import Ingredients, ModelConfig
from yolox_core.kernels import choose_kernels, describe_kernels
from yolox_core.profiling import measure_latency
from yolox_core.training.distributed import World

CUDA = torch.device("cuda", 0)
TINY = replace(ModelConfig(num_classes=4), depth=0.1, width=0.0625)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    matmul, deterministic = (
        torch.backends.cuda.matmul.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
    )
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = False, True  # PyTorch's own
    yield
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = flags
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.use_deterministic_algorithms(deterministic)


def in_force() -> tuple[bool, bool, bool]:
    backends = torch.backends
    return backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32


def test_a_run_and_a_latency_measurement_have_the_same() -> None:
    prepare_process(0, World(0, 1, 0, CUDA))
    training = in_force()
    assert training == (True, False, False)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = False, True
    detector = build_detector(TINY, Ingredients())
    if torch.cuda.is_available():
        measured = measure_latency(detector, 64, CUDA, 0.01, 0.65, repeats=1, warmup=0)
        assert (measured["cudnn_benchmark"], measured["tf32"]) == (True, False)
    else:
        with pytest.raises((AssertionError, RuntimeError)):  # no such device here, but the choice comes first
            measure_latency(detector, 64, CUDA, 0.01, 0.65, repeats=1, warmup=0)
    assert in_force() == training


def test_what_is_in_force_is_recorded() -> None:
    choose_kernels(CUDA)
    found = describe_kernels(CUDA)
    assert (found["cudnn_benchmark"], found["tf32"]) == (True, False)
    torch.backends.cudnn.allow_tf32 = True
    assert describe_kernels(CUDA)["tf32"] is True
    assert set(describe_kernels("cpu").values()) == {None}


def test_latency_on_a_cpu_says_that_none_of_it_applies() -> None:
    measured = measure_latency(build_detector(TINY, Ingredients()), 64, "cpu", 0.01, 0.65, 1, 0)
    assert measured["tf32"] is None
    assert measured["cudnn_benchmark"] is None
