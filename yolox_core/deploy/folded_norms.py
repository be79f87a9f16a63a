"""Checkpoints whose batch norms were folded into the convolutions, made fit for training again.

Folding keeps what a network computes at test time but leaves batch norms that say "mean 0, variance 1"
about inputs of any scale. Training normalises by the batch instead, and from the first step the network
is another one: docs/decisions/0076-folded-batch-norms.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from yolox_core.models.layers import ConvBlock

BatchNorm = nn.modules.batchnorm._BatchNorm


def has_folded_norms(model: nn.Module) -> bool:
    """Whether the batch norms do nothing but add their biases, as no trained one does.

    A fresh model's do not even that; it is not meant.
    """
    norms = [m for m in model.modules() if isinstance(m, BatchNorm)]
    return any(bool(n.bias.any()) for n in norms) and all(map(_adds_its_bias_only, norms))


@torch.no_grad()
def unfold_norms(
    model: nn.Module, batches: Iterable[Tensor], total: Callable[[Tensor], Tensor] = lambda own: own
) -> None:
    """Give batch norms the statistics of their inputs, and weights and biases that undo it: in evaluation
    mode the model computes what it did, in training mode nearly so.

    batches: training images as the model takes them, on its device; a hundred images or so do. Of several
    processes each may have a share of them: total then adds up, over all of them, what each has measured. The
    model is returned to the mode it was in. Raises ValueError when there is no batch.
    """
    blocks = [m for m in model.modules() if isinstance(m, ConvBlock) and isinstance(m.norm, BatchNorm)]
    sums = {block: torch.zeros(3, block.conv.out_channels, dtype=torch.float64) for block in blocks}
    hooks = [block.norm.register_forward_pre_hook(partial(_add_up, sums[block])) for block in blocks]
    training = model.training
    model.eval()
    try:
        for batch in batches:
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    if not sums:
        return
    parts = total(torch.cat(list(sums.values()), dim=1)).split(
        [part.shape[1] for part in sums.values()], dim=1
    )
    for block, (count, values, squares) in zip(sums, parts, strict=True):
        if not count.all():
            raise ValueError("no images to measure the batch norms on")
        mean = values / count
        _restate(block, mean, squares / count - mean.square())


def _adds_its_bias_only(norm: BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    # within twice eps: folding writes 1 or 1 - eps
    unscaled = (norm.weight == 1).all() and ((variance - 1).abs() <= 2 * norm.eps).all()
    return bool(unscaled) and not mean.any()


def _add_up(sums: Tensor, module: nn.Module, inputs: tuple[Tensor]) -> None:
    """Number of values, their sum and the sum of their squares, per channel."""
    values = inputs[0].double().transpose(0, 1).flatten(1)
    count = torch.full_like(values[:, 0], values.shape[1])
    sums += torch.stack((count, values.sum(1), values.square().sum(1))).cpu()


def _restate(block: ConvBlock, mean: Tensor, variance: Tensor) -> None:
    """The same map with these statistics, and kernels of length 1.

    The length of a kernel in front of a batch norm decides nothing but the relative size of its steps,
    which grows with 1 / length²; folding leaves lengths that no training would.
    """
    norm, kernels = block.norm, block.conv.weight
    assert isinstance(norm, BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    length = kernels.flatten(1).norm(dim=1).clamp_min(1e-12)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    mean, variance = mean.to(length), variance.clamp_min(0).to(length)
    norm.bias.add_((mean - norm.running_mean) * scale)
    norm.running_mean.copy_(mean / length)
    norm.running_var.copy_(variance / length.square())
    norm.weight.copy_(scale * length * torch.sqrt(norm.running_var + norm.eps))
    kernels /= length[:, None, None, None]
