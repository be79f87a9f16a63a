"""A search as a part of the page: what it claims, what fresh seeds say, every trial, and its figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from reports.blocks import (
    Block,
    Caption,
    Details,
    Figure,
    Files,
    Gallery,
    Heading,
    Prose,
    Strong,
    Table,
    Terms,
    Text,
)
from reports.grid import Grid
from reports.judging.tuning import ANSWERS
from reports.pages import latex, markdown
from reports.records.groups import Group
from reports.records.search import STATES, BaseSearch
from reports.tables.caption import mark_sentence, short_caption
from reports.tables.columns import to_csv
from reports.tables.search import (
    Judged,
    change_text,
    claims_grid,
    figure_text,
    interval_text_of,
    trial_records,
    trials_grid,
    tuned_gains,
    tuned_grid,
)
from roadmap.words import counted

#: Which of the two is which.
WHICH_IS_WHICH = (
    "The search's own figures are those that it chose by: the best of many noisy figures, so too good on "
    "average, the more so the more trials there are and the more one run differs from the next. They are no "
    "result. The fresh seeds' figures come from runs of the same recipes with seeds that had no part in the "
    "choice: their mean is unbiased, its interval Student's over these seeds; the gain over the base is "
    "paired by fresh seed and judged by the rules of every other gain. The order of the rows is the search's "
    "own and was fixed before these runs: the first is the answer, and the best of several would be too good "
    "again."
)
#: What tuned against tuned is.
TUNED_NOTE = (
    "Each side is the first of its own search, which had the same space, budget and sampler; both gains are "
    "paired by fresh seed. The last column is the difference of the two searches' own best figures, each too "
    "good by its own luck: it is no result."
)


@dataclass(frozen=True)
class SearchSection:
    """The searches of a study, one per base. group: all their runs, None where none of this study has
    finished. folder: where its files go.
    """

    judged: tuple[Judged, ...]
    group: Group | None
    folder: Path
    figures: tuple[Figure, ...] = ()

    @property
    def tables(self) -> dict[str, Table]:
        """Its tables by the name of their files; each can stand alone."""
        found = {}
        for each in self.judged:
            name = "claims" if len(self.judged) == 1 else f"claims-{each.search.base}"
            title = f"What the search of {each.search.base} claims, and what fresh seeds say"
            found[name] = self._table(name, claims_grid(each), title, WHICH_IS_WHICH)
        if pairs := tuned_gains(self.judged):
            objective = self.judged[0].search.objectives[0].name
            found["tuned"] = self._table(
                "tuned", tuned_grid(pairs, objective), "Tuned against tuned", TUNED_NOTE
            )
        return found

    def _table(self, name: str, grid: Grid, title: str, note: str) -> Table:
        mark, conditions = (
            ("", "") if self.group is None else (mark_sentence(self.group), short_caption(self.group))
        )
        caption = Caption(title, mark, tuple(filter(None, (conditions, *self._seeds()))), (note,))
        return Table(grid, caption=caption, label=f"tab:{self.folder.name}-{name}")

    def _seeds(self) -> tuple[str, ...]:
        record = self.judged[0].search.record
        seeds = sorted({c.seed for c in record.confirmations})
        fresh = f"; fresh seeds: {', '.join(map(str, seeds))}" if seeds else "; no fresh seeds yet"
        return (f"Trials: one run each with seed {record.space.run_seed}{fresh}.",)

    def contents(self) -> dict[Path, str]:
        """What its files hold, but figures."""
        found = {}
        for name, table in self.tables.items():
            found[self.folder / f"{name}.md"] = markdown.render([table], self.folder)
            found[self.folder / f"{name}.tex"] = latex.table(table)
        found[self.folder / "trials.csv"] = to_csv(
            [r for each in self.judged for r in trial_records(each.search)]
        )
        return found

    def blocks(self) -> list[Block]:
        """The part of the page."""
        blocks: list[Block] = [Heading("The search", anchor="search")]
        for each in self.judged:
            blocks += self._search(each)
        if "tuned" in self.tables:
            blocks += [Heading("Tuned against tuned", 3), self.tables["tuned"], self._files("tuned")]
        if self.figures:
            blocks += [Heading("Figures of the search", 3), Gallery(self.figures)]
        return blocks

    def _search(self, judged: Judged) -> list[Block]:
        search = judged.search
        several = len(self.judged) > 1
        name = f"claims-{search.base}" if several else "claims"
        of = f" ({search.base})" if several else ""
        blocks: list[Block] = [Heading(f"What the search claims, and what fresh seeds say{of}", 3)]
        blocks += [Prose(how(search)), Prose(headline(judged)), self.tables[name], self._files(name)]
        blocks += [Terms(tuple(ANSWERS.items()))] if search == self.judged[-1].search else []
        states = Terms(tuple((state, text) for state, text in STATES.items() if _states(search)[state]))
        return [*blocks, Details(counted(len(search.trials), "trial"), (Table(trials_grid(search)), states))]

    def _files(self, name: str) -> Files:
        kinds = (("Markdown", "md"), ("LaTeX", "tex"))
        return Files("The same table as", tuple((kind, self.folder / f"{name}.{end}") for kind, end in kinds))

    def summary(self) -> list[Block]:
        """What a terminal shows of it."""
        mark = f" [{self.group.mark}]" if self.group and self.group.mark else ""
        blocks: list[Block] = [Heading(f"the search{mark}")]
        for each in self.judged:
            blocks += [Prose(how(each.search)), Prose(headline(each))]
        return [*blocks, *self.tables.values()]


def _states(search: BaseSearch) -> Counter[str]:
    return Counter(trial.state for trial in search.trials)


def how(search: BaseSearch) -> str:
    """What was searched, how, and how far it is."""
    space, states = search.record.space, _states(search)
    sought = " and ".join(f"{o.name} {o.direction}" for o in search.objectives)
    done = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    return (
        f"{space.summary.rstrip('.')}. Base: {search.base}. Sought: {sought}, over "
        f"{counted(len(space.parameters), 'setting')}; sampler {space.sampler} (seed {space.seed}), "
        f"pruner {space.pruner}; {len(search.trials)} of {counted(space.trials, 'trial')}: {done}."
    )


def headline(judged: Judged) -> Text:
    """The answer, as far as there is one."""
    search = judged.search
    if not judged.reruns:
        return "No trial has finished yet."
    first, name = judged.reruns[0], search.objectives[0].name
    number = search.winners[0].trial.number
    if first.fresh is None or first.gain is None:
        return (
            f"The search's best so far is trial {number} with {name} {figure_text(name, first.claimed)}, too "
            "good as the best of many is on average; no fresh seed has said yet what it gives."
        )
    side = "above" if first.claimed > first.fresh.mean else "below"
    luck = f"{figure_text(name, abs(first.claimed - first.fresh.mean))} {side} the fresh mean"
    answer, of = first.answer, f" in {name}" if len(search.objectives) > 1 else ""
    return (
        Strong(f"{answer[0].upper()}{answer[1:]}"),
        f": trial {number}, the search's best{of}, has {name} {figure_text(name, first.fresh.mean)} over "
        f"{counted(len(first.fresh.values), 'fresh seed')}, {change_text(name, first.gain.mean)} on the base "
        f"(95 % interval {interval_text_of(name, first.gain.interval, signed=True)}). The search itself saw "
        f"{figure_text(name, first.claimed)}, {luck}.",
    )
