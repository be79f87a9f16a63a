"""Settings that follow from a dataset: what the protocol ``small`` decides once it knows the data.

Between the paper's settings, made for 118,287 images, and a few hundred photographs lie three orders of
magnitude; fixed numbers suit one size only (docs/decisions/0025-small-datasets.md).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from roadmap.annotations import cached
from roadmap.geometry import read_geometry
from roadmap.protocols import PAPER, Protocol
from roadmap.recipe import DatasetConfig

#: Iterations that a run from scratch gets, as long as that is between so many epochs.
_ITERATIONS, _FEWEST_EPOCHS, _MOST_EPOCHS = 6000, 100, 300
_IMAGES_PER_BATCH, _SMALLEST_BATCH = 16, 8
#: Up to how many images a model is shrunk to which depth and width.
_SCALES = ((1000, (0.33, 0.5)), (5000, (0.67, 0.75)))
_SMALLEST_SIDE, _LARGEST_SIDE = 160, 640
#: Pixels of a cell of the finest level.
_CELL = 8


def fitted(protocol: Protocol, dataset: DatasetConfig, train_annotations: Path | None) -> Protocol:
    """The protocol with everything decided that follows from the data; itself where nothing does.

    train_annotations: for the images' sizes; None for the embedded dataset. Settings of the user's come after
    it. The paper's own sizes are the limit: a dataset as large as COCO gets its batch and learning rate.
    """
    if not protocol.fits_data:
        return protocol
    paper = PAPER.training
    low, high = paper.multiscale
    side = _LARGEST_SIDE if train_annotations is None else suggested_side(train_annotations)
    batch = _batch_size(dataset.train_images, paper.batch_size)
    per_epoch = max(1, dataset.train_images // batch)
    epochs = min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, -(-_ITERATIONS // per_epoch)))
    training = replace(
        protocol.training,
        epochs=epochs,
        warmup_epochs=round(epochs * paper.warmup_epochs / paper.epochs),
        closing_epochs=round(epochs * paper.closing_epochs / paper.epochs),
        evaluate_every=round(epochs * paper.evaluate_every / paper.epochs),
        batch_size=batch,
        # Few steps want longer ones than the linear rule gives; the root meets the paper's at its batch.
        learning_rate=round(paper.learning_rate * (batch / paper.batch_size) ** 0.5, 4),
        image_size=side,
        multiscale=(
            _whole_cells(side * low / paper.image_size),
            _whole_cells(side * high / paper.image_size),
        ),
    )
    scale = next((scale for images, scale in _SCALES if dataset.train_images <= images), None)
    return replace(protocol, training=training, scale=scale)


def _batch_size(images: int, largest: int) -> int:
    """The largest power of two that leaves 16 batches per epoch, from 8 to the paper's."""
    size = _SMALLEST_BATCH
    while size * 2 <= min(largest, images // _IMAGES_PER_BATCH):
        size *= 2
    return size


def suggested_side(train_annotations: Path) -> int:
    """The training size that suits a dataset, in pixels: whole cells of the coarsest level.

    The images' usual longest side, at most the paper's 640; more (at most 1280, never beyond the images' own)
    where over a tenth of the boxes would else be narrower than a cell of the finest level. 640 where the
    annotations state no sizes. Raises ValueError naming a broken file.
    """

    def make() -> int:
        import numpy as np

        geometry = read_geometry(train_annotations)
        if not len(geometry.longest_sides):
            return _LARGEST_SIDE
        usual = int(np.median(geometry.longest_sides))
        side = min(_LARGEST_SIDE, max(_SMALLEST_SIDE, _whole_cells(usual)))
        narrow = geometry.shapes.min(axis=1) * side
        if len(narrow) and (thin := float(np.quantile(narrow, 0.1))) < _CELL:
            side = max(side, min(_whole_cells(side * _CELL / thin), usual // 32 * 32, 2 * _LARGEST_SIDE))
        return side

    return cached(train_annotations, "suggested side 1", make)


def _whole_cells(side: float) -> int:
    return max(1, round(side / 32)) * 32
