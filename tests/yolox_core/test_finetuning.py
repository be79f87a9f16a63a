"""Fine-tuning from the released weights: training must keep what they know."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from yolox_core.build import build_detector, build_pipelines
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, AugmentationConfig, TrainConfig
from yolox_core.data.coco import CocoDataset, open_splits
from yolox_core.data.loader import TrainStream
from yolox_core.deploy.folded_norms import unfold_norms
from yolox_core.deploy.weights import load_official
from yolox_core.detector import Detector
from yolox_core.evaluation.collect import coco_metrics, collect_detections
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import Hooks, Trainer

SHARED = Path(__file__).resolve().parents[3] / "shared"
COCO_MINI, RELEASED = SHARED / "coco-mini", SHARED / "weights" / "yolox_nano.pth"
SIDE = 416

#: Two epochs of six steps, the second without strong augmentation and with L1.
CONFIG = TrainConfig(
    epochs=2,
    warmup_epochs=1,
    closing_epochs=1,
    batch_size=16,
    learning_rate=1e-4,
    image_size=SIDE,
    multiscale=(SIDE, SIDE),
    evaluate_every=2,
    ema_ramp=10,
    augmentation=AugmentationConfig(mixup=0.0, mosaic_scale=(0.5, 1.5)),
)


def evaluate(model: nn.Module, dataset: CocoDataset) -> dict[str, float | None]:
    assert isinstance(model, Detector)
    found = collect_detections(model, dataset, SIDE, 0.01, CONFIG.nms_iou, "cpu", batch_size=8, workers=1)
    return coco_metrics(dataset.annotation_file, found)


@pytest.mark.slow
@pytest.mark.skipif(
    not (COCO_MINI.exists() and RELEASED.exists()), reason="needs ../shared/coco-mini and ../shared/weights"
)
def test_a_few_epochs_at_a_small_learning_rate_keep_the_ap(tmp_path: Path) -> None:
    """On 32 other images; 96 to train on. A mistake in loss, assigner or targets costs tens of points.

    The file at hand has folded batch norms: docs/decisions/0076-folded-batch-norms.md.
    """
    train, val = open_splits(COCO_MINI)
    torch.manual_seed(0)
    detector = build_detector(MODELS["yolox-nano"], YOLOX_INGREDIENTS)
    report = load_official(detector, RELEASED)
    assert report.complete
    pipelines = build_pipelines(YOLOX_INGREDIENTS, CONFIG)
    if report.folded:
        with TrainStream(train, *pipelines, CONFIG, seed=1) as stream:
            unfold_norms(detector, (batch.images.float() for batch in itertools.islice(stream, 4)))
    before = evaluate(detector, val)["AP"]
    loaded = {key: value.clone() for key, value in detector.state_dict().items()}

    def batches(epoch: int, iteration: int) -> Any:
        return TrainStream(train, *pipelines, CONFIG, seed=0, start_epoch=epoch, start_iteration=iteration)

    hooks = Hooks(
        batches=batches,
        side=lambda epoch, iteration: SIDE,
        evaluate=lambda model, epoch: evaluate(model, val),
    )
    store = CheckpointStore(tmp_path)
    history = Trainer(detector, CONFIG, images=len(train), world=World(), store=store, hooks=hooks).run()

    assert before is not None
    assert before > 35
    assert history[-1]["AP"] > before - 1.0
    assert all(np.isfinite(row["loss"]) for row in history)
    moved = [key for key, value in detector.named_parameters() if not torch.equal(value, loaded[key])]
    assert len(moved) > 0.95 * len(list(detector.parameters()))

    # what was trained leaves under official names and comes back
    again = build_detector(MODELS["yolox-nano"], YOLOX_INGREDIENTS)
    assert load_official(again, tmp_path / "best.pt").complete
    assert evaluate(again, val)["AP"] == pytest.approx(history[-1]["AP"])
    print(f"AP {before:.2f} before, {history[-1]['AP']:.2f} after")
