"""Loss forward and backward from fixed outputs of the head's last convolutions, assignment included.

    make peer                                                  once
    python -m benchmarks.loss [--rounds 15] [--l1] [--profile]

Batch of 8 at 640 px, 5 to 40 objects per image, 80 classes. Ours and the official code (0.3.0) in turn on
the same maps; both must give the same loss and the same gradients. The convolutions before are left out:
they are the same on both sides. Goals: at least 3 times faster on two cores, and no more memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.assignment import print_profile
from benchmarks.crowd import CLASSES, STRIDES, make_priors, make_raw, make_targets, on_device
from benchmarks.in_turn import official, report, run_in_turn
from yolox_core.build import build_detector
from yolox_core.config import YOLOX_INGREDIENTS, model_config
from yolox_core.models.heads import DecoupledHead
from yolox_core.structures import Priors, Targets

GOAL = 3.0


class Fixed(nn.Module):
    """Gives the same answer to every input."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: object) -> object:
        return self.answer


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(options.seed)
    priors = make_priors(options.size)
    targets = make_targets(generator, options.batch, options.size)
    made = make_raw(generator, priors, targets)
    priors, targets, raw = on_device(priors, targets, made, options.device)
    maps = make_maps(raw, priors)
    leaves = [m for level in maps for m in level]
    ours = with_gradients(prepare_ours(maps, targets, options.l1), leaves)
    if options.profile:
        print_profile(ours)
        return
    theirs = with_gradients(prepare_official(maps, targets, options.l1), leaves)
    compare(ours(), theirs())
    title = f"Loss forward and backward, batch {options.batch} at {options.size}{', with L1' * options.l1}"
    report(
        title, run_in_turn({"ours": ours, "official": theirs}, options.rounds, device=options.device), GOAL
    )


def make_maps(raw: tuple[Tensor, Tensor, Tensor], priors: Priors) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Boxes, objectness and classes of each level as the last convolutions give them, (B, D, H, W)."""
    boxes, objectness, classes = raw
    levels, start = [], 0
    for rows, columns in priors.grid:
        part = slice(start, start + rows * columns)
        start = part.stop
        level = []
        for rows_of in (boxes[:, part], objectness[:, part, None], classes[:, part]):
            as_map = rows_of.transpose(1, 2).reshape(len(boxes), -1, rows, columns)
            level.append(as_map.contiguous().requires_grad_())
        levels.append((level[0], level[1], level[2]))
    return levels


def with_gradients(loss: Callable[[], Tensor], leaves: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """The loss and its gradients, leaf by leaf."""

    def run() -> list[Tensor]:
        value = loss()
        return [value.detach(), *torch.autograd.grad(value, leaves)]

    return run


def compare(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Ends the program when loss or gradients differ by more than 1e-4 of their largest value."""
    for place, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
        off = float((mine - reference).abs().max() / reference.abs().max())
        if not off < 1e-4:
            sys.exit(f"{'gradient' if place else 'loss'} {place} differs by {off:.1e} of its largest value")


def prepare_ours(
    maps: list[tuple[Tensor, Tensor, Tensor]], targets: Targets, with_l1: bool
) -> Callable[[], Tensor]:
    """The whole detector but its convolutions."""
    detector = build_detector(model_config("yolox-nano"), YOLOX_INGREDIENTS)
    detector.backbone, detector.neck = nn.Identity(), Fixed(tuple(boxes for boxes, *_ in maps))
    head = detector.head
    assert isinstance(head, DecoupledHead)
    for k, (boxes, objectness, classes) in enumerate(maps):
        head.stems[k] = head.class_convs[k] = head.box_convs[k] = nn.Identity()
        head.box_outputs[k], head.objectness_outputs[k] = Fixed(boxes), Fixed(objectness)
        head.class_outputs[k] = Fixed(classes)
    images = torch.zeros(
        len(targets.labels), 3, 32, 32, device=targets.labels.device
    )  # only its device is looked at
    return lambda: detector(images, targets, with_l1)["total"]


def prepare_official(
    maps: list[tuple[Tensor, Tensor, Tensor]], targets: Targets, with_l1: bool
) -> Callable[[], Tensor]:
    """The official head but its convolutions."""
    head = official("yolox.models").YOLOXHead(CLASSES, strides=list(STRIDES))
    head.use_l1 = with_l1
    for k, (boxes, objectness, classes) in enumerate(maps):
        head.stems[k] = head.cls_convs[k] = head.reg_convs[k] = nn.Identity()
        head.reg_preds[k], head.obj_preds[k], head.cls_preds[k] = (
            Fixed(boxes),
            Fixed(objectness),
            Fixed(classes),
        )
    labels = torch.cat((targets.labels[..., None].float(), targets.boxes_cxcywh), -1)
    labels = labels * targets.valid[..., None]
    levels = [boxes for boxes, *_ in maps]
    return lambda: head(levels, labels, levels[0])[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loss",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=640, help="image side in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--l1", action="store_true", help="with the L1 term of the closing epochs")
    parser.add_argument("--profile", action="store_true", help="where our time goes, instead of comparing")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser


if __name__ == "__main__":
    main()
