"""The page of MLflow that shows a study: its runs by arm, with a chart of each metric, the deciding one first.

MLflow (3.17) keeps views that can be linked to as tags of an experiment, `mlflow.sharedViewState.KEY`, and opens one at
`#/experiments/ID/runs?viewStateShareKey=KEY`. What it holds is what its pages keep in the browser otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

KEY = "arms"
TAG = f"mlflow.sharedViewState.{KEY}"
DEFAULT = "http://127.0.0.1:5000"  # where `mlflow ui` listens


def address(server: str, experiment: str) -> str:
    """The address of the page.

    Args:
        server: address of the MLflow server.
        experiment: id of the study's experiment.
    """
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?viewStateShareKey={KEY}&compareRunsMode=CHART"


def view(metrics: Sequence[str]) -> str:
    """The view, as the value of its tag: runs grouped by arm, means of the final metrics as bars.

    Args:
        metrics: of the study, the deciding one first.
    """
    finals = [f"final/{metric}" for metric in metrics]
    # MLflow adds charts of the other metrics in sections like these, each named by what is before the last slash
    sections = list(dict.fromkeys(name.rpartition("/")[0] for name in finals))
    columns = [f"metrics.`{name}`" for name in finals]
    shown: dict[str, Any] = {
        "searchFilter": "tags.`uflow.kind` = 'run'",
        "orderByKey": columns[0],
        "orderByAsc": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "arm"}]},
        "selectedColumns": [*columns, *(f"attributes.`{name}`" for name in ("Dataset", "Source", "Version"))],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "isReordered": False, "deleted": False, "isGenerated": True}
            for name in sections
        ],
        "compareRunCharts": [
            {
                "type": "BAR",
                "uuid": name,
                "metricKey": name,
                "displayName": name.rpartition("/")[2],
                "metricSectionId": name.rpartition("/")[0],
                "runsCountToCompare": 10,
                "deleted": False,
                "isGenerated": True,
            }
            for name in finals
        ],
    }
    return json.dumps(shown)
