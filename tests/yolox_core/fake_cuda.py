"""CUDA without a device: tensors that have a shape, a type and the device ``cuda``, but no numbers.

PyTorch checks the devices of every operation on such tensors, forwards and backwards, so a tensor left on the
CPU is found here as on a GPU. What needs numbers (how many are not zero, is it finite) makes the host wait
for a GPU; it gets a made-up answer, and the place in our code that asked is noted.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA, _META = torch.device("cuda", 0), torch.device("meta")
_DEVICE = torch.ops.prim.device.default


class Waits(TorchDispatchMode):
    """found: ``file:function`` of ours for each operation that had to wait for the device."""

    #: How many entries are not zero, whatever is asked.
    ANSWER = 5

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is _DEVICE:
            return _META
        if kwargs.get("device") == _META:  # autograd makes zeros "where the tensor is"
            kwargs["device"] = CUDA
        if func is torch.ops.aten.nonzero.default:
            self._note(args[0])
            return torch.empty(self.ANSWER, args[0].dim(), dtype=torch.int64, device=args[0].device)
        fetched = func is torch.ops.aten._to_copy.default and kwargs.get("device") == torch.device("cpu")
        if fetched and not kwargs.get("non_blocking"):
            self._note(args[0])
        if func is torch.ops.aten._local_scalar_dense.default:
            self._note(args[0])
            return args[0].dtype.is_floating_point or 1
        if func is torch.ops.aten._fused_sgd_.default:  # knows no tensors without numbers
            parts = [tensor for group in args for tensor in group]
            assert {tensor.device for tensor in parts} == {CUDA}
            return None
        return func(*args, **kwargs)

    def _note(self, tensor: Any) -> None:
        if tensor.device != CUDA:
            return
        frames = [f for f in traceback.extract_stack() if Path(f.filename).parts[-2:-1] and "yolox_core" in
                  Path(f.filename).parts and "tests" not in Path(f.filename).parts]  # fmt: skip
        self.found.append(f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "elsewhere")


@contextmanager
def fake_cuda() -> Iterator[None]:
    """In this context tensors are fake, mixed precision is there, and modules move to ``cuda``."""
    handler = FakeTensor.__torch_dispatch__

    def dispatch(func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Autograd's engine would ask the driver about the device; nothing else looks here.
        return _META if func is _DEVICE else handler(func, types, args, kwargs)

    with (
        mock.patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False),
        mock.patch.object(FakeTensor, "__torch_dispatch__", staticmethod(dispatch)),
        mock.patch.object(FakeTensorMode, "__deepcopy__", lambda mode, memo: mode, create=True),
        mock.patch.dict(fake_tensor._DISPATCH_META_HANDLERS, {_DEVICE: lambda args: _META}),
        mock.patch.object(nn.Module, "to", _move),
        FakeTensorMode(),
    ):
        yield


def _move(module: nn.Module, device: torch.device | None = None, memory_format: Any = None) -> nn.Module:
    """``Module.to``, which cannot exchange fake tensors in place."""
    if device is not None:
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    part._parameters[name] = nn.Parameter(value.detach().to(device))
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = buffer.to(device)
    return module
