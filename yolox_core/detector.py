"""The detector: backbone, neck, branches. It knows parts by what they do, never which variant runs."""

from __future__ import annotations

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from yolox_core.assigners.common import Assigner
from yolox_core.coding import Coding
from yolox_core.config import Ingredients, ModelConfig
from yolox_core.losses import LossSums, detection_loss, divide, one_to_one_loss
from yolox_core.models.heads import OneToOneHead, RawOutput
from yolox_core.postprocess import Postprocess
from yolox_core.structures import ImageDetections, Prediction, Priors, Targets


class Detector(nn.Module):
    """``forward(images)`` predicts, ``forward(images, targets)`` gives the losses.

    Images are (B, 3, H, W) float, BGR, 0 to 255, sides multiples of 32. One call for both, because
    DistributedDataParallel only sees ``forward``.
    """

    def __init__(
        self,
        config: ModelConfig,
        ingredients: Ingredients,
        *,
        backbone: nn.Module,
        neck: nn.Module,
        head: nn.Module,
        coding: Coding,
        assigner: Assigner,
        postprocess: Postprocess,
        one_to_one_head: OneToOneHead | None = None,
        one_to_one_assigner: Assigner | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.ingredients = ingredients
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.one_to_one_head = one_to_one_head
        self.coding = coding
        self.assigner = assigner
        self.one_to_one_assigner = one_to_one_assigner
        self.postprocess = postprocess
        self._priors: dict[tuple[object, ...], Priors] = {}

    def forward(
        self, images: Float[Tensor, "B 3 H W"], targets: Targets | None = None, with_l1: bool = False
    ) -> Prediction | dict[str, Tensor]:
        """Prediction, or with targets the losses: one entry per term, their sum under ``total``, and
        ``positives``, the number of positive priors per object (a figure to watch, no loss).
        """
        prediction, priors = self.predict(images)
        return prediction if targets is None else self.losses(prediction, priors, targets, with_l1)

    def predict(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Prediction, Priors]:
        """Prediction of every prior, and the priors."""
        levels = self.neck(self.backbone(images))
        raw: RawOutput = self.head(levels)
        grid = tuple((int(x.shape[-2]), int(x.shape[-1])) for x in levels)  # tensors where it is traced
        priors = self.priors(grid, images.device)
        offsets = self.coding.offsets(raw.boxes)
        one_to_one = self.one_to_one_head(raw.features) if self.one_to_one_head is not None else None
        boxes = self.coding.decode(offsets, priors)
        return Prediction(boxes, offsets, raw.objectness, raw.classes, one_to_one), priors

    def losses(
        self, prediction: Prediction, priors: Priors, targets: Targets, with_l1: bool
    ) -> dict[str, Tensor]:
        """The sum over the branches; each branch has its own assigner and loss."""
        assignment = self.assigner(priors, prediction, targets)
        sums = detection_loss(prediction, priors, assignment, targets, self.coding, self.config.loss, with_l1)
        terms = divide(sums, mean_positives(sums))
        if self.one_to_one_assigner is not None:
            assert prediction.one_to_one is not None
            single = self.one_to_one_assigner(priors, prediction, targets)
            sums_single = one_to_one_loss(prediction.one_to_one, single, self.config.loss)
            terms |= divide(sums_single, mean_positives(sums_single))
        terms["total"] = torch.stack(list(terms.values())).sum()
        terms["positives"] = sums.positives / targets.valid.sum().clamp_min(1)
        return terms

    def priors(self, grid: tuple[tuple[int, int], ...], device: torch.device) -> Priors:
        """Priors of feature maps of these sizes, kept: multi-scale training comes back to them."""
        key = (grid, device)
        if key not in self._priors:
            self._priors[key] = self.coding.priors(grid, device)
        return self._priors[key]

    @torch.no_grad()
    def detect(
        self, images: Float[Tensor, "B 3 H W"], confidence: float, nms_iou: float
    ) -> list[ImageDetections]:
        """Detections of each image, best first, in pixels of ``images``."""
        prediction, _ = self.predict(images)
        return self.postprocess(prediction, confidence, nms_iou)


def mean_positives(sums: LossSums) -> Tensor:
    """Positives per process: the count averaged over processes, so that the averaged gradient is that of
    the whole batch (docs/decisions/0009-loss-normaliser.md). The whole batch's count is at least 1.
    """
    count, processes = sums.positives.detach().clone(), 1
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(count)
        processes = dist.get_world_size()
    return count.clamp_min(1) / processes
