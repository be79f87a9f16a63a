"""A split of a dataset in COCO's layout or Roboflow's, as training and evaluation read it.

    root/annotations/instances_<split>.json        root/<split>/_annotations.coco.json
    root/<split>/*.jpg                             root/<split>/*.jpg

COCO's test splits have ``image_info_<split>.json`` instead, without annotations; they can be detected on.

Images come as they are stored: EXIF orientation is ignored, as COCO's annotations do. Grayscale and CMYK
files become BGR.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from yolox_core.augmentation.sample import Image, ImageTargets, Mask
from yolox_core.config import SPLITS, annotation_file, image_folder
from yolox_core.data.annotations import CROWD, DROP_REASONS, Annotations, without_images
from yolox_core.data.packed_annotations import open_annotations
from yolox_core.data.scan import decode, scan_images

#: Largest share of images that may be skipped before a dataset is refused.
MAX_SKIPPED = 0.01
#: Largest share of defective annotations before a dataset is refused.
MAX_DROPPED = 0.05
#: Largest share of objects without a mask before a dataset is refused for Copy-Paste.
MAX_MASKLESS = 0.05


class ImageError(ValueError):
    """An image could not be read or decoded. ``name`` and ``reason`` say which and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Skipped(NamedTuple):
    """An image that is left out: file name in the split's folder, and why."""

    name: str
    reason: str


class PixelCache(Protocol):
    """Images that need no decoding (:class:`yolox_core.data.image_cache.ImageCache`)."""

    def get(self, index: int) -> Image | None: ...


class CocoDataset:
    """Images and training objects of one split, in the order of the annotation file.

    ids: (n,) int64 image ids. class_names: by label. category_ids: (classes,) COCO id of each label.
    annotation_file: for the evaluation, which also needs crowd boxes. skipped: images left out because
    their file is missing, truncated or of another size than annotated; they are in no other attribute.
    annotated: whether the file lists any annotation; without, there is nothing to learn or to measure.
    nonempty: indices of the images that have objects. decoding: open every image once, so that those that
    can't be decoded are skipped too. masks: read the objects' masks too, for :meth:`mask`.

    Raises ValueError when the layout or the annotations are broken, a file name leaves the folder, no image
    is left, or more than ``max_skipped`` of the images must be skipped.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        max_skipped: float = MAX_SKIPPED,
        decoding: bool = False,
        masks: bool = False,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self._cache: PixelCache | None = None
        self.folder = image_folder(self.root, split)
        self.annotation_file = annotation_file(self.root, split)
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is missing; expected the images of {self.annotation_file} there")
        annotations = open_annotations(self.annotation_file, masks)
        state = self.annotation_file.stat()
        key = f"{state.st_size} {state.st_mtime_ns}"
        bad, found = scan_images(self.folder, annotations.names, annotations.sizes, key, decoding)
        unknown = np.flatnonzero((annotations.sizes <= 0).any(axis=1)).tolist()
        bad |= {i: "unknown size" for i in unknown if i not in bad | found}
        self.skipped = [Skipped(annotations.names[i].decode(), reason) for i, reason in sorted(bad.items())]
        self._listed = len(annotations.names)
        self.annotated = bool(len(annotations.labels) or any(annotations.dropped.values()))
        self.check_images(max_skipped)
        self._on_skipped_images = int(np.diff(annotations.offsets)[list(bad)].sum())
        self._take_over(without_images(annotations, list(bad), found))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def name(self, index: int) -> str:
        """File name of an image below the split's folder."""
        return self._names[index].decode()

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self._sizes[index].tolist()
        return height, width

    def load_image(self, index: int, reduction: int = 1) -> Image:
        """(height, width, 3) uint8 BGR.

        With a reduction of 2, 4 or 8, JPEG files are decoded at that fraction of their size, rounded up
        (several times faster); other formats come whole. With a cache (:meth:`use_cache`) the picture comes
        as it was fitted into the training square, read-only. Raises ImageError naming the file when it can't
        be read, is damaged, or is not of the annotated size.
        """
        if self._cache is not None and (cached := self._cache.get(index)) is not None:
            return cached
        name = self.name(index)
        try:
            data = np.fromfile(f"{self.folder}/{name}", np.uint8)
        except OSError as error:
            raise ImageError(name, error.strerror or type(error).__name__) from error
        if data[:2].tobytes() != b"\xff\xd8":
            reduction = 1
        image = decode(data, reduction)
        if image is None:
            raise ImageError(name, "can't be decoded")
        height, width = self.size(index)
        if image.shape[:2] != (-(-height // reduction), -(-width // reduction)):
            raise ImageError(
                name, f"decodes to {image.shape[1]}×{image.shape[0]}, annotated {width}×{height}"
            )
        return image

    def use_cache(self, cache: PixelCache | None) -> None:
        """Take pixels from a cache of fitted images where it has them; None decodes the files again."""
        self._cache = cache

    def objects(self, index: int) -> ImageTargets:
        """Training objects: boxes clipped to the image, no crowds. The arrays are copies."""
        start, stop = self._offsets[index : index + 2].tolist()
        return ImageTargets(self._boxes[start:stop].copy(), self._labels[start:stop].copy())

    def mask(self, index: int, number: int) -> Mask | None:
        """Mask of one of an image's :meth:`objects`, in the full-size image; None where it has none.

        Raises ValueError when the dataset was opened without masks.
        """
        if self._masks is None:
            raise ValueError(f"{self.split} was opened without masks")
        return self._masks.decode(int(self._offsets[index]) + number, *self.size(index))

    def summary(self) -> dict[str, Any]:
        """Counts for the run record: images, objects, dropped annotations by reason, skipped images; where
        masks were read, objects without one.
        """
        counted = {} if self._masks is None else {"objects_without_mask": self._masks.missing}
        return {
            "split": self.split,
            "annotations": str(self.annotation_file),
            "images": len(self),
            "images_without_objects": len(self) - len(self.nonempty),
            "objects": len(self._labels),
            "dropped": dict(self._dropped),
            "skipped": [{"file": s.name, "reason": s.reason} for s in self.skipped],
        } | counted

    def dropped_annotations(self) -> str:
        """What of the annotation file is no training object, in words; empty when everything is used."""
        counts = {reason: self._dropped[reason] for reason in DROP_REASONS if self._dropped[reason]}
        if not counts:
            return ""
        listed = len(self._labels) + sum(self._dropped.values()) + self._on_skipped_images
        reasons = ", ".join(f"{_REASONS[reason]} {count}" for reason, count in counts.items())
        share = f"{sum(counts.values())} of {listed} annotations"
        return f"{share} in {self.annotation_file} are not used: {reasons}"

    def check_annotations(self, max_dropped: float = MAX_DROPPED) -> None:
        """Raises ValueError when no annotation is usable, or more than ``max_dropped`` are defective (a crowd
        is no defect).
        """
        defective = sum(count for reason, count in self._dropped.items() if reason != CROWD)
        usable = len(self._labels) + self._on_skipped_images
        what = self.dropped_annotations() or f"{self.annotation_file} lists none"
        if not len(self._labels):
            raise ValueError(f"no image of {self.split} has a usable annotation: {what}")
        if defective > max_dropped * (usable + defective):
            raise ValueError(
                f"{what}; more than {max_dropped:.0%} are defective. Are ids off by one, or boxes not "
                f"(left, top, width, height) in pixels? See: python -m studies.check_data --data {self.root}"
            )

    def check_masks(self, max_missing: float = MAX_MASKLESS) -> None:
        """Raises ValueError when more than ``max_missing`` of the objects have no usable mask."""
        missing = len(self._labels) if self._masks is None else self._masks.missing
        if missing > max_missing * len(self._labels):
            raise ValueError(
                f"{missing} of {len(self._labels)} objects in {self.annotation_file} have no mask, more than "
                f"the allowed {max_missing:.0%}; Copy-Paste cuts objects out by theirs. Give annotations a "
                "segmentation (polygons or run-length codes) and images their height and width, or leave "
                "Copy-Paste out: --only with the other arms, or --set training.augmentation.copy_paste=0. "
                f"See: python -m studies.check_data --data {self.root}"
            )

    def check_images(self, max_skipped: float = MAX_SKIPPED) -> None:
        """Raises ValueError when there are no images, or more than ``max_skipped`` of them can't be used."""
        images = self._listed
        if images == 0:
            raise ValueError(f"{self.annotation_file} lists no images")
        if len(self.skipped) > _allowed(images, max_skipped) or len(self.skipped) == images:
            examples = "; ".join(f"{s.name} {s.reason}" for s in self.skipped[:5])
            raise ValueError(
                f"{len(self.skipped)} of {images} images in {self.folder} can't be used, more than the "
                f"allowed {max_skipped:.1%}: {examples}{' …' if len(self.skipped) > 5 else ''}. "
                "Download or repair these files, or remove them from the annotations."
            )

    def _take_over(self, annotations: Annotations) -> None:
        self.ids = annotations.ids
        self.category_ids = annotations.category_ids
        self.class_names = annotations.class_names
        self._sizes = annotations.sizes
        self._names = annotations.names
        self._boxes = annotations.boxes_xyxy
        self._labels = annotations.labels
        self._offsets = annotations.offsets
        self._masks = annotations.masks
        self.nonempty = np.flatnonzero(np.diff(annotations.offsets))
        self._dropped = dict(annotations.dropped)


def _allowed(images: int, limit: float) -> float:
    """How many images may be skipped: a share, but a few damaged files don't stop a small dataset either."""
    return max(limit * images, min(3, max(1, images // 10)) if limit > 0 else 0)


#: Reasons for a dropped annotation, in words.
_REASONS = {
    "crowd": "crowds",
    "not_finite": "with a box that is not finite",
    "empty_box": "with a box without area",
    "outside": "outside their image",
    "unknown_image": "of an unknown image id",
    "unknown_category": "of an unknown category id",
}


def open_splits(
    root: Path, splits: tuple[str, str] = SPLITS, max_skipped: float = MAX_SKIPPED, masks: bool = False
) -> tuple[CocoDataset, CocoDataset]:
    """The training and the validation split. Every validation image is decoded once, so that evaluation
    finds them all. masks: read those of the training split too. Raises ValueError when their categories
    differ, their annotations can't be used, or masks are wanted and too many are missing.
    """
    train = CocoDataset(root, splits[0], max_skipped, masks=masks)
    val = CocoDataset(root, splits[1], max_skipped, decoding=True)
    check_same_categories(train, val)
    train.check_annotations()
    val.check_annotations()
    if masks:
        train.check_masks()
    return train, val


def check_same_categories(train: CocoDataset, val: CocoDataset) -> None:
    """Raises ValueError when two splits do not list the same categories."""
    if train.category_ids.tolist() != val.category_ids.tolist() or train.class_names != val.class_names:
        raise ValueError(
            f"{train.annotation_file} and {val.annotation_file} must list the same categories: "
            f"{len(train.class_names)} and {len(val.class_names)}"
        )
