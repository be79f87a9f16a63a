"""What a run trains on and is tested on: both splits, and which of their images could not be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from roadmap.datasets import embedded_folder, find_splits
from roadmap.recipe import Recipe
from yolox_core.augmentation.letterbox import letterbox
from yolox_core.data.coco import CocoDataset, ImageError, open_splits
from yolox_core.data.image_cache import open_image_cache
from yolox_core.data.shapes import ensure_shapes_dataset
from yolox_core.training.distributed import World


@dataclass
class RunData:
    """Both splits. ``damaged_train``, ``damaged_val``: images whose damage only showed when this attempt
    decoded them, by file name and by COCO id, with the reason; of the training split, those that this process
    met, until :meth:`share_damage`.
    """

    train: CocoDataset
    val: CocoDataset
    damaged_train: dict[str, str] = field(default_factory=dict)
    damaged_val: dict[int, str] = field(default_factory=dict)

    def skipped(self) -> dict[str, int]:
        """Images left out of each split: found unusable at the start, or damaged when they were read."""
        return {
            "train": len(self.train.skipped) + len(self.damaged_train),
            "val": len(self.val.skipped) + len(self.damaged_val),
        }

    def share_damage(self, world: World) -> None:
        """Let every process know the damaged training images of all; every process must call it."""
        for found in world.gather(self.damaged_train):
            self.damaged_train.update(found)

    def summary(self) -> dict[str, Any]:
        """Where the images lie and what became of them, for environment.json."""
        return {
            "path": str(self.train.root),
            "train": self.train.summary(),
            "val": self.val.summary(),
        }


def open_data(
    root: Path | None,
    embedded: Path | None,
    world: World,
    splits: tuple[str, str] | None = None,
    masks: bool = False,
) -> RunData:
    """Open both splits on every process.

    root: the dataset's folder, None for the embedded dataset, which is made in ``embedded`` where it is
    missing (None: its usual place). splits: names of both, None for those that are usual. masks: read those
    of the training split too. Raises ValueError for a dataset that cannot be used, or that differs between
    processes.
    """
    if root is None:
        embedded = embedded or embedded_folder()
        if world.is_main:
            ensure_shapes_dataset(embedded)
        world.barrier()
        root = ensure_shapes_dataset(embedded)
    train, val = open_splits(root, splits or find_splits(root), masks=masks)
    skipped = [tuple(sorted(image.name for image in split.skipped)) for split in (train, val)]
    if any(other != skipped for other in world.gather(skipped)):
        raise ValueError(f"processes see different images in {root}; is it the same folder on all nodes?")
    return RunData(train, val)


def cache_images(data: RunData, folder: Path, recipe: Recipe, world: World) -> None:
    """Read training images from a cache below ``folder``, made where it is missing.

    The main process makes it; where the folder is local to each node, the first of each does. Raises
    ValueError when there is no room for it.
    """
    side, fingerprint = recipe.training.image_size, recipe.dataset.fingerprint
    cache = open_image_cache(folder, data.train, side, fingerprint) if world.is_main else None
    world.barrier()
    data.train.use_cache(cache or open_image_cache(folder, data.train, side, fingerprint))


def photographs(
    dataset: CocoDataset, count: int, size: int, rank: int = 0, world_size: int = 1
) -> Float[Tensor, "n 3 S S"]:
    """The first images of a split that can be decoded, as network input of side ``size``; at most ``count``,
    and none where none can be decoded. Of several processes each has its share of them.
    """
    own = range(rank, len(dataset), world_size)
    images = list(islice(_decoded(dataset, own, size), len(range(rank, count, world_size))))
    stacked = np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float()


def _decoded(dataset: CocoDataset, indices: Iterable[int], size: int) -> Iterator[NDArray[np.uint8]]:
    for index in indices:
        try:
            yield letterbox(dataset.load_image(index), size)[0]
        except ImageError:
            continue  # whoever trains on it or evaluates it counts it and says so
