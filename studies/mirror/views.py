"""What the MLflow page of an experiment shows: saved views, as experiment tags.

By default MLflow's table has no metric columns, and each browser must choose its own. A saved view is an
experiment tag ``mlflow.sharedViewState.<id>`` that holds the page's settings. It is in the page's *Views*
menu, and its address ends in ``?viewStateShareKey=<id>``. The format is not documented: it is what the page
of MLflow 3.17 writes, and tests/studies/test_mlflow_browser.py opens it in a browser.
"""

from __future__ import annotations

import json
from typing import Any

#: Columns of the two tables; the first ones fit on a small screen.
_STAGE_FIGURES = ("AP", "params_m", "gflops", "latency_ms", "AP_low", "AP_high", "seeds")
_SEED_FIGURES = ("AP", "AP_last", "AP50", "AP75", "APs", "APm", "APl", "latency_ms")

_BARS = ("AP", "params_m", "gflops", "latency_ms")
_SCATTERS = (("latency_ms", "AP"), ("params_m", "AP"))
_SECTION = "figures"


def experiment_tags() -> dict[str, str]:
    """Tags that an experiment starts with: its kind, and a view of the stages and one of their seeds."""
    stages = _view("Stages", "tags.kind = 'stage'", _STAGE_FIGURES, ("protocol", "dataset"))
    seeds = _view("Seeds", "tags.kind = 'run'", _SEED_FIGURES, ("seed", "protocol", "commit"))
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.sharedViewState.stages": json.dumps(stages),
        "mlflow.sharedViewState.seeds": json.dumps(seeds),
    }


def view_address(server: str, experiment: str, view: str = "stages", chart: bool = False) -> str:
    """Address of a saved view (``stages`` or ``seeds``) on a server, as a table or as charts."""
    page = f"{server.rstrip('/')}/#/experiments/{experiment}/runs?viewStateShareKey={view}"
    return f"{page}&compareRunsMode=CHART" if chart else page


def _view(name: str, search: str, metrics: tuple[str, ...], tags: tuple[str, ...]) -> dict[str, Any]:
    """A saved view; createdAt must be a number and is the same for everyone who writes it."""
    columns = [f"metrics.`{key}`" for key in metrics] + [f"tags.`{key}`" for key in tags]
    state = {
        "searchFilter": search,
        "orderByKey": "tags.`stage_number`",
        "orderByAsc": True,
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
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": [*map(_bar, _BARS), *(_scatter(x, y) for x, y in _SCATTERS)],
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


def _scatter(x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return {**_chart(f"scatter-{x}-{y}", "SCATTER"), **axes, "displayName": f"{y} against {x}"}


def _chart(uuid: str, kind: str) -> dict[str, Any]:
    return {**_card(uuid), "type": kind, "runsCountToCompare": 20, "metricSectionId": _SECTION}


def _card(uuid: str) -> dict[str, Any]:
    return {"uuid": uuid, "deleted": False, "isGenerated": False}
