"""A run's latency on photographs, with how busy the machine was meanwhile; and the same again, later.

A figure measured beside other work is too high by an unknown amount, so it carries its judgement with it.
:func:`measure_again` replaces it on a quiet machine and keeps what was there.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import torch

from roadmap.record import Latency, RunFolder, Spread, now, write_result
from studies.attempt.data import photographs
from studies.attempt.environment import device_name
from studies.attempt.load import others_load, read_clock
from studies.attempt.process import prepare_process
from yolox_core.config import TrainConfig
from yolox_core.data.coco import CocoDataset
from yolox_core.detector import Detector
from yolox_core.profiling import measure_latency
from yolox_core.training.distributed import World

#: Latency is measured on this many validation images in turn, this many times in all.
LATENCY_IMAGES, LATENCY_REPEATS = 32, 200


def latency_of(detector: Detector, config: TrainConfig, images: CocoDataset, device: torch.device) -> Latency:
    """Latency on photographs of the validation split, and how busy the machine was."""
    shown = photographs(images, LATENCY_IMAGES, config.image_size)
    load, before = os.getloadavg()[0], read_clock()
    measured = measure_latency(
        detector,
        config.image_size,
        device,
        config.final_confidence,
        config.nms_iou,
        repeats=LATENCY_REPEATS,
        images=shown if len(shown) else None,
    )
    others = others_load(before, read_clock())
    times = {name: Spread(**measured[name]) for name in ("forward_ms", "postprocess_ms", "total_ms")}
    return Latency(
        **(measured | times),
        load_average=load,
        load_average_after=os.getloadavg()[0],
        others_load=others,
        measured=now(),
        host=socket.gethostname(),
        name=device_name(device),
    )


def measure_again(
    folder: RunFolder, detector: Detector, config: TrainConfig, images: CocoDataset, device: torch.device
) -> tuple[Latency, Latency | None]:
    """Measure a finished run's latency again, and make it the record's; those before are kept beside it.

    detector: with the run's best weights. Returns the new and the former figure. Raises ValueError when the
    run is not finished, or the machine is busy: the record is then left as it was.
    """
    from reports.tables.conditions import BUSY  # a report judges by it; pandas comes with it

    result = folder.result()
    if result is None:
        raise ValueError(f"{folder.path} is not finished; its latency is measured at its end")
    former = result.latency
    prepare_process(0, World(device=device))
    if former is not None and former.threads:
        torch.set_num_threads(former.threads)
    found = latency_of(detector, config, images, device)
    if found.others_load is not None and found.others_load >= BUSY:
        raise ValueError(
            f"other processes kept {found.others_load:.1f} cores busy meanwhile: "
            f"{found.forward_ms.median:.2f} ms is not recorded; measure again when the machine is quiet"
        )
    earlier = result.earlier_latencies + ((former,) if former else ())
    with folder.lock():
        write_result(folder, replace(result, latency=found, earlier_latencies=earlier))
    return found, former
