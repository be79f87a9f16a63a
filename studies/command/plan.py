"""What a study's command line asks for: the runs, their data, and what they would cost."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from roadmap.anchors import anchor_finder
from roadmap.annotations import mentions_masks
from roadmap.code import code_state
from roadmap.cost import iterations, training_flops
from roadmap.datasets import describe_dataset, find_splits, resolve_dataset
from roadmap.fitting import fitted
from roadmap.planned import Inputs, write_planned
from roadmap.protocols import FINE_TUNE, IMAGENET, Deviation, deviations
from roadmap.recipe import Recipe, Run
from roadmap.record import RunFolder
from roadmap.settings import choose_protocol
from roadmap.study import Arm, PublishedRow, Setting, Study, write_study
from slurm.ownership import whose
from yolox_core.config import ModelConfig, annotation_file, needs_masks
from yolox_core.seal import is_pytorch_file

log = logging.getLogger(__name__)

#: Below this number of training images the paper's protocol draws a remark.
FEW_IMAGES = 5000


@dataclass(frozen=True)
class Planned:
    """A run that was asked for, its folder, and where it departs from the paper."""

    run: Run
    folder: RunFolder
    deviations: tuple[Deviation, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that a command line asks for.

    command: what the user types to run the study. runs: the folder of all records. data: the dataset's
    folder, None for the embedded one. weights: the file that training starts from, None for random weights.
    splits: names of the dataset's training and validation split.
    """

    study: Study
    command: str
    setting: Setting
    planned: tuple[Planned, ...]
    runs: Path
    data: Path | None
    weights: Path | None
    splits: tuple[str, str] | None = None

    @property
    def folder(self) -> Path:
        """The study's own."""
        return self.runs / self.study.name


def chosen_seeds(options: argparse.Namespace) -> list[int]:
    """Seeds that the command line asks for."""
    return list(range(options.seeds)) if options.seeds else [options.seed or 0]


def make_plan(study: Study, options: argparse.Namespace, command: str = "", coco: str = "") -> Plan:
    """The runs asked for. Nothing is written. coco: the site's dataset, where the user names none.

    Raises ValueError for an unknown arm, a broken dataset or an unreadable weights file.
    """
    arms, _ = study.choose(options.only or ())
    root, splits = find_data(options, coco)
    weights = weights_file(options)
    setting = make_setting(options, root, splits, weights)
    if root is None:
        log.warning(
            "\n*** %s: using the embedded dataset of drawn shapes.\n"
            "*** Its figures show that the code works. They are not COCO figures.\n",
            "As asked" if options.embedded else "No dataset was given (--data or $COCO_DIR)",
        )
    runs = Path(options.runs)
    recipes = [(arm.name, arm.resolve(setting), arm.reference()) for arm in arms]
    if options.imagenet_weights and not any(recipe.training.pretrained for _, recipe, _ in recipes):
        names = ", ".join(arm.name for arm in arms)
        raise ValueError(
            f"--imagenet-weights: none of {names} starts from ImageNet; leave it out, or give --weights FILE "
            "to start from a checkpoint"
        )
    if root is not None and splits is not None:
        _check_masks([name for name, r, _ in recipes if needs_masks(r.ingredients, r.training)], root, splits)
    if options.imagenet_weights and weights is not None:
        backbones = _Backbones(weights)
        recipes = [(name, backbones.put_into(recipe), reference) for name, recipe, reference in recipes]
    held = [(name, recipe, deviations(recipe, reference)) for name, recipe, reference in recipes]
    planned = tuple(
        Planned(run, RunFolder(runs / run.study / run.name), deviating)
        for seed in chosen_seeds(options)
        for name, recipe, deviating in held
        for run in [Run(study.name, name, seed, recipe)]
    )
    return Plan(study, command, setting, planned, runs, root, weights, splits)


def _check_masks(arms: list[str], root: Path, splits: tuple[str, str]) -> None:
    """Refuse arms that cut objects out by their masks where the training split has none."""
    annotations = annotation_file(root, splits[0])
    if arms and not mentions_masks(annotations):
        raise ValueError(
            f"{', '.join(arms)}: Copy-Paste cuts objects out by their masks, and {annotations} has none; "
            "give its annotations a segmentation (polygons or run-length codes), or leave Copy-Paste out: "
            "--only with the other arms, or --set training.augmentation.copy_paste=0"
        )


class _Backbones:
    """Models with the backbone that a file's ImageNet weights are for; the file is read once per model."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._suited: dict[ModelConfig, ModelConfig] = {}

    def put_into(self, recipe: Recipe) -> Recipe:
        """A recipe that starts from ImageNet with its model so; others as they are. Raises ValueError for a
        model that the weights do not fit.
        """
        if not recipe.training.pretrained:
            return recipe
        from yolox_core.deploy.imagenet import suited_model

        if (model := recipe.model) not in self._suited:
            try:
                self._suited[model] = suited_model(model, self._weights)
            except ValueError as error:
                raise ValueError(f"--imagenet-weights: {error}") from error
            if (backbone := self._suited[model].backbone) != model.backbone:
                log.info("%s: model.backbone becomes %s, a deviation", self._weights.name, backbone)
        return replace(recipe, model=self._suited[model])


def find_data(options: argparse.Namespace, coco: str = "") -> tuple[Path | None, tuple[str, str] | None]:
    """The dataset's folder and the names of its splits; None for both means the embedded one.

    Raises ValueError for a folder that holds none, and for options that contradict each other.
    """
    names = (options.train_split, options.val_split)
    if options.embedded:
        if options.data is not None or any(names):
            raise ValueError(
                "--embedded is a dataset of its own; leave out --data, --train-split, --val-split"
            )
        return None, None
    if options.data == "":
        raise ValueError("--data is empty; give a folder, or --embedded for the drawn shapes")
    site = "" if os.environ.get("COCO_DIR") else coco
    root = resolve_dataset(options.data or site or None, *names)
    return root, None if root is None else find_splits(root, *names)


def make_setting(
    options: argparse.Namespace,
    root: Path | None,
    splits: tuple[str, str] | None,
    weights: Path | None,
) -> Setting:
    """What the command line says about protocol, dataset and starting weights."""
    chosen = choose_protocol(options.protocol or ("demo" if root is None else "paper"), options.settings)
    if chosen.name.partition("+")[0] == "fine-tune" and not options.weights:
        raise ValueError("the protocol fine-tune starts from a trained model; give it with --weights FILE")
    dataset = describe_dataset(root, splits)
    annotations = annotation_file(root, splits[0]) if root and splits else None
    protocol = fitted(chosen, dataset, annotations)
    if protocol.name == "paper" and root is not None and dataset.train_images < FEW_IMAGES:
        log.warning(
            "The paper's protocol is made for 118,287 images; on %d, --protocol small suits better.",
            dataset.train_images,
        )
    if protocol.name.startswith(FINE_TUNE.name) and not options.weights:
        raise ValueError(
            f"--protocol {protocol.name} goes on from a checkpoint: give --weights FILE, or choose another"
        )
    identity = ""
    if weights is not None:
        identity = file_identity(weights) if options.imagenet_weights else checkpoint_identity(weights)
    return Setting(
        protocol,
        dataset,
        weights=f"weights:{identity}" if options.weights else "",
        imagenet=f"{IMAGENET}:{identity}" if options.imagenet_weights else "",
        anchors=anchor_finder(protocol.anchors, dataset, annotations),
    )


def weights_file(options: argparse.Namespace) -> Path | None:
    """The file that training starts from, None for random weights."""
    given = options.weights or options.imagenet_weights
    return Path(given).absolute() if given else None


def file_identity(file: Path) -> str:
    """First 12 hex digits of a file's SHA-256: part of the recipe, so that other weights are another run.

    Raises ValueError when it cannot be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:12]
    except OSError as error:
        raise ValueError(f"weights file {file}: {error.strerror}") from error


def checkpoint_identity(file: Path) -> str:
    """:func:`file_identity` of a file that begins as PyTorch's do. Raises ValueError for another."""
    identity = file_identity(file)
    if not is_pytorch_file(file):
        raise ValueError(f"weights file {file} is no PyTorch checkpoint; give a .pth or .pt file")
    return identity


def arm_rows(study: Study) -> list[dict[str, Any]]:
    """What ``--list`` shows: every row of the study's tables, with what the paper printed for it; what the
    paper has from others has no arm. Empty columns are left out.
    """
    tables = [row for table in study.tables for row in table.rows] or list(study.names)
    listed = [row if isinstance(row, PublishedRow) else study.find(row) for row in dict.fromkeys(tables)]
    rows = [_listed(row) for row in listed]
    known = [key for key in rows[0] if key == "arm" or any(row[key] is not None for row in rows)]
    return [{key: row[key] for key in known} for row in rows]


def _listed(row: Arm | PublishedRow) -> dict[str, Any]:
    """A row as plain values."""
    arm, paper = row if isinstance(row, Arm) else None, row.paper
    companions = "; ".join(f"{c.field}={c.value!r}" for c in arm.companions) if arm else ""
    return {
        "arm": arm.name if arm else None,
        "row": row.label or None,
        "table": paper.source if paper else None,
        "against": (arm.against if arm else "") or None,
        "paper AP": paper.ap if paper else None,
        "paper gain": paper.gain if paper else None,
        "paper params (M)": paper.params_m if paper else None,
        "paper GFLOPs": paper.gflops if paper else None,
        "paper latency (ms)": paper.latency_ms if paper else None,
        "paper FPS": round(paper.fps, 1) if paper and paper.fps else None,
        "paper extra time (%)": paper.extra_time if paper else None,
        "what": (arm.summary if arm else "published") or None,
        "companions": companions or None,
    }


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """What each planned run would do, as plain values."""
    costs: dict[str, float] = {}
    rows = []
    for planned in plan.planned:
        recipe = planned.run.recipe
        key = recipe.hash
        if key not in costs:
            costs[key] = training_flops(recipe)
        rows.append(
            {
                "arm": planned.run.arm,
                "seed": planned.run.seed,
                "run": planned.run.name,
                "state": planned.folder.state(),
                "epochs": recipe.training.epochs,
                "iterations": iterations(recipe),
                "training_flops": costs[key],
                "folder": str(planned.folder.path),
            }
        )
    return rows


def write_plan(plan: Plan) -> None:
    """Leave the study's data, and every run's recipe and inputs, below the runs folder.

    Raises ValueError naming a folder that cannot be written.
    """
    facts = {"command": sys.argv, **asdict(code_state())}
    inputs = Inputs(plan.data, plan.weights, plan.splits)
    try:
        write_study(plan.folder, plan.study, plan.command, plan.setting)
        for planned in plan.planned:
            write_planned(planned.folder, planned.run, planned.deviations, inputs, facts)
    except OSError as error:
        raise ValueError(
            f"cannot write below {plan.folder}: {error}{whose(error.filename)}; make room or choose another "
            "--runs"
        ) from error


def folder_arguments(planned: Planned, options: argparse.Namespace) -> tuple[str, ...]:
    """What follows the interpreter to carry out one run where it is started: the folder says what, the
    command line how.
    """
    words = ["-m", "studies.run", str(planned.folder.path.absolute())]
    for name in ("device", "workers", "tracking"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    if options.cache:
        words += ["--cache", str(Path(options.cache).absolute())]
    if options.again:
        words.append("--again")
    return tuple(words)
