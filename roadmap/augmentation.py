"""The paper's Table 5 as data: which augmentation suits a small model and which a large one.

Under ``demo`` and ``smoke`` no model is larger than the protocol's own: YOLOX-L would take hours there and
say as little about COCO as a small one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from roadmap.layout import listed
from roadmap.models import model_recipe, printed_name
from roadmap.paper import published_augmentation
from roadmap.protocols import scaled_model
from roadmap.recipe import Recipe
from roadmap.study import Arm, Setting, Table

LIGHT, WIDE = (0.5, 1.5), (0.1, 2.0)

#: What may stand beside Mosaic, by the name of its setting, as the paper prints it.
EXTRAS = {"mixup": "MixUp", "copy_paste": "Copypaste"}


@dataclass(frozen=True)
class Row:
    """A row of Table 5: a model, Mosaic's range of scales, and a key of EXTRAS or nothing."""

    model: str
    scale: tuple[float, float]
    extra: str = ""

    @property
    def name(self) -> str:
        """What the user types, ``yolox-l-copy-paste``."""
        return f"{self.model}-{self.extra.replace('_', '-') or 'plain'}"

    @property
    def words(self) -> tuple[str, str, str]:
        """What its first columns say."""
        low, high = self.scale
        return printed_name(self.model), f"[{low:.1f}, {high:.1f}]", EXTRAS.get(self.extra, "–")


#: The first row of a model is the one that the paper counts the others' gains from.
ROWS = (
    Row("yolox-nano", LIGHT),
    Row("yolox-nano", WIDE, "mixup"),
    Row("yolox-l", WIDE),
    Row("yolox-l", WIDE, "mixup"),
    Row("yolox-l", WIDE, "copy_paste"),
)


def augmented_arm(row: Row) -> Arm:
    """A row of Table 5 as an arm of any study. Mosaic stays as it is but for its scale."""

    def recipe(setting: Setting) -> Recipe:
        made = model_recipe(row.model, setting.protocol, setting.dataset)
        augmentation = replace(
            made.training.augmentation,
            mosaic_scale=row.scale,
            mixup=float(row.extra == "mixup"),
            copy_paste=float(row.extra == "copy_paste"),
        )
        model = made.model
        if not setting.protocol.fits_data:  # that one is for real data, where the size is the question
            model = scaled_model(model, setting.protocol, setting.dataset)
        return replace(made, model=model, training=replace(made.training, augmentation=augmentation))

    model, _, extra = row.words
    first = next(other for other in ROWS if other.model == row.model)
    against = "" if row == first else first.name
    published = published_augmentation(model, row.scale, EXTRAS.get(row.extra, ""))
    if against:
        before = published_augmentation(model, first.scale, EXTRAS.get(first.extra, ""))
        assert published.ap is not None
        assert before.ap is not None
        published = replace(published, gain=round(published.ap - before.ap, 4))
    jitter = f"{row.scale[0]:.1f}–{row.scale[1]:.1f}"
    label = f"{model}, scale {jitter}" + (f", {extra}" if row.extra else "")
    summary = f"Mosaic at scale {jitter}, {extra if row.extra else 'nothing'} beside it"
    return Arm(row.name, recipe, label, against, published, summary)


def augmentation_arms() -> tuple[Arm, ...]:
    """The rows of Table 5."""
    return tuple(augmented_arm(row) for row in ROWS)


def augmentation_table() -> Table:
    """Table 5 as printed."""
    arms = augmentation_arms()
    layout = listed(
        "Table 5",
        ("Models", "Scale Jit.", "Extra Aug."),
        {row.name: row.words for row in ROWS},
        ("ap",),
        {arm.name: arm.against for arm in arms if arm.against},
    )
    title = "Table 5 of the paper (arXiv 2107.08430): augmentation by model size"
    return Table(title, tuple(arm.name for arm in arms), layout)
