"""ncnn files (.param and .bin) through pnnx, with the card in a JSON file beside them.

pnnx reads a traced TorchScript program. ncnn works on one image at a time and has no NMS.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import torch

from yolox_core.deploy.card import Card
from yolox_core.deploy.graph import Graph
from yolox_core.deploy.packages import need
from yolox_core.files import write_json


def card_file(path: Path) -> Path:
    """Where the card of a .param file lies."""
    return path.with_suffix(".json")


def save_ncnn(graph: Graph, card: Card, path: Path) -> None:
    """Trace, convert and write ``path`` (.param), the .bin and the card beside it.

    graph: with ``plain``. Raises ValueError without the package, or when pnnx fails or leaves a layer that
    ncnn does not have.
    """
    pnnx = need("pnnx")
    size = card.image_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is old, and all that pnnx reads
        program = torch.jit.trace(graph, torch.zeros(1, 3, size, size), check_trace=False)
    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder, "model.pt")
        program.save(str(traced))
        half = f"fp16={int(card.precision == 'fp16')}"
        command = [pnnx.EXEC_PATH, str(traced), f"inputshape=[1,3,{size},{size}]", half]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        made = traced.with_suffix(".ncnn.param")
        if done.returncode or not made.exists():
            raise ValueError(f"pnnx could not convert {card.name}: {done.stderr.strip()[-500:]}")
        if left := _foreign_layers(made):
            raise ValueError(f"ncnn has no {', '.join(left)}, which pnnx left in {card.name}")
        shutil.copyfile(made.with_suffix(".bin"), path.with_suffix(".bin"))
        shutil.copyfile(made, path)
    write_json(card_file(path), card.to_entries())


def _foreign_layers(param: Path) -> list[str]:
    """Layers that kept PyTorch's names, which have a dot or two colons."""
    lines = param.read_text(encoding="utf-8").splitlines()[2:]
    return sorted({name for name in (line.split()[0] for line in lines) if "." in name or "::" in name})
