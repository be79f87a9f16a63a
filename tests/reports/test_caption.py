"""What a caption must say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from reports.records.collect import collect
from reports.records.groups import Group, group_runs
from reports.tables.caption import dataset_sentence, deviation_rows, seeds_sentence, table_caption
from reports.tables.steps import build_table2
from tests.reports.factory import COCO, CPU, DEMO_HERE, SHAPES, stage_recipe, write_run, write_study


def group_of(runs: Path) -> Group:
    return group_runs("roadmap", collect(runs, "roadmap").runs)[0]


def test_it_states_dataset_protocol_hardware_seeds_epoch_and_latency_conditions(runs: Path) -> None:
    write_study(runs, seeds=2)
    caption = table_caption(build_table2(group_of(runs)))
    text = " ".join(caption.sentences)
    for part in (
        "Dataset: embedded-shapes (fingerprint 5ba9e5f0c0ff, 6 classes, ",
        "600 training and 150 validation images)",
        "Protocol: demo (24 epochs, batch 16, tested at 160 px, evaluated every 4 epochs)",
        "Trained on: Example CPU_2 @ 2.5 GHz & more, fp32",
        "2 seeds (0, 1); ± is the standard deviation over seeds",
        "AP is the best evaluated epoch's",
        "last epoch's is given beside it",
        "forward pass only, without post-processing",
        "FP32, batch 1, 160 px, conv and BN fused, 2 threads, median of 200 after 50 warm-ups",
        "latency on a V100",
    ):
        assert part in text, part
    assert caption.mark.startswith("DEMO, NOT COCO")
    (deviations,) = caption.below
    assert "training.epochs 24 (paper: 300)" in deviations
    assert "model.width 0.25 (paper: 1.0)" in deviations
    assert "fingerprint" not in deviations


def test_one_is_no_plural(runs: Path) -> None:
    dataset = replace(SHAPES, num_classes=1, val_images=1)
    protocol = replace(DEMO_HERE, training=replace(DEMO_HERE.training, evaluate_every=1))
    write_run(runs, "baseline", dataset=dataset, recipe=stage_recipe("baseline", protocol, dataset))
    sentences = " ".join(table_caption(build_table2(group_of(runs))).sentences)
    assert "evaluated every epoch)" in sentences
    assert ", 1 class, 600 training and 1 validation image)" in sentences


def test_the_papers_conditions_carry_no_mark(runs: Path) -> None:
    write_study(runs, protocol="paper", dataset=COCO)
    caption = table_caption(build_table2(group_of(runs)))
    assert caption.mark == ""
    assert "8 processes on Tesla V100-SXM2-32GB" in " ".join(caption.sentences)
    assert "No setting deviates" in caption.sentences[-1]
    assert caption.below == ()


def test_one_seed_is_said_to_say_little(runs: Path) -> None:
    write_study(runs, seeds=1)
    assert seeds_sentence(group_of(runs)).startswith("One seed (0): no spread can be given")


def test_unequal_seeds_are_told_apart(runs: Path) -> None:
    write_run(runs, "baseline", 0)
    for seed in range(5):
        write_run(runs, "simota", seed)
    text = seeds_sentence(group_of(runs))
    assert "One seed (0) (baseline); 5 seeds (0–4) (simota)" in text
    assert "±" in text


def test_different_hardware_is_all_named(runs: Path) -> None:
    write_run(runs, "baseline")
    write_run(runs, "simota", hardware={**CPU, "name": "Other CPU"})
    caption = table_caption(build_table2(group_of(runs)))
    assert any("Example CPU_2" in s and "Other CPU" in s for s in caption.sentences)


def test_images_left_out_are_counted(runs: Path) -> None:
    path = write_run(runs, "simota") / "result.json"
    data = json.loads(path.read_text())
    data["dataset"]["skipped"] = {"train": 3, "val": 0}
    path.write_text(json.dumps(data))
    assert "Unusable images left out: 3 of train." in dataset_sentence(group_of(runs).dataset)


def test_a_deviation_of_some_stages_names_them(runs: Path) -> None:
    write_run(runs, "baseline")
    path = write_run(runs, "simota") / "result.json"
    data = json.loads(path.read_text())
    data["deviations"].append({"field": "precision", "paper": "float16", "here": "float32"})
    path.write_text(json.dumps(data))
    rows = {row.field: row for row in deviation_rows(group_of(runs))}
    assert rows["precision"].arms == ("simota",)
    assert rows["training.epochs"].arms == ()
