"""Where the files of runs and studies lie, and what they are called; no other module writes these names out.

OUT/
    mlflow.db                               MLflow's store, unless another one was given
    ledger.html                             the findings of the paper in all studies, the report of a campaign
    prefixes/                               checkpoints that several runs share the training up to
    runs/<readable name>__<run_id>/         see `experiments.records.run_record`
    <study>/                                plan.json, search.json, yardsticks.json, mirror.json, study.log,
                                            queue.json, report/; runs.jsonl.gz where only results are kept
"""

from __future__ import annotations

import pathlib

# of OUT
RUNS = "runs"
PREFIXES = "prefixes"
MLFLOW = "mlflow.db"
LEDGER = "ledger.html"
# of a run
SPEC = "spec.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"  # written last: a run that has one is done
COST = "cost.json"
LOG = "log.txt"
SACRED = "sacred.json"
SACRED_PROBLEMS = "sacred_problems.json"
CHECKPOINTS = "checkpoints"
PICTURES = "pictures"
ATTEMPTS = "attempts"  # numbered folders with the files of earlier attempts that failed
LOCK = "lock"  # held by the process that trains
WORKER_LOCK = "worker.lock"  # held by the worker that has taken the run
# of a study
PLAN = "plan.json"
SEARCH = "search.json"
YARDSTICKS = "yardsticks.json"
KEPT_RUNS = "runs.jsonl.gz"  # results of all its runs, instead of the directories of the runs
SEARCH_LOCK = "tuning.lock"  # there as soon as a search has begun
QUEUE = "queue.json"
MIRROR = "mirror.json"
STUDY_LOG = "study.log"
REPORT = "report"


def run_directory(out: pathlib.Path, name: str) -> pathlib.Path:
    """The directory of a run in a results folder."""
    return out / RUNS / name


def finished(directory: pathlib.Path) -> bool:
    """True if the run in a directory has a result, of whatever kind."""
    return (directory / RESULT).exists()
