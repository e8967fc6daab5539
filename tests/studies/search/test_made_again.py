"""A search keeps nothing but the files of its runs: made again it is the same, and no run is done again."""

import dataclasses
import json

import launching
import pytest

from experiments.records import run_record
from studies.search import tuning
from studies.search.sampler import Sweep

BUDGET = 6


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """`searched()` searches, with runs that are done at once; it returns the directories of those that were."""
    monkeypatch.setattr(Sweep, "importance", lambda self: {})  # takes most of the time and changes nothing
    monkeypatch.setattr("studies.search.sampler.RANDOM", 4)  # the last two settings come from what was learned before
    plan = launching.plan(2)
    study = dataclasses.replace(plan.study, searched=plan.study.labels[:1], trials=BUDGET)
    plan = dataclasses.replace(plan, study=study)
    search = tuning.SearchBudget(budget=BUDGET, metric="epe/synthetic/all", only=("train.learning_rate",))

    def run():
        done = []

        def run_all(trials):
            for each in trials.runs:
                directory = tmp_path / "runs" / each.directory
                if not (directory / "result.json").exists():
                    done.append(each.directory)
                    value = abs(each.spec.train.learning_rate - 1e-3)
                    line = {"step": 5, "validation/epe/synthetic/all": value + 1}
                    (directory / "metrics.jsonl").write_text(json.dumps(line) + "\n")
                    run_record.write_result(directory, run_record.RunRecord(
                        run_id=each.spec.run_id, status="completed", spec={}, metrics={}, protocol="full/1",
                        validation={"epe/synthetic/all": value}))  # fmt: skip
            return False

        assert tuning.tune(plan, search, tmp_path, run_all, lambda: False) is not None
        return done

    return run


def test_a_search_that_is_made_again_ends_with_the_same_bytes_and_does_no_run_again(tmp_path, searched):
    assert len(searched()) == BUDGET
    folder = tmp_path / "trivial"
    found = (folder / "search.json").read_bytes()
    (folder / "search.journal").write_bytes(b"of a version of before")
    for lost in ("search.json", "tuning.lock"):
        (folder / lost).unlink()
        assert searched() == [] and (folder / "search.json").read_bytes() == found
    gone = sorted((tmp_path / "runs").glob("*/result.json"))[-1]
    gone.unlink()
    assert searched() == [gone.parent.name] and (folder / "search.json").read_bytes() == found
