"""Finished runs of planned studies, written the way runs write them, so that a command finds nothing left to train."""

import pytest

from experiments.records import json_files, run_record
from experiments.spec import canonical, to_config


@pytest.fixture(scope="session")
def finish():
    """`finish(plan, out, value)` writes every run of a plan; `value(arm, seed)` is its error, or why it failed."""

    def write(plan, out, value):
        for run in plan.all_runs:
            directory = out / "runs" / run.directory
            directory.mkdir(parents=True, exist_ok=True)
            found = value(run.arm, run.seed)
            failed = isinstance(found, str)
            record = run_record.RunRecord(
                run_id=run.spec.run_id,
                status="diverged" if failed else "completed",
                reason=found if failed else "",
                spec=canonical(run.spec),
                metrics={} if failed else dict.fromkeys(plan.metrics, found),
                validation={},
                protocol=run.spec.evaluation.numbers,
            )
            json_files.write_json(directory / "spec.json", to_config(run.spec))
            run_record.write_result(directory, record)

    return write
