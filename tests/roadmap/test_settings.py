"""Settings of the user's own: checked like the project's, and said wherever a figure is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadmap.models import model_arm
from roadmap.protocols import COCO_2017, FINE_TUNE, PAPER, PROTOCOLS, deviations
from roadmap.recipe import Recipe, flatten, to_json
from roadmap.settings import choose_protocol, described, load_protocol, valid_settings
from roadmap.stages import stage_arm
from roadmap.study import Arm, Setting
from tests.roadmap.recipes import SHAPES, recipe

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def resolved(protocol: str | Path, *assignments: str, arm: Arm | None = None) -> Recipe:
    chosen = choose_protocol(str(protocol), assignments)
    return (arm or stage_arm("simota")).resolve(Setting(chosen, COCO_2017))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("assignment", "field", "value"),
    [
        ("training.epochs=50", "training.epochs", 50),
        ("training.epochs = 50", "training.epochs", 50),
        ("training.learning_rate=1e-3", "training.learning_rate", 0.001),
        ("training.learning_rate=1", "training.learning_rate", 1.0),
        ("training.multiscale=[320, 640]", "training.multiscale", [320, 640]),
        ("training.mixed_precision=false", "training.mixed_precision", False),
        ("model.backbone=csp-darknet", "model.backbone", "csp-darknet"),
        ('model.backbone="csp-darknet"', "model.backbone", "csp-darknet"),
        ("assigner.center_radius=1.5", "model.assigner.center_radius", 1.5),
        ("model.assigner.center_radius=1.5", "model.assigner.center_radius", 1.5),
        ("loss.box=7", "model.loss.box", 7.0),
        ("augmentation.mixup=0", "training.augmentation.mixup", 0.0),
    ],
)
def test_one_setting_is_changed_and_nothing_else(assignment: str, field: str, value: Any) -> None:
    changed, plain = flatten(to_json(resolved("paper", assignment))), flatten(to_json(resolved("paper")))
    assert changed[field] == value
    assert type(changed[field]) is type(value)
    assert {key for key in plain if plain[key] != changed[key]} == {field, "protocol"}


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("training.epochs", "expected KEY=VALUE, for example --set training.epochs=50"),
        ("training.epochs=x", "training.epochs must be a whole number, not 'x'"),
        ("training.epochs=2.5", "training.epochs must be a whole number, not 2.5"),
        ("training.epochs=true", "training.epochs must be a whole number, not True"),
        ("training.epochs=0", "training.epochs must be at least 1, not 0"),
        ("training.epochs=1\nx=2", "training.epochs must be a whole number, not '1\\nx=2'"),
        ("training.momentum=1", "training.momentum must be less than 1, not 1"),
        ("training.learning_rate=inf", "training.learning_rate must be a finite number, not inf"),
        ("training.mixed_precision=True", "training.mixed_precision must be true or false, not 'True'"),
        ("training.image_size=100", "training.image_size must be a multiple of 32, not 100"),
        ("training.multiscale=640", "training.multiscale must be a list, not 640"),
        ("training.multiscale=[320,640,832]", "training.multiscale must be a list of 2"),
        ("training.multiscale=[320,650]", "training.multiscale[1] must be a multiple of 32, not 650"),
        (
            "model.backbone=vgg",
            "model.backbone must be one of 'darknet53', 'csp-darknet', 'darknet53-timm', not 'vgg'",
        ),
        ("augmentation.mixup=1.5", "training.augmentation.mixup must be at most 1, not 1.5"),
        ("epochs=50", "unknown key 'epochs'; did you mean training.epochs?"),
        ("training.epoch=50", "unknown key 'training.epoch'; did you mean training.epochs?"),
        ("assigner.centre_radius=1", "did you mean model.assigner.center_radius?"),
        ("model.loss.dice=1", "valid keys: model.loss.box, model.loss.objectness"),
        ("ingredients.simota=true", "ingredients are the study's: python -m studies.run --on"),
        ("model.num_classes=3", "model.num_classes cannot be set: the dataset decides it"),
        ("training.pretrained=x", "training.pretrained cannot be set: give --weights"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(assignment: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        choose_protocol("paper", [assignment])
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"--set {assignment}: ")


def test_settings_that_do_not_fit_together_name_the_arm_and_the_numbers() -> None:
    reason = r"arm 'simota': .*warmup_epochs \(5\) \+ closing_epochs \(15\) must not exceed epochs \(10\)"
    with pytest.raises(ValueError, match=reason):
        resolved("paper", "training.epochs=10")
    assert resolved("paper", "training.epochs=10", "training.closing_epochs=2").training.epochs == 10


def test_a_changed_protocol_is_no_longer_the_papers() -> None:
    made = resolved("paper", "training.epochs=50")
    assert made.protocol == "paper+epochs=50"
    assert made.hash != resolved("paper").hash
    (deviation,) = deviations(made, stage_arm("simota").reference())
    assert str(deviation) == "training.epochs: 50 (paper: 300)"


def test_the_name_of_many_changes_stays_short_and_tells_them_apart() -> None:
    changes = [f"loss.{name}=2" for name in ("box", "objectness", "classification", "l1", "one_to_one")]
    changes += ["training.epochs=50", "training.batch_size=64"]
    name = choose_protocol("paper", changes).name
    assert len(name) <= 60
    assert name.startswith("paper+7-changes-")
    assert choose_protocol("paper", [*changes[:-1], "training.batch_size=32"]).name != name


def test_a_protocols_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "half.toml",
        'extends = "paper"\nsummary = "half of it"\nanchors = "yolov3"\n'
        "[training]\nepochs = 150\n[augmentation]\nmixup = 0.5\n[model.assigner]\ncenter_radius = 1.5\n",
    )
    protocol = load_protocol(path)
    assert (protocol.name, protocol.summary, protocol.anchors) == ("half", "half of it", "yolov3")
    made = resolved(path)
    assert {d.field for d in deviations(made, stage_arm("simota").reference())} == {
        "training.epochs", "training.augmentation.mixup", "model.assigner.center_radius",
    }  # fmt: skip
    assert resolved(path, "training.epochs=99").protocol == "half+epochs=99"
    assert resolved(path, "training.epochs=99").training.epochs == 99


def test_a_file_extends_another_file_and_any_protocol(tmp_path: Path) -> None:
    write(tmp_path / "first.toml", 'extends = "demo"\n[training]\nepochs = 30\nbatch_size = 4\n')
    second = write(tmp_path / "second.toml", 'extends = "first.toml"\n[training]\nepochs = 40\n')
    made = stage_arm("simota").resolve(Setting(choose_protocol(str(second)), SHAPES))
    assert (made.training.epochs, made.training.batch_size) == (40, 4)
    assert made.model.width == recipe().model.width, "the demo's smaller model comes along"
    assert made.training.image_size == recipe().training.image_size


@pytest.mark.parametrize("base", list(PROTOCOLS))
def test_an_empty_file_changes_nothing_but_the_name(tmp_path: Path, base: str) -> None:
    path = write(tmp_path / "mine.toml", f'extends = "{base}"\n')
    for arm in (stage_arm("baseline"), model_arm("yolox-nano"), model_arm("yolox-s")):
        plain = arm.resolve(Setting(PROTOCOLS[base], COCO_2017))
        assert arm.resolve(Setting(load_protocol(path), COCO_2017)) == replace(plain, protocol="mine")


def test_settings_have_the_last_word_over_a_models_own(tmp_path: Path) -> None:
    nano = model_arm("yolox-nano")
    assert resolved("paper", arm=nano).training.image_size == 416
    assert resolved("paper", "training.image_size=320", arm=nano).training.image_size == 320
    assert resolved("paper", "training.epochs=299", arm=nano).training.image_size == 416
    assert (PAPER.own_sizes, FINE_TUNE.own_sizes, FINE_TUNE.own_augmentation) == (True, True, False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[training\n", "is not valid TOML"),
        ('extends = "papers"', "unknown protocol 'papers'; choose one of: paper"),
        ("extends = 3", "extends must be a string, not 3"),
        ('extends = "mine.toml"', "it extends itself"),
        ('extends = "absent.toml"', "absent.toml: No such file"),
        ("epochs = 3", "unknown key 'epochs'; did you mean training.epochs?"),
        ("[trainig]\nepochs = 3", "unknown key 'trainig'; did you mean training?"),
        ("training = 3", "training must be a table: [training]"),
        ("[training]\nepoch = 3", "unknown key 'training.epoch'; did you mean training.epochs?"),
        ("[training]\nepochs = '3'", "training.epochs must be a whole number, not '3'"),
        ("[training]\nepochs = 2020-01-01", "training.epochs must be a whole number, not '2020-01-01'"),
        ("[training.epochs]\nx = 1", "unknown key 'training.epochs.x'"),
        ("[loss]\nbox = 1\n[model.loss]\nbox = 2", "model.loss.box is given twice"),
        ("[loss]\nbox = -1", "model.loss.box must be at least 0, not -1"),
        ('anchors = "own"', "anchors must be one of kmeans, yolov3, not 'own'"),
        ("[model]\nname = 'x'", "model.name cannot be set: the arm decides it"),
    ],
)
def test_a_wrong_file_is_named_with_the_key(tmp_path: Path, text: str, reason: str) -> None:
    path = write(tmp_path / "mine.toml", text)
    with pytest.raises(ValueError) as caught:
        load_protocol(path)
    assert reason in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_files_name_must_not_be_a_built_in_protocols(tmp_path: Path) -> None:
    for name, reason in (("paper", "is the name of a built-in protocol"), ("a b", "rename the file")):
        with pytest.raises(ValueError, match=reason):
            load_protocol(write(tmp_path / f"{name}.toml", ""))


def test_an_unknown_protocol_is_answered_with_the_names_and_the_other_way() -> None:
    with pytest.raises(ValueError, match=r"choose one of: paper, demo.*, or give a \.toml file"):
        choose_protocol("quick")


def test_every_field_of_a_recipe_can_be_set_or_is_decided_elsewhere() -> None:
    fields = {key for key in flatten(to_json(recipe())) if key.startswith(("model.", "training."))}
    decided = {"model.name", "model.num_classes", "training.pretrained"}
    assert set(valid_settings()) == fields - decided


def test_the_list_in_the_docs_is_complete_and_right() -> None:
    lines = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    shown = {row[0].strip("`"): row[1:4] for row in rows}
    expected = {d.key: [d.kind, d.bounds, f"`{d.default}`"] for d in described()}
    assert shown == expected
    assert all(len(row) == 5 and len(row[4]) > 10 for row in rows), "every setting says what it means"
