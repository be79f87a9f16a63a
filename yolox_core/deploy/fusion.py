"""A detector made ready for inference: batch norms folded into their convolutions."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from yolox_core.detector import Detector
from yolox_core.models.layers import ConvBlock


def fused_copy(detector: Detector) -> Detector:
    """Copy in evaluation mode whose blocks are convolution (with bias) and activation only.

    The same function up to rounding, without the passes over memory that batch norms cost.
    """
    result = copy.deepcopy(detector).eval()
    for block in result.modules():
        if isinstance(block, ConvBlock) and isinstance(block.norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            block.norm = nn.Identity()
    return result.requires_grad_(False)


def inference_copy(detector: Detector, device: torch.device | str) -> Detector:
    """Fused copy on a device: half precision on CUDA, float32 elsewhere, channels innermost in memory."""
    kind = torch.device(device).type
    result = fused_copy(detector).to(device)
    if kind == "cuda":
        result = result.half()
    return result.to(memory_format=torch.channels_last)
