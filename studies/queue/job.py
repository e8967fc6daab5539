"""A run as a queue hands it out and as a worker takes it."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studies.queue.attempts import attempt_of
from studies.queue.pruning import PruningThresholds

HEARTBEAT = 15  # s between signs of life of a worker, in a database
NAME = re.compile(r"[\w.+-]+__[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A run as the queue hands it out.

    Attributes:
        directory: name of the run's directory under `runs/`.
        arm: label of the arm, for MLflow.
        seed: of the study, for MLflow.
        about: what MLflow is told of every run of the study.
        shared_steps: steps until which runs of the study train the same.
        attempt: 1 for the first, one more each time that a failed run is done again.
        thresholds: which a trial of a search is pruned by.
    """

    directory: str
    arm: str = ""
    seed: int = 0
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shared_steps: tuple[int, ...] = ()
    attempt: int = 1
    thresholds: PruningThresholds | None = None

    @property
    def run_id(self) -> str:
        """Hash of the run's spec."""
        return self.directory.rsplit("__", 1)[1]


def job_from(plain: Any) -> Job | None:
    """The job that a trial stands for; `None` if it is none of ours or names no directory of a run."""
    known = {field.name for field in dataclasses.fields(Job)}
    try:
        values = {key: value for key, value in plain.items() if key in known}  # a later version may say more
        steps = tuple(int(step) for step in values.get("shared_steps", ()))
        values |= {"shared_steps": steps, "attempt": int(values.get("attempt", 1))}
        if (rule := values.get("thresholds")) is not None:
            limits = tuple((int(step), float(value)) for step, value in rule["limits"])
            values["thresholds"] = PruningThresholds(metric=str(rule["metric"]), limits=limits)
        job = Job(**values)
    except (TypeError, AttributeError, ValueError, KeyError):
        return None
    return job if isinstance(job.directory, str) and NAME.fullmatch(job.directory) and job.attempt >= 1 else None


def jobs_of(planned: Iterable[Any], runs: pathlib.Path, about: Mapping[str, str], shared: Sequence[int]) -> list[Job]:
    """The jobs of planned runs, whose directories are in `runs`."""
    common = {"about": dict(about), "shared_steps": tuple(shared)}
    return [
        Job(
            directory=run.directory, arm=run.arm, seed=run.seed, thresholds=run.thresholds,
            attempt=attempt_of(runs / run.directory), **common,
        )
        for run in planned
    ]  # fmt: skip
