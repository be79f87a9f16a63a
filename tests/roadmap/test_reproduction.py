"""The whole paper as a reproduction has it: what is shown, and which study measures it."""

from __future__ import annotations

import importlib

import pytest

from roadmap.paper import TABLES, table
from roadmap.reproduction import COMMAND, PAPER_FIGURES, PAPER_TABLES, paper_studies, study_of, table_plan
from roadmap.study import Study, record_of


def test_every_table_of_the_paper_is_there_with_a_layout_or_columns_of_its_data() -> None:
    assert [each.source for each in PAPER_TABLES] == [f"Table {n}" for n in range(1, 7)]
    for each in PAPER_TABLES:
        assert each.data in TABLES
        assert set(each.headings) <= set(table(each.data)[0])
        assert (study_of(each.source) is None) == bool(each.headings)


@pytest.mark.parametrize("study", paper_studies(), ids=lambda study: study.name)
def test_a_study_of_the_paper_is_the_one_that_its_command_runs(study: Study) -> None:
    module = importlib.import_module(COMMAND.format(study.name).split()[-1])
    ours, theirs = record_of(study), record_of(module.STUDY)
    assert (ours.arms, ours.tables, ours.noun) == (theirs.arms, theirs.tables, theirs.noun)


def test_which_study_measures_a_table_follows_from_its_tables() -> None:
    """YOLOX-DarkNet53's figures stand in Table 2, and the models' study does not replay that table."""
    found = {f"Table {n}": study_of(f"Table {n}") for n in (1, 2, 4, 6)}
    names = {source: study.name if study else "" for source, study in found.items()}
    assert names == {"Table 1": "heads", "Table 2": "roadmap", "Table 4": "scaling", "Table 6": ""}


def test_a_tables_plan_is_its_own_part_of_the_study() -> None:
    plan = table_plan("Table 4")
    assert plan is not None
    assert set(plan.names) == {"yolox-nano", "yolox-tiny"}
    assert plan.command == "python -m studies.scaling"
    (shown,) = plan.tables
    assert {row for row in shown.rows if isinstance(row, str)} == set(plan.names)
    assert table_plan("Table 6") is None


def test_every_figure_has_a_study() -> None:
    names = {study.name for study in paper_studies()}
    assert [each.source for each in PAPER_FIGURES] == ["Figure 1", "Figure 3"]
    assert all(each.study in names for each in PAPER_FIGURES)
