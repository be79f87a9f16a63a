"""What the MLflow page of an experiment shows: saved views, as experiment tags.

By default MLflow's table has no metric columns, and each browser must choose its own. A saved view is an
experiment tag ``mlflow.sharedViewState.<id>`` that holds the page's settings. It is in the page's *Views*
menu, and its address ends in ``?viewStateShareKey=<id>``. The format is not documented: it is what the page
of MLflow 3.17 writes, and tests/studies/test_mlflow_browser.py opens it in a browser.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from yolox_core.config import INGREDIENTS

#: Columns of the two tables; the first ones fit on a small screen.
_STAGE_FIGURES = ("AP", "params_m", "gflops", "latency_ms", "AP_low", "AP_high", "seeds")
_SEED_FIGURES = ("AP", "AP_last", "AP50", "AP75", "APs", "APm", "APl", "latency_ms")

_BARS = ("AP", "params_m", "gflops", "latency_ms")
_SCATTERS = (("latency_ms", "AP"), ("params_m", "AP"))
_SECTION = "figures"
#: More runs than any study has arms: charts show the first so many.
_ALL = 100
#: The arms' order in their study.
_PLACE = "tags.`stage_number`"


def experiment_tags(searched: Sequence[str] = ()) -> dict[str, str]:
    """Tags that an experiment starts with: its kind, and views of the stages, of their seeds, and of what
    is on where many combinations of ingredients are compared; of a search also of its trials.

    searched: the settings that a search tries (parameters' names).
    """
    stages = _view("Stages", "tags.kind = 'stage'", _columns(_STAGE_FIGURES, tags=("protocol", "dataset")))
    seeds = _view("Seeds", "tags.kind = 'run'", _columns(_SEED_FIGURES, tags=("seed", "protocol", "commit")))
    params = tuple(f"ingredients.{name}" for name in INGREDIENTS)
    ingredients = _view(
        "Ingredients",
        "tags.kind = 'stage'",
        _columns(("AP", "AP_low", "AP_high", "seeds"), params),
        [_parallel(params, "AP"), _bar("AP")],
        order=("metrics.`AP`", False),
    )
    trials = _view(
        "Trials",
        "tags.kind = 'run' AND tags.trial LIKE '%'",
        _columns(("AP", "AP_last", "latency_total_ms"), tuple(searched), ("trial", "base")),
        [_parallel(tuple(searched), "AP"), *(_scatter(key, "AP", "PARAM") for key in searched), _bar("AP")],
        order=("metrics.`AP`", False),
    )
    return {
        "mlflow.experimentKind": "custom_model_development",
        **({"mlflow.sharedViewState.trials": json.dumps(trials)} if searched else {}),
        "mlflow.sharedViewState.stages": json.dumps(stages),
        "mlflow.sharedViewState.seeds": json.dumps(seeds),
        "mlflow.sharedViewState.ingredients": json.dumps(ingredients),
    }


def view_address(server: str, experiment: str, view: str = "stages", chart: bool = False) -> str:
    """Address of a saved view (``stages``, ``seeds``, ``ingredients``, a search's ``trials``) on a server, as
    table or charts.
    """
    page = f"{server.rstrip('/')}/#/experiments/{experiment}/runs?viewStateShareKey={view}"
    return f"{page}&compareRunsMode=CHART" if chart else page


def _columns(metrics: Sequence[str], params: Sequence[str] = (), tags: Sequence[str] = ()) -> list[str]:
    kinds = (("metrics", metrics), ("params", params), ("tags", tags))
    return [f"{kind}.`{key}`" for kind, keys in kinds for key in keys]


def _view(
    name: str,
    search: str,
    columns: list[str],
    charts: list[dict[str, Any]] | None = None,
    order: tuple[str, bool] = (_PLACE, True),
) -> dict[str, Any]:
    """A saved view; createdAt must be a number and is the same for everyone who writes it.

    order: what runs are sorted by, and whether upwards.
    """
    if charts is None:
        charts = [*map(_bar, _BARS), *(_scatter(x, y) for x, y in _SCATTERS)]
    state = {
        "searchFilter": search,
        "orderByKey": order[0],
        "orderByAsc": order[1],
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, 95),
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOWALL",
        "compareRunCharts": charts,
        "compareRunSections": [
            {**_card(_SECTION), "name": "Final figures", "display": True, "isReordered": False}
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    return {"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}


def _bar(metric: str) -> dict[str, Any]:
    return {**_chart(f"bar-{metric}", "BAR"), "metricKey": metric, "displayName": metric}


def _scatter(x: str, y: str, kind: str = "METRIC") -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": kind}, "yaxis": {"key": y, "type": "METRIC"}}
    return {**_chart(f"scatter-{x}-{y}", "SCATTER"), **axes, "displayName": f"{y} against {x}"}


def _parallel(params: Sequence[str], metric: str) -> dict[str, Any]:
    """One line per run through its parameters to a figure."""
    axes = {"selectedParams": list(params), "selectedMetrics": [metric], "showAllRuns": True}
    return {**_chart("parallel", "PARALLEL"), **axes}


def _chart(uuid: str, kind: str) -> dict[str, Any]:
    return {**_card(uuid), "type": kind, "runsCountToCompare": _ALL, "metricSectionId": _SECTION}


def _card(uuid: str) -> dict[str, Any]:
    return {"uuid": uuid, "deleted": False, "isGenerated": False}
