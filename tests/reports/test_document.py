"""``python -m reports --all``: every table of the paper in one document, from whatever has been run."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.build import Report
from reports.document import build_document
from reports.records.everything import groups_of, others, read_everything, runs_of
from reports.tables.spent import spent, training_speed
from roadmap.paper import printed
from roadmap.reproduction import PAPER_FIGURES, PAPER_TABLES, table_plan
from roadmap.study import StudyRecord
from tests.reports.factory import COCO, write_arms, write_run

FORMATS = ("html", "md", "tex")
PARTS = [*PAPER_TABLES, *PAPER_FIGURES]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies under the paper's conditions, one as a demo, a user's own, and an unfinished run."""
    runs = tmp_path_factory.mktemp("mixed") / "runs"
    write_arms(runs, "roadmap", ("baseline", "decoupled-head"), seeds=3, protocol="paper", dataset=COCO)
    write_arms(runs, "heads", ("end-to-end-coupled",), seeds=3, protocol="paper", dataset=COCO)
    write_arms(runs, "heads", ("vanilla-coupled", "vanilla-decoupled"), ap=21.0)
    write_run(runs, "mine", study="mine", ap=33.3, protocol="paper", dataset=COCO)
    write_run(runs, "simota", seed=7, state="interrupted")
    return runs


@pytest.fixture(scope="module")
def document(mixed: Path) -> Report:
    return build_document(mixed, figures=False)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return build_document(tmp_path_factory.mktemp("empty") / "runs", figures=False)


def shown(report: Report, kind: str) -> str:
    """A page's text, without what its format escapes and where lines may break."""
    text = (report.out / f"report.{kind}").read_text(encoding="utf-8")
    text = text.replace(r"\allowbreak{}", "").replace(r"\%", "%").replace(r"\_", "_").replace("-{}", "-")
    return html.unescape(text) if kind == "html" else text.replace("\\|", "|").replace("\\_", "_")


def part(report: Report, source: str) -> str:
    """What the Markdown says of a table or figure."""
    text = shown(report, "md")
    start = text.index(f"## {source}: ")
    return text[start : text.index('<a id="', start)]


def plan(source: str) -> StudyRecord:
    found = table_plan(source)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("which", ["document", "empty"])
def test_every_table_and_figure_stands_in_every_format(
    which: str, kind: str, request: pytest.FixtureRequest
) -> None:
    text = shown(request.getfixturevalue(which), kind)
    for each in PARTS:
        assert f"{each.source}: {each.title}" in text, each.source


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_not_measured_names_its_command_and_prints_the_papers_figures(
    kind: str, empty: Report
) -> None:
    text = shown(empty, kind)
    for each in PAPER_TABLES:
        found = table_plan(each.source)
        command = found.command if found else each.command
        assert command in text
        for row in printed(each.data):
            assert row["ap"] in text, (each.source, row)
    assert "Nothing of this table has been measured" in text
    assert "0 finished runs" in text


def test_the_command_for_the_rest_names_the_rows_that_are_missing(document: Report) -> None:
    text = part(document, "Table 2")
    stages = [name for name in plan("Table 2").names if name not in ("baseline", "decoupled-head")]
    assert f"python -m studies.roadmap{''.join(f' --only {name}' for name in stages)} --data DIR" in text
    assert "EFLOP" in text
    assert "--only vanilla-coupled" not in shown(document, "md"), "measured, by the roadmap's baseline"


def test_a_run_counts_in_every_table_that_shows_its_recipe(mixed: Path) -> None:
    everything = read_everything(mixed)
    table1, demo = groups_of(plan("Table 1"), everything)
    assert table1.papers_conditions
    assert [arm.arm for arm in table1.arms] == ["vanilla-coupled", "vanilla-decoupled", "end-to-end-coupled"]
    assert {run.path.parent.name for run in table1.runs} == {"roadmap", "heads"}
    assert demo.mark == "demo, not COCO"
    roadmap, _ = groups_of(plan("Table 2"), everything)
    assert [arm.arm for arm in roadmap.arms] == ["baseline", "decoupled-head"]


def test_the_same_recipe_and_seed_in_two_studies_counts_once(runs: Path) -> None:
    write_arms(runs, "roadmap", ("baseline",), seeds=2)
    write_arms(runs, "heads", ("vanilla-coupled",), seeds=3)
    found = runs_of(plan("Table 1"), read_everything(runs))
    assert [(run.arm, run.seed) for run in found] == [("vanilla-coupled", seed) for seed in range(3)]


def test_records_without_a_plan_count_by_the_names_of_the_projects_own_arms(runs: Path) -> None:
    write_arms(runs, "roadmap", ("baseline",))
    (runs / "roadmap" / "study.json").unlink()
    (group,) = groups_of(plan("Table 1"), read_everything(runs))
    assert [arm.arm for arm in group.arms] == ["vanilla-coupled"]


def test_the_papers_conditions_come_first_whatever_is_newer(mixed: Path, document: Report) -> None:
    text = part(document, "Table 1")
    assert text.index("### COCO 2017, paper protocol") < text.index("### embedded-shapes, demo protocol")


def test_no_demo_figure_can_pass_for_a_coco_figure(document: Report) -> None:
    demo = part(document, "Table 1").partition("### embedded-shapes, demo protocol (DEMO, NOT COCO)")[2]
    assert "> **DEMO, NOT COCO: the measured figures come from embedded-shapes" in demo
    assert "demo, not COCO" in demo
    assert "may be compared" not in shown(document, "md")


def test_a_document_of_demos_says_so_at_its_head(runs: Path) -> None:
    write_arms(runs, "roadmap", ("baseline",))
    report = build_document(runs, figures=False)
    text = shown(report, "md")
    assert text.index("none may be compared with the paper's") < text.index("## Table 1")
    assert "none may be compared" in report.summary


def test_each_table_states_what_its_figures_were_measured_under(document: Report) -> None:
    text = part(document, "Table 1")
    conditions = (
        "Dataset: COCO 2017", "Protocol: paper (300 epochs", "Trained on: 8 processes on Tesla V100",
        "3 seeds (0, 1, 2)", "AP is the best evaluated epoch's", "Deviations from the paper's",
    )  # fmt: skip
    for words in conditions:
        assert words in text, words


def test_the_claims_of_a_table_are_judged_below_it(document: Report) -> None:
    text = part(document, "Table 1")
    assert "### Verdicts on what Table 1 claims" in text
    assert "reproduced" in text
    assert "### Verdicts on what Figure 3 claims" in part(document, "Figure 3")


def test_gains_over_images_are_shown_where_they_are_asked_for(runs: Path, document: Report) -> None:
    write_arms(runs, "roadmap", ("baseline", "decoupled-head"))
    asked = build_document(runs, figures=False, images=True)
    assert "### Gains over validation images" in part(asked, "Table 2")
    assert "### Gains over validation images" not in shown(document, "md")


def test_runs_of_no_table_of_the_paper_are_shown_apart(mixed: Path, document: Report) -> None:
    plans = [found for each in PAPER_TABLES if (found := table_plan(each.source))]
    (group,) = others(read_everything(mixed), plans)
    assert group.study == "mine"
    text = shown(document, "md")
    assert text.index("## Beyond the paper's tables") < text.index("### Study mine: COCO 2017")
    assert "33.3" in text


def test_cost_is_counted_per_gpu_and_core(mixed: Path) -> None:
    rows = {(row.study, row.where): row for row in spent(read_everything(mixed))}
    paper, demo = rows["roadmap", "COCO 2017, paper"], rows["heads", "embedded-shapes, demo"]
    assert (paper.runs, paper.on_gpu, paper.hours) == (6, True, pytest.approx(6 * 95.0 * 8 / 3600))
    assert (demo.runs, demo.on_gpu, demo.hours) == (2, False, pytest.approx(2 * 95.0 * 2 / 3600))
    assert rows["roadmap", "unfinished"].hours == pytest.approx(12 * 4.0 * 2 / 3600)


def test_what_remains_is_priced_by_the_speed_that_was_measured(mixed: Path, document: Report) -> None:
    everything = read_everything(mixed)
    speed = training_speed(everything.runs)
    assert speed is not None
    assert "V100" in speed.hardware
    assert "GPU-hours" in part(document, "Table 2")
    demos = [run for run in everything.runs if run.protocol == "demo"]
    assert training_speed(demos) is None


def test_every_link_leads_somewhere_and_every_file_is_listed(document: Report) -> None:
    text = (document.out / "report.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        place = f'<a id="{link[1:]}"></a>' in text if link.startswith("#") else False
        assert place or (document.out / link).is_file(), link
    on_disk = {p.relative_to(document.out).as_posix() for p in document.out.rglob("*") if p.is_file()}
    assert on_disk == {p.relative_to(document.out).as_posix() for p in document.files}


def test_no_two_places_of_the_page_share_a_name(document: Report) -> None:
    page = (document.out / "report.html").read_text(encoding="utf-8")
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    labels = re.findall(r"\\label\{([^}]+)\}", (document.out / "report.tex").read_text(encoding="utf-8"))
    assert len(labels) == len(set(labels))


def test_the_same_records_give_the_same_bytes(mixed: Path, document: Report, tmp_path: Path) -> None:
    again = build_document(mixed, tmp_path / "again", figures=False)
    for first, second in zip(document.files, again.files, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_it_lies_beside_the_studies_and_is_taken_for_none(mixed: Path, document: Report) -> None:
    assert document.out == mixed / "report"
    assert "report" not in [study.name for study in read_everything(mixed).studies]


def test_the_command_prints_what_was_measured_and_where_the_document_is(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["--all", "--runs", str(mixed), "--out", str(out), "--no-figures"]) == 0
    said = capsys.readouterr().out
    assert "Table 1: 3 of 4 rows: COCO 2017, paper protocol" in said
    assert "Table 6: published figures only" in said
    assert str(out / "report.html") in said
    assert max(len(line) for line in said.splitlines() if line.startswith("  Table")) <= 120
    assert main(["--all", "--runs", str(mixed), "--out", str(out), "--no-figures", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert [each["source"] for each in tables] == [each.source for each in PAPER_TABLES]
    assert tables[0]["left"] == ["end-to-end-decoupled"]


def test_a_study_and_all_of_them_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--all", "--study", "roadmap"])
    assert "not allowed with" in capsys.readouterr().err
