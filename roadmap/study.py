"""A study as data: a question, its arms, and what the paper printed for them.

An arm is a row: a whole recipe as a function of the setting it is run under, and the arm it is compared
with. Everything downstream follows from that: order, gains, published columns, claims, MLflow, status.

Planning writes the data of a study to ``runs/<study>/study.json`` (:func:`write_study`); reports, the mirror
and the cluster read it there (:func:`read_study`) and know no study by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from roadmap.anchors import AnchorFinder
from roadmap.layout import Layout
from roadmap.paper import Published
from roadmap.protocols import COCO_2017, IMAGENET, PAPER, Protocol
from roadmap.recipe import DatasetConfig, Recipe, flatten, to_json
from roadmap.record import SCHEMA, check_schema, read_json, write_json
from roadmap.settings import with_settings
from roadmap.typed import nearest, parse
from yolox_core.config import YOLOV3_ANCHORS

FILE = "study.json"

#: Folders below ``runs/`` that belong to no study.
RESERVED = ("check", "probe", "probes", "report")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: More names than this are not listed where one is wrong or a help text is short.
MANY = 20


@dataclass(frozen=True)
class Setting:
    """What a study is run under.

    weights: identity of the checkpoint that every arm starts from, empty for none. imagenet: identity of the
    ImageNet weights for arms that the paper starts from such, empty to start them from scratch. anchors:
    those that fit the dataset at a training size in pixels, None for YOLOv3's.
    """

    protocol: Protocol
    dataset: DatasetConfig
    weights: str = ""
    imagenet: str = ""
    anchors: AnchorFinder | None = None


#: The paper's own: an arm's recipe under it is what its runs are held against.
PAPER_SETTING = Setting(PAPER, COCO_2017, imagenet=IMAGENET)


@dataclass(frozen=True)
class Companion:
    """Something the paper changes together with an arm: a recipe field, its value from here on, and why."""

    field: str
    value: Any
    why: str


@dataclass(frozen=True)
class Arm:
    """A row of a study.

    name: what the user types, and the first part of its runs' folders. recipe: the whole recipe under a
    setting. label: its name in tables, when it differs. against: the arm that its gain is counted from, empty
    for none. paper: what the paper printed for it. companions: what else the paper itself changes from the
    arm it is compared against. also: further arms that the paper sets it against; its claims say so, no
    column does.
    """

    name: str
    recipe: Callable[[Setting], Recipe]
    label: str = ""
    against: str = ""
    paper: Published | None = None
    summary: str = ""
    companions: tuple[Companion, ...] = ()
    also: tuple[str, ...] = ()

    def resolve(self, setting: Setting) -> Recipe:
        """The recipe to run. Raises ValueError naming the arm when it cannot be made."""
        try:
            recipe = self.recipe(setting)
            if not isinstance(recipe, Recipe):
                raise ValueError(f"its recipe must be a Recipe, not {recipe!r}")
            recipe = with_settings(recipe, setting.protocol.settings)
        except ValueError as error:
            raise ValueError(f"arm {self.name!r}: {error}") from error
        if setting.weights:
            recipe = replace(recipe, training=replace(recipe.training, pretrained=setting.weights))
        own = recipe.model.anchors != YOLOV3_ANCHORS or "model.anchors" in dict(setting.protocol.settings)
        if setting.anchors is not None and not own:
            anchors = setting.anchors(recipe.training.image_size)
            recipe = replace(recipe, model=replace(recipe.model, anchors=anchors))
        return recipe

    def reference(self) -> Recipe:
        """The recipe under the paper's setting: what deviations are counted from."""
        return self.resolve(PAPER_SETTING)


@dataclass(frozen=True)
class PublishedRow:
    """A row that the paper prints and no arm trains. rival: the arm that the paper sets against it."""

    label: str
    paper: Published
    rival: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the report. rows: names of arms and published rows, in order. layout: how the paper prints
    it, for a table of the paper's.
    """

    title: str
    rows: tuple[str | PublishedRow, ...]
    layout: Layout | None = None


@dataclass(frozen=True)
class Design:
    """Arms that answer a question together: a name that ``--only`` takes for all of them.

    arms: their names. summary: what they can tell and what not, said before they are run.
    """

    name: str
    arms: tuple[str, ...]
    summary: str = ""


@dataclass(frozen=True)
class Study:
    """A question and its arms, in order. Raises ValueError for arms that do not fit together.

    question: the docstring of its module; the first line stands for it in short. tables: how the report
    groups the arms; without any, one table of all. noun: what an arm is called here, also an option of the
    command line (``--stage``) that says the same as ``--only``. designs: selections of arms with a name.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    tables: tuple[Table, ...] = ()
    noun: str = "arm"
    designs: tuple[Design, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name, "a study's name")
        if self.name in RESERVED:
            raise ValueError(f"a study cannot be called {self.name!r}: that folder below runs/ is taken")
        if not re.fullmatch(r"[a-z][a-z-]*", self.noun):
            raise ValueError(f"study {self.name!r}: noun must be a lower-case word, not {self.noun!r}")
        if not self.arms:
            raise ValueError(f"study {self.name!r} has no arms")
        for arm in self.arms:
            _check_name(arm.name, f"study {self.name!r}: an arm's name")
            if self.names.count(arm.name) > 1:
                raise ValueError(f"study {self.name!r}: two arms are called {arm.name!r}")
            if arm.against == arm.name:
                raise ValueError(f"study {self.name!r}: arm {arm.name!r} is compared against itself")
            for other in filter(None, (arm.against, *arm.also)):
                self._known(other, f"arm {arm.name!r} is compared against")
        listed = [row for table in self.tables for row in table.rows]
        for row in listed:
            if isinstance(row, PublishedRow):
                self._known(row.rival, f"published row {row.label!r} has the rival") if row.rival else None
            else:
                self._known(row, "a table lists")
        for table in self.tables:
            _check_layout(table, f"study {self.name!r}")
        missing = [name for name in self.names if self.tables and name not in listed]
        if missing:
            raise ValueError(f"study {self.name!r}: no table lists {', '.join(missing)}")
        self._check_designs()

    def _check_designs(self) -> None:
        taken = list(self.names)
        for design in self.designs:
            _check_name(design.name, f"study {self.name!r}: a design's name")
            if design.name in taken:
                raise ValueError(f"study {self.name!r}: the name {design.name!r} of a design is taken")
            taken.append(design.name)
            for name in design.arms:
                self._known(name, f"design {design.name!r} has")

    def _known(self, name: str, what: str) -> None:
        if name not in self.names:
            raise ValueError(
                f"study {self.name!r}: {what} {name!r}, which is no arm of it; choose one of: "
                f"{', '.join(self.names)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arms, in order."""
        return tuple(arm.name for arm in self.arms)

    def find(self, name: str) -> Arm:
        """Arm by name. Raises ValueError with the valid names, or the nearest of many."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        valid = [*(design.name for design in self.designs), *self.names]
        if len(valid) > MANY:
            raise ValueError(f"unknown {self.noun} {name!r}; {nearest(name, valid)}")
        raise ValueError(f"unknown {self.noun} {name!r}; choose one of: {', '.join(valid)}")

    def choose(self, words: Iterable[str] = ()) -> tuple[tuple[Arm, ...], tuple[Design, ...]]:
        """The arms that words (names of arms and designs) stand for, each once, and the designs among the
        words; every arm, in order, without words. Raises ValueError with the valid names.
        """
        known = {design.name: design for design in self.designs}
        named = tuple(known[word] for word in dict.fromkeys(words) if word in known)
        names = [name for word in words for name in (known[word].arms if word in known else (word,))]
        return tuple(self.find(name) for name in dict.fromkeys(names or self.names)), named


@dataclass(frozen=True)
class ArmRecord:
    """An arm as study.json has it.

    changes: recipe fields (dotted) in which it differs from the arm it is compared against, under the
    paper's setting or the planned one, companions included: a gain between runs that differ in anything
    else mixes causes. reference: the recipe under the paper's setting, as plain JSON, of arms that the paper
    printed figures for.
    """

    name: str
    label: str
    against: str = ""
    summary: str = ""
    paper: Published | None = None
    companions: tuple[Companion, ...] = ()
    changes: tuple[str, ...] = ()
    reference: dict[str, Any] | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyRecord:
    """A study as study.json has it: everything but how recipes are made.

    command: what the user types to run it, empty when unknown.
    """

    name: str
    question: str
    arms: tuple[ArmRecord, ...]
    tables: tuple[Table, ...] = ()
    noun: str = "arm"
    command: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arms, in order."""
        return tuple(arm.name for arm in self.arms)

    def find(self, name: str) -> ArmRecord | None:
        """Arm by name, None when the study has no such."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def place(self, name: str) -> int | None:
        """An arm's number in the study's order, from 1; None when the study has no such."""
        return self.names.index(name) + 1 if name in self.names else None

    def order(self, names: Iterable[str]) -> list[str]:
        """The names in the study's order, those it does not have behind, by name."""
        return sorted(names, key=lambda name: (self.place(name) or len(self.arms) + 1, name))


def record_of(study: Study, command: str = "", setting: Setting | None = None) -> StudyRecord:
    """The data of a study. setting: the one that is planned, in which arms may differ in other fields than
    under the paper's. Raises ValueError when an arm has no recipe under the paper's.
    """
    references = {arm.name: arm.reference() for arm in study.arms}
    arms = []
    for arm in study.arms:
        before = references.get(arm.against)
        arms.append(
            ArmRecord(
                arm.name,
                arm.label or arm.name,
                arm.against,
                arm.summary,
                arm.paper,
                arm.companions,
                _changes(study, arm, references, setting) if before else (),
                to_json(references[arm.name]) if arm.paper else None,
                arm.also,
            )
        )
    return StudyRecord(study.name, study.question, tuple(arms), study.tables, study.noun, command)


def _changes(
    study: Study, arm: Arm, references: Mapping[str, Recipe], setting: Setting | None
) -> tuple[str, ...]:
    """Fields in which an arm differs on purpose from the one it is compared against."""
    found = dict.fromkeys(changed_fields(references[arm.name], references[arm.against]))
    if setting is not None:
        try:
            pair = arm.resolve(setting), study.find(arm.against).resolve(setting)
        except ValueError:  # an arm that does not exist in this setting is not planned in it either
            return tuple(found)
        found |= dict.fromkeys(changed_fields(*pair))
    return tuple(found)


def changed_fields(recipe: Recipe, before: Recipe) -> tuple[str, ...]:
    """Fields (dotted) in which two recipes differ."""
    ours, theirs = flatten(to_json(recipe)), flatten(to_json(before))
    return tuple(name for name in ours if ours[name] != theirs.get(name))


def write_study(folder: Path, study: Study, command: str = "", setting: Setting | None = None) -> StudyRecord:
    """Write a study's data to ``folder`` (``runs/<study>``), unless it is there already.

    The study decides order and content; arms recorded before that it no longer has stay behind its own, for
    their runs are still there.
    """
    return write_record(folder, record_of(study, command, setting))


def write_record(folder: Path, record: StudyRecord) -> StudyRecord:
    """Write a study's data as :func:`write_study` does, where it is at hand."""
    try:
        earlier = read_study(folder)
    except ValueError:  # a broken one is replaced by what it should have been
        earlier = None
    if earlier is not None:
        kept = tuple(arm for arm in earlier.arms if arm.name not in record.names)
        record = replace(record, arms=record.arms + kept, command=record.command or earlier.command)
    if record != earlier:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, {"schema": SCHEMA, **asdict(record)})
    return record


def read_study(folder: Path) -> StudyRecord | None:
    """A study's data from its folder (``runs/<study>``); None where no planning has left any.

    Raises ValueError naming a broken file.
    """
    data = read_json(folder / FILE)
    if data is None:
        return None
    try:
        if not isinstance(data, dict):
            raise ValueError("it is not a JSON object")
        check_schema(data, "it")
        return parse(StudyRecord, {key: value for key, value in data.items() if key != "schema"})
    except ValueError as error:
        raise ValueError(f"{folder / FILE}: {error}; plan the study again") from error


def _check_layout(table: Table, where: str) -> None:
    """A printed cell is of a row of its own table."""
    rows = [row.label if isinstance(row, PublishedRow) else row for row in table.rows]
    for entry in table.layout.entries if table.layout else ():
        for name in filter(None, (entry.row, entry.against)):
            if name not in rows:
                raise ValueError(f"{where}: {table.title!r} prints {name!r}, which is none of its rows")


def _check_name(name: str, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{what} must be letters, digits, '.', '_' and '-', not {name!r}")
