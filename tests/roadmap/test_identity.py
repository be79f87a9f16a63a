"""Identity for good: equal recipes have one hash, recorded hashes stay valid, old records stay readable."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.build import build_report
from reports.records.collect import collect
from roadmap.models import model_recipe
from roadmap.protocols import COCO_2017, PROTOCOLS
from roadmap.recipe import Recipe, checked, flatten, recipe_from_json, to_json
from roadmap.record import RunFolder, find_runs
from roadmap.stages import STAGE_NAMES, stage_recipe
from roadmap.typed import parse
from tests.roadmap.recipes import SHAPES, recipe
from yolox_core.config import MODELS, later

COCO = replace(COCO_2017, fingerprint="c0c0")
FIXTURES = Path(__file__).parent / "fixtures"
RECORDED = sorted(path.parent for path in FIXTURES.glob("*/*/recipe.json"))

#: As they were when the first records were written. A change here orphans every record of that recipe: it is
#: right only where a protocol's settings were changed on purpose.
STAGES = {
    "paper": "939f0737 13ed3fef 2824bc6e 8ee5ba27 ca3e4567 80fa3763 1ce545dc",
    "demo": "3f3d34c4 ca9d8b3b dd36b3d7 9f90664a 44328e71 ed5db86b ba8390b1",
    "smoke": "1d45c283 3f3a97d2 9be847ae dbb2a82b 22464c19 18629626 b42e4e11",
    "fine-tune": "6aa8c247 bbb4bf76 865bbeb2 b7126f62 6e7f57ad 45a1952f ae55c260",
}
NAMED_MODELS = {
    "paper": "80fa3763 0a9a4d5c 7070cf1a 420e4cd1 6993e56a cbe5a720 3a6e5059",
    "demo": "ce43e7e5 6c9bede6 83c4a258 0bbeea1d 7b34e71a bdbe35d5 3779e184",
}


@pytest.mark.parametrize("protocol", STAGES)
def test_the_hashes_of_the_stages_are_pinned(protocol: str) -> None:
    dataset = COCO if protocol in ("paper", "fine-tune") else SHAPES
    hashes = [stage_recipe(stage, PROTOCOLS[protocol], dataset).hash for stage in STAGE_NAMES]
    assert " ".join(hashes) == STAGES[protocol]


@pytest.mark.parametrize("protocol", NAMED_MODELS)
def test_the_hashes_of_the_named_models_are_pinned(protocol: str) -> None:
    dataset = COCO if protocol == "paper" else SHAPES
    hashes = [model_recipe(model, PROTOCOLS[protocol], dataset).hash for model in MODELS]
    assert " ".join(hashes) == NAMED_MODELS[protocol]


def test_weights_are_part_of_the_identity() -> None:
    assert stage_recipe("baseline", PROTOCOLS["paper"], COCO, "imagenet:0123456789ab").hash == "c3bcbb0d"


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_records_from_before_are_read_and_keep_their_names(path: Path) -> None:
    """Written by the code of commit d9e44bb, which called an arm a stage."""
    folder = RunFolder(path)
    identity, result = folder.outcome()
    assert identity is not None
    assert result is not None
    assert folder.state() == "finished"
    assert path.name.endswith(f"-{folder.verified(identity).recipe.hash}")
    assert (result.arm, result.run) == (identity["arm"], path.name)
    assert result.latency is not None


def test_reports_read_records_from_before() -> None:
    assert [run.name for run in find_runs(FIXTURES)] == [path.name for path in RECORDED]
    found = collect(FIXTURES, "roadmap")
    assert sorted(run.arm for run in found.runs) == ["baseline", "nms-free", "simota"]
    assert found.skipped == ()
    simota = next(run for run in found.runs if run.arm == "simota")
    assert simota.recipe["training.epochs"] == 3
    assert simota.last["AP"] == 0.15431714455302056


def test_records_from_before_have_the_fields_that_were_added_later() -> None:
    """With what they did: a record that only lacks them departs from no recipe."""
    (run,) = (run for run in collect(FIXTURES, "roadmap").runs if run.arm == "simota")
    today = flatten(to_json(recipe("simota", "smoke")))
    assert {key for key in today if run.recipe.get(key, "absent") != today[key]} <= {"dataset.fingerprint"}


def test_a_report_is_built_of_records_from_before(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES, tmp_path / "runs")
    report = build_report(tmp_path / "runs", "roadmap", figures=False)
    shown = {run for group in report.data["groups"] for row in group["rows"] for run in row["runs"].split()}
    assert shown == {path.name for path in RECORDED if path.parent.name == "roadmap"}
    assert report.data["left_out"] == []


def disguised(draw: st.DrawFn, value: Any) -> Any:
    """An equal value: whole floats may be integers, integers floats, truth values numbers, tuples lists."""
    if is_dataclass(value):
        names = [entry.name for entry in fields(value)]
        return type(value)(**{name: disguised(draw, getattr(value, name)) for name in names})  # type: ignore
    if isinstance(value, tuple):
        kind = draw(st.sampled_from((tuple, list)))
        return kind(disguised(draw, item) for item in value)
    if isinstance(value, (bool, int)):
        return draw(st.sampled_from((value, float(value))))
    if isinstance(value, float) and value.is_integer():
        zero = (-0.0,) if value == 0 else ()
        return draw(st.sampled_from((value, int(value), *zero)))
    return value


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Legal recipes of any stage and protocol, with some settings of their own."""
    made = recipe(draw(st.sampled_from(STAGE_NAMES)), draw(st.sampled_from(("paper", "demo", "smoke"))))
    share = st.floats(0, 1)
    augmentation = replace(made.training.augmentation, mixup=draw(share), flip=float(draw(st.booleans())))
    training = replace(
        made.training,
        learning_rate=draw(st.floats(1e-6, 10)),
        ema_ramp=draw(st.integers(1, 10**6)),
        nms_iou=draw(share),
        augmentation=augmentation,
    )
    loss = replace(made.model.loss, box=draw(st.integers(0, 9).map(float)), iou_aware=draw(st.booleans()))
    return replace(made, training=training, model=replace(made.model, loss=loss))


@given(recipes(), st.data())
def test_equal_recipes_have_one_hash_and_one_record(made: Recipe, data: st.DataObject) -> None:
    @st.composite
    def disguises(draw: st.DrawFn) -> Recipe:
        return disguised(draw, made)

    other = data.draw(disguises())
    assert other.hash == made.hash
    assert json.dumps(to_json(other)) == json.dumps(to_json(made))
    assert repr(checked(other)) == repr(made)


@given(recipes(), recipes())
def test_different_recipes_have_different_hashes(one: Recipe, other: Recipe) -> None:
    assert (one == other) == (one.hash == other.hash)


@given(recipes())
def test_a_recipe_comes_back_from_its_record(made: Recipe) -> None:
    assert recipe_from_json(json.loads(json.dumps(to_json(made)))) == made


@dataclass(frozen=True)
class Before:
    epochs: int = 3


@dataclass(frozen=True)
class Annealing:
    share: float = 0.5
    kind: str = "linear"


@dataclass(frozen=True)
class After:
    """``Before``, later: a number whose neutral value is not its default, and a whole group of fields."""

    epochs: int = 3
    patience: int = later(default=10, neutral=0)
    annealing: Annealing = later(default=Annealing(), neutral=Annealing())


def test_a_field_added_later_leaves_old_records_valid() -> None:
    old = to_json(Before())
    read = parse(After, old, "recipe", whole=True)
    assert read == After(epochs=3, patience=0)
    assert to_json(read, identity=True) == to_json(Before(), identity=True)
    assert to_json(read) == {"epochs": 3, "patience": 0, "annealing": {"share": 0.5, "kind": "linear"}}


def test_a_field_added_later_counts_once_it_has_another_value() -> None:
    assert to_json(After(), identity=True) == {"epochs": 3, "patience": 10}
    other = After(patience=0, annealing=Annealing(kind="cosine"))
    assert to_json(other, identity=True) == {"epochs": 3, "annealing": {"share": 0.5, "kind": "cosine"}}
    assert to_json(After(patience=0.0), identity=True) == {"epochs": 3}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Retired:
    """``Before``, once its number of epochs is no setting any more."""

    RETIRED: ClassVar[dict[str, Any]] = {"epochs": 3}
    patience: int = later(default=0, neutral=0)


def test_a_field_taken_away_leaves_old_records_valid() -> None:
    read = parse(Retired, to_json(Before()), "recipe", whole=True)
    assert read == Retired()
    assert to_json(read) == {"patience": 0}
    assert to_json(read, identity=True) == to_json(Before(), identity=True)
    with pytest.raises(ValueError, match="unknown key 'epochs'"):
        parse(Retired, to_json(Before(epochs=4)), "recipe", whole=True)


def test_a_field_without_a_neutral_value_must_be_there() -> None:
    @dataclass(frozen=True)
    class Careless:
        epochs: int = 3
        patience: int = field(default=10)

    with pytest.raises(ValueError, match="recipe: patience is missing"):
        parse(Careless, to_json(Before()), "recipe", whole=True)
