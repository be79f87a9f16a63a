"""Table 5's arms: the paper's rows, and nothing but augmentation between them."""

from __future__ import annotations

import pytest

from roadmap.augmentation import augmentation_arms, augmentation_table
from roadmap.fitting import fitted
from roadmap.models import model_arm
from roadmap.paper import published_augmentation, table
from roadmap.protocols import COCO_2017, DEMO, PAPER, SMALL, SMOKE, Protocol
from roadmap.recipe import DatasetConfig
from roadmap.study import PAPER_SETTING, Setting, Study, changed_fields, record_of
from tests.roadmap.recipes import SHAPES

ARMS = {arm.name: arm for arm in augmentation_arms()}
AUGMENTATION = "training.augmentation."


def test_every_row_of_the_table_is_an_arm_with_its_settings_and_figures() -> None:
    shown = []
    for arm in ARMS.values():
        used = arm.reference().training.augmentation
        extra = "MixUp" if used.mixup else "Copypaste" if used.copy_paste else None
        assert arm.paper is not None
        assert used.mixup in (0, 1)
        assert used.copy_paste in (0, 1)
        shown.append((arm.reference().model.name, *used.mosaic_scale, extra, arm.paper.ap))
    rows = [(str(r["model"]).lower(), *list(r.values())[1:]) for r in table("table5_augmentation")]
    assert shown == rows
    assert {arm.name: arm.paper and arm.paper.gain for arm in ARMS.values() if arm.against} == {
        "yolox-nano-mixup": -1.3,
        "yolox-l-mixup": 0.9,
        "yolox-l-copy-paste": 0.8,
    }


def test_arms_differ_in_augmentation_alone_from_the_one_they_are_compared_with() -> None:
    changes = {arm.name: arm.changes for arm in record_of(Study("x", "", augmentation_arms())).arms}
    assert changes == {
        "yolox-nano-plain": (),
        "yolox-nano-mixup": (f"{AUGMENTATION}mosaic_scale", f"{AUGMENTATION}mixup"),
        "yolox-l-plain": (),
        "yolox-l-mixup": (f"{AUGMENTATION}mixup",),
        "yolox-l-copy-paste": (f"{AUGMENTATION}copy_paste",),
    }


@pytest.mark.parametrize(("arm", "model"), [("yolox-nano-plain", "yolox-nano"), ("yolox-l-mixup", "yolox-l")])
def test_what_the_paper_chose_is_the_named_model(arm: str, model: str) -> None:
    """The same recipe has the same hash: runs of Tables 3 and 4 and of these rows are comparable."""
    assert ARMS[arm].reference() == model_arm(model).reference()


@pytest.mark.parametrize("protocol", [DEMO, SMOKE])
def test_a_demo_has_small_models_and_the_rows_own_augmentation(protocol: Protocol) -> None:
    assert protocol.scale is not None
    for arm in ARMS.values():
        recipe, paper = arm.resolve(Setting(protocol, SHAPES)), arm.reference()
        assert recipe.model.depth <= protocol.scale[0]
        assert recipe.model.width <= protocol.scale[1]
        changed = [f for f in changed_fields(recipe, paper) if f.startswith(AUGMENTATION)]
        assert not changed
    nano, large = (
        ARMS[name].resolve(Setting(protocol, SHAPES)) for name in ("yolox-nano-plain", "yolox-l-plain")
    )
    assert nano.model.depthwise
    assert not large.model.depthwise


def test_on_real_data_models_keep_their_size() -> None:
    mine = DatasetConfig("mine", "0" * 16, 3, 300, 70)
    protocol = fitted(SMALL, mine, None)
    assert protocol.scale is not None
    assert ARMS["yolox-l-mixup"].resolve(Setting(protocol, mine)).model.width == 1.0
    assert PAPER_SETTING.protocol == PAPER
    assert ARMS["yolox-l-mixup"].resolve(Setting(PAPER, COCO_2017)).model.width == 1.0


def test_the_printed_table_has_the_papers_columns_and_gains_in_brackets() -> None:
    layout = augmentation_table().layout
    assert layout is not None
    assert (layout.heads, layout.columns) == (("Models", "Scale Jit.", "Extra Aug."), ("AP (%)",))
    lines = [(*line.heads, line.entries[0].row, line.entries[0].against) for line in layout.lines]
    assert lines[0] == ("YOLOX-Nano", "[0.5, 1.5]", "–", "yolox-nano-plain", "")
    assert lines[4] == ("YOLOX-L", "[0.1, 2.0]", "Copypaste", "yolox-l-copy-paste", "yolox-l-plain")
    with pytest.raises(ValueError, match="in Table 5"):
        published_augmentation("YOLOX-S", (0.5, 1.5), "")
