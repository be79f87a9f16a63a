"""Optuna's storage as a view of a search's record: for optuna-dashboard and whatever else reads one.

Nothing is ever read back from it, so it may be lost, broken or away: the next step writes it anew. A trouble
with it is said and stops nothing.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.redaction import public_uri
from roadmap.search import SearchRecord
from studies.searching.asking import directions, in_sequence

if TYPE_CHECKING:
    import optuna

#: The whole address, where it holds a password.
VARIABLE = "OPTUNA_STORAGE"
#: Said in the storage, for whoever opens it.
FIGURES = "the search's own, too good on average; the report has what fresh seeds say"
#: The default, beside search.json.
FILE = "optuna.db"


def address(given: str | None, folder: Path) -> str:
    """The storage's address: as given, else of the environment, else a file in the search's folder.

    Raises ValueError for one whose password a record would show, and for what is no database's.
    """
    if given == "off":
        return ""
    if given and public_uri(given) != given:
        raise ValueError(
            f"--storage holds a user, password or query, which records would show; leave it out and export "
            f"{VARIABLE} with the whole address"
        )
    found = given or os.environ.get(VARIABLE) or f"sqlite:///{(folder / FILE).absolute()}"
    if "://" not in found:
        raise ValueError(
            f"--storage must be an address as sqlite:///runs/all.db or postgresql://…, not {found}"
        )
    return found


def is_default(known: str, folder: Path) -> bool:
    """Whether a record's address is only a part of the whole one, or was never chosen."""
    return public_uri(address(None, folder)) == known


def mirror(record: SearchRecord, url: str) -> str:
    """Bring the storage up to date; what is wrong with it, empty when nothing is."""
    if not url:
        return ""
    try:
        _write(record, url)
    except Exception as error:
        file = Path(url.removeprefix("sqlite:///"))
        if not (url.startswith("sqlite:///") and file.name == FILE and file.is_file()):
            return _trouble(url, error)
        file.unlink()  # it is ours, and a copy
        try:
            _write(record, url)
        except Exception as second:
            return _trouble(url, second)
    return ""


def check(url: str) -> None:
    """Raises ValueError when there is no database behind an address."""
    if not url:
        return
    try:
        _open(url)
    except Exception as error:
        raise ValueError(_trouble(url, error) + "; --storage off does without") from error


def names(record: SearchRecord) -> dict[str, str]:
    """Base -> the name of its study in the storage."""
    several = len(record.space.base) > 1
    return {base: f"{record.name}/{base}" if several else record.name for base in record.space.base}


def _trouble(url: str, error: Exception) -> str:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    driver = isinstance(error, ImportError) and url.startswith("postgres")
    fix = "; pip install '.[postgres]' brings its driver" if driver else ""
    return f"Optuna's storage {public_uri(url)}: {reason[0]}{fix}"


def _open(url: str) -> optuna.storages.RDBStorage:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.storages.RDBStorage(url)


def _write(record: SearchRecord, url: str) -> None:
    import optuna

    storage = _open(url)
    try:
        for base, name in names(record).items():
            way = directions(record.space)
            wanted = in_sequence(record.space, record.of(base))
            study = optuna.create_study(study_name=name, storage=storage, directions=way, load_if_exists=True)
            if [direction.name.lower() for direction in study.directions] != way or not _catch_up(
                study, storage, wanted
            ):
                optuna.delete_study(study_name=name, storage=storage)
                study = optuna.create_study(study_name=name, storage=storage, directions=way)
                study.add_trials(wanted)
            _name_figures(study, record)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _name_figures(study: optuna.study.Study, record: SearchRecord) -> None:
    """What a dashboard calls the objectives, and what it must not be taken for."""
    import optuna

    wanted = [objective.name for objective in record.space.objectives]
    if study.metric_names != wanted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(wanted)
    if study.user_attrs.get("figures") != FIGURES:
        study.set_user_attr("figures", FIGURES)


def _catch_up(study: optuna.study.Study, storage: Any, wanted: list[optuna.trial.FrozenTrial]) -> bool:
    """Add what is missing and end what has ended; False when the storage has something else."""
    have = study.get_trials(deepcopy=False)
    if len(have) > len(wanted):
        return False
    for old, new in zip(have, wanted, strict=False):
        if old.params != new.params:
            return False
        if old.state.is_finished():
            if (old.state, old.values) != (new.state, new.values):
                return False
            continue
        for epoch, value in new.intermediate_values.items():
            if epoch not in old.intermediate_values:
                storage.set_trial_intermediate_value(old._trial_id, epoch, value)
        for key, value in new.user_attrs.items():
            if old.user_attrs.get(key) != value:
                storage.set_trial_user_attr(old._trial_id, key, value)
        if new.state.is_finished():
            storage.set_trial_state_values(old._trial_id, new.state, new.values)
    study.add_trials(wanted[len(have) :])
    return True
