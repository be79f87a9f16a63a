"""The whole paper as a reproduction has it: what is shown, and which study measures it."""

from __future__ import annotations

import importlib

import pytest

from roadmap.paper import TABLES, table
from roadmap.reproduction import COMMAND, PAPER_FIGURES, PAPER_TABLES, paper_studies, studies_of
from roadmap.study import Study, record_of


def test_every_table_of_the_paper_is_there_with_columns_that_its_data_has() -> None:
    assert [each.source for each in PAPER_TABLES] == [f"Table {n}" for n in range(1, 7)]
    for each in PAPER_TABLES:
        assert each.data in TABLES
        columns = set(table(each.data)[0])
        assert set(each.headings) <= columns
        assert not each.across or {each.across, "ap"} <= columns


@pytest.mark.parametrize("study", paper_studies(), ids=lambda study: study.name)
def test_a_study_of_the_paper_is_the_one_that_its_command_runs(study: Study) -> None:
    module = importlib.import_module(COMMAND.format(study.name).split()[-1])
    ours, theirs = record_of(study), record_of(module.STUDY)
    assert (ours.arms, ours.tables, ours.noun) == (theirs.arms, theirs.tables, theirs.noun)


def test_which_study_measures_a_table_follows_from_its_tables() -> None:
    """YOLOX-DarkNet53's figures stand in Table 2, and the models' study does not replay that table."""
    assert [study.name for study in studies_of("Table 1")] == ["heads"]
    assert [study.name for study in studies_of("Table 2")] == ["roadmap"]
    assert [study.name for study in studies_of("Table 4")] == ["scaling"]
    assert not studies_of("Table 6")


def test_every_figure_has_a_study() -> None:
    names = {study.name for study in paper_studies()}
    assert [each.source for each in PAPER_FIGURES] == ["Figure 1", "Figure 3"]
    assert all(each.study in names for each in PAPER_FIGURES)
