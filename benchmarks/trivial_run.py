"""A run that does everything but train: what `benchmarks.overhead` takes instead of `experiments.run`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from experiments import run
from experiments.execution import runner
from experiments.execution.cost import Cost
from experiments.records import json_files, layout, run_record
from experiments.records.run_settings import RunSettings
from experiments.spec import ExperimentSpec, canonical

LINES = 10  # of the learning curve


def preload() -> None:
    """Loads what a run loads."""
    run.preload()


def trivial(spec: ExperimentSpec, settings: RunSettings, *_: object) -> run_record.RunRecord:
    """Writes the files of a run that trained for no time."""
    directory = runner.directory_of(spec, settings)
    Cost(directory).write()
    lines = [{"step": 10 * n, "total": 1.0 / n, "photometric": 0.5, "smoothness": 0.5} for n in range(1, LINES + 1)]
    json_files.atomic_write(directory / layout.METRICS, "".join(json.dumps(line) + "\n" for line in lines))
    kinds = [f"epe/synthetic/{kind}" for kind in ("all", "noc", "occ")]
    frames = [2.0 + spec.seed / 100 + frame / 10 for frame in range(spec.data.scenes.test_pairs)]
    record = run_record.RunRecord(
        run_id=spec.run_id,
        status="completed",
        step=10 * LINES,
        spec=canonical(spec),
        metrics=dict.fromkeys(kinds, sum(frames) / len(frames)),
        frames=dict.fromkeys(kinds, tuple(frames)),
        validation={"epe/synthetic/all": 2.0},
        protocol=spec.evaluation.numbers,
    )
    run_record.write_result(directory, record)
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """Does a run like `experiments.run`, Sacred included, without training."""
    runner.execute = trivial
    return run.main(argv)


if __name__ == "__main__":
    sys.exit(main())
