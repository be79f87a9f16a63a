"""COCO evaluation of a detector: images in, detections and the twelve figures out.

The procedure is the official code's (version 0.3.0): letterbox at the top left, threshold, NMS or top-k,
boxes divided by the resize ratio. COCO's own rules (matching, areas, crowds) are pycocotools'.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from yolox_core.augmentation.letterbox import letterbox
from yolox_core.data.coco import ImageError
from yolox_core.evaluation.coco_engines import METRICS, choose_engine, summarise
from yolox_core.evaluation.coco_ground_truth import load_ground_truth
from yolox_core.evaluation.detections import Detections, merge, shard
from yolox_core.structures import ImageDetections

__all__ = ["METRICS", "Detections", "coco_metrics", "collect_detections", "merge", "shard", "to_original"]

log = logging.getLogger(__name__)

#: Batches that reader threads may be ahead of the detector.
READ_AHEAD = 2


class Images(Protocol):
    """What evaluation needs of a dataset (:class:`yolox_core.data.coco.CocoDataset`).

    ids: COCO image ids by index. category_ids: COCO category ids by contiguous label.
    """

    @property
    def ids(self) -> Sequence[int] | NDArray[np.int64]: ...

    @property
    def category_ids(self) -> Sequence[int] | NDArray[np.int64]: ...

    def load_image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) BGR."""


class Detects(Protocol):
    """A :class:`yolox_core.detector.Detector`, or an engine in its place."""

    def detect(
        self, images: Float[Tensor, "B 3 S S"], confidence: float, nms_iou: float
    ) -> list[ImageDetections]: ...


def coco_metrics(
    annotation_file: Path | str,
    detections: Detections,
    image_ids: Sequence[int] | None = None,
    engine: str = "auto",
) -> dict[str, float | None]:
    """The twelve COCO figures (:data:`METRICS`) in percent; None where undefined (pycocotools' -1).

    image_ids: the images to evaluate, default all of the file; detections on others are left out.
    engine: ``pycocotools``, ``native`` (C++, the same figures) or ``auto``: native where a C++ compiler
    is found, else pycocotools, said once in the log.
    Raises ValueError for images that the file does not have, or an unknown engine.
    """
    evaluate = choose_engine(engine)
    known = load_ground_truth(annotation_file).image_ids
    chosen = known if image_ids is None else np.unique(np.asarray(image_ids, np.int64))
    for what, ids in (("detections are on", detections.image_ids), ("image_ids names", chosen)):
        strangers = np.setdiff1d(ids, known)
        if len(strangers):
            raise ValueError(f"{what} image {strangers[0]}, which {annotation_file} does not have")
    return summarise(evaluate(annotation_file, detections, chosen))


def collect_detections(
    detector: Detects,
    dataset: Images,
    image_size: int,
    confidence: float,
    nms_iou: float,
    device: torch.device | str,
    batch_size: int,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int], object] | None = None,
    damaged: dict[int, str] | None = None,
) -> Detections:
    """Run the detector, in evaluation mode, over this process's shard of the dataset.

    image_size: side of the square network input in pixels. confidence: lowest score kept. workers:
    threads that read images ahead of the detector. progress: called with the number of images done since
    the last call. The detector must lie on ``device``; it is returned to the mode it was in.
    An image that cannot be read must not end a long training, nor count as if nothing were found on it: it is
    put in ``damaged``, COCO id -> why, for the caller to leave out of the figures; the log has a line for
    each that was not there before.
    Detections of an image stay in the post-processing's order, best first; join the shards of several
    processes with :func:`merge`.
    """
    indices = shard(len(dataset.ids), rank, world_size)
    found: list[ImageDetections] = []
    ratios: list[float] = []
    image_ids: list[int] = []
    damaged = {} if damaged is None else damaged
    batches = _read_batches(dataset, indices, image_size, batch_size, workers, damaged)
    with _evaluation_mode(detector), closing(batches):
        for batch in batches:
            readable = [item for item in batch if item is not None]
            if readable:
                pixels = torch.from_numpy(np.stack([image for _, image, _ in readable])).to(device)
                found += detector.detect(pixels.permute(0, 3, 1, 2).float(), confidence, nms_iou)
                ratios += [ratio for _, _, ratio in readable]
                image_ids += [int(dataset.ids[index]) for index, _, _ in readable]
            if progress is not None:
                progress(len(batch))
    return to_original(found, ratios, image_ids, np.asarray(dataset.category_ids, np.int64))


def to_original(
    found: Sequence[ImageDetections],
    ratios: Sequence[float],
    image_ids: Sequence[int],
    category_ids: NDArray[np.int64],
) -> Detections:
    """Detections of each image from network input pixels to original pixels, labels to COCO categories.

    ratios: network pixels per original pixel of each image. Boxes are not clipped to the image (as in the
    official code); one that is not finite is left out and said in the log.
    """
    if not found:
        return Detections.empty()
    # All images at once: thousands of small copies from a device, or small arrays, take seconds.
    counts = [len(image.scores) for image in found]
    boxes = torch.cat([image.boxes_xyxy for image in found]).float().cpu().numpy()
    scores = torch.cat([image.scores for image in found]).float().cpu().numpy()
    labels = torch.cat([image.labels for image in found]).cpu().numpy()
    # Divided in float32 and only then subtracted: the official code's order, to the bit.
    boxes = boxes / np.repeat(np.asarray(ratios, np.float32), counts)[:, None]
    boxes[:, 2:] -= boxes[:, :2]
    result = Detections(
        np.repeat(np.asarray(image_ids, np.int64), counts),
        category_ids[labels],
        boxes.astype(np.float64),
        scores.astype(np.float64),
    )
    finite = np.asarray(np.isfinite(boxes).all(1))
    if finite.all():
        return result
    images = sorted(set(result.image_ids[~finite].tolist()))
    log.warning("%d detections without a finite box left out, on images %s", (~finite).sum(), images[:10])
    return result.select(finite)


#: Index in the dataset, letterboxed image, resize ratio.
_Item = tuple[int, NDArray[np.uint8], float]


def _read_batches(
    dataset: Images,
    indices: Sequence[int],
    image_size: int,
    batch_size: int,
    workers: int,
    damaged: dict[int, str],
) -> Generator[list[_Item | None]]:
    def read(index: int) -> _Item | None:
        try:
            image, ratio = letterbox(dataset.load_image(index), image_size)
        except ImageError as error:
            image_id = int(dataset.ids[index])
            if image_id not in damaged:
                log.warning("left out of the evaluation: %s", error)
            damaged[image_id] = str(error)
            return None
        return index, image, ratio

    chunks = (indices[start : start + batch_size] for start in range(0, len(indices), batch_size))
    if workers == 0:
        yield from ([read(index) for index in chunk] for chunk in chunks)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read")
    try:
        pending: deque[list[Future[_Item | None]]] = deque()
        for chunk in chunks:
            pending.append([pool.submit(read, index) for index in chunk])
            if len(pending) > READ_AHEAD:
                yield [future.result() for future in pending.popleft()]
        while pending:
            yield [future.result() for future in pending.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _evaluation_mode(module: object) -> Iterator[None]:
    if not isinstance(module, nn.Module):  # an engine knows no other
        yield
        return
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
