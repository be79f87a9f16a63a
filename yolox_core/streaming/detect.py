"""A detector as a stream uses it: one decoded frame in, boxes in its pixels out, and how long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from yolox_core.augmentation.letterbox import letterbox
from yolox_core.deploy.fusion import inference_copy
from yolox_core.detector import Detector
from yolox_core.evaluation.collect import to_original
from yolox_core.evaluation.detections import Detections, concatenate
from yolox_core.kernels import choose_kernels
from yolox_core.streaming.video import Image, Sequence, Video, frames_of


class FrameDetector:
    """Resize, forward pass and post-processing of single frames, under the conditions of other latencies:
    batch norms folded, half precision on CUDA and float32 on a CPU.

    categories: (classes,) of each label, -1 for those that are left out.
    """

    def __init__(
        self,
        detector: Detector,
        image_size: int,
        confidence: float,
        nms_iou: float,
        device: torch.device,
        categories: NDArray[np.int64],
    ) -> None:
        choose_kernels(device)
        self._model = inference_copy(detector, device)
        parameter = next(self._model.parameters())
        self._device, self.dtype = parameter.device, parameter.dtype
        self._size, self._confidence, self._nms_iou = image_size, confidence, nms_iou
        self._categories = categories

    @torch.inference_mode()
    def __call__(self, image: Image, image_id: int) -> Detections:
        """Detections of one image (H, W, 3) BGR, in its pixels; the device has nothing left to do."""
        fitted, ratio = letterbox(image, self._size)
        pixels = torch.from_numpy(fitted)[None].to(self._device).permute(0, 3, 1, 2)
        batch = pixels.to(self.dtype).contiguous(memory_format=torch.channels_last)
        found = self._model.detect(batch, self._confidence, self._nms_iou)
        detections = to_original(found, [ratio], [image_id], self._categories)
        known = detections.category_ids >= 0
        return detections if known.all() else detections.select(known)


def detect_video(
    detect: FrameDetector, video: Video, warmup: int, progress: Callable[[int], object] | None = None
) -> tuple[Detections, NDArray[np.float64]]:
    """Detections on every frame, and the seconds that each took; reading and decoding a file is not in them.

    warmup: times that the first frame is detected on before, untimed. progress: called with 1 per frame.
    """
    first = video.sequences[0].load(0)
    for _ in range(warmup):
        detect(first, 0)
    found, seconds = [], []
    for sequence, frame in frames_of(video):
        image, image_id = sequence.load(frame), int(sequence.image_ids[frame])
        start = time.perf_counter()
        found.append(detect(image, image_id))
        seconds.append(time.perf_counter() - start)
        if progress is not None:
            progress(1)
    return concatenate(found), np.array(seconds)


def load_all(sequence: Sequence) -> list[Image]:
    """Every frame of a video, decoded: in real time no file is waited for."""
    return [sequence.load(frame) for frame in range(len(sequence))]
