"""When a trial is given up: by hand, and against Optuna's median pruner."""

import dataclasses
import json
import warnings

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.records import json_files, run_record
from experiments.spec import changed, default_spec, to_config
from studies.queue.job import Job, job_from
from studies.queue.pruning import PruningThresholds, curve, median_thresholds, record_pruned

CURVES = st.dictionaries(st.sampled_from([5, 10, 20, 30]), st.integers(0, 8).map(float))
NAME = "run__0123456789ab"


def test_a_trial_misses_the_bar_where_its_best_is_above_the_median():
    thresholds = median_thresholds("m", [{10: 1.0, 20: 4.0}, {10: 2.0}, {10: 3.0}, {10: 4.0, 20: 1.0}])
    assert thresholds == PruningThresholds(metric="m", limits=((10, 2.5), (20, 2.5)))
    assert thresholds.pruned_at([(10, 2.5), (20, 99.0)]) is None, "as good as the median, and its best was"
    assert thresholds.pruned_at([(10, 2.6), (20, 0.5)]) == (10, 2.6)
    assert thresholds.pruned_at([(5, 9.0)]) is None and thresholds.pruned_at([]) is None
    assert thresholds.pruned_at([(5, 9.0), (15, 8.0), (20, 8.5)]) == (20, 8.5)
    assert thresholds.pruned_at([(5, 1.0), (10, 9.0), (20, 9.0)]) is None


@given(completed=st.lists(CURVES, min_size=1, max_size=6), mine=CURVES)
@settings(max_examples=150, deadline=None)
def test_the_rule_is_that_of_optunas_median_pruner(completed, mine):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    for one in completed:
        study.add_trial(optuna.trial.create_trial(value=0.0, intermediate_values=one))
    trial, pruned = study.ask(), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for step, value in sorted(mine.items()):
            trial.report(value, step)
            if pruned is None and trial.should_prune():
                pruned = step, value
    assert median_thresholds("m", completed).pruned_at(sorted(mine.items())) == pruned


def test_a_bar_goes_with_its_job_through_json():
    job = Job(directory=NAME, thresholds=PruningThresholds(metric="m", limits=((10, 2.5), (20, 0.1 + 0.2))))
    plain = json.loads(json.dumps(dataclasses.asdict(job)))
    assert (
        job_from(plain) == job
        and job_from(json.loads(json.dumps(dataclasses.asdict(Job(directory=NAME))))).thresholds is None
    )


@pytest.mark.parametrize(
    "thresholds", [3, [], {}, {"metric": "m"}, {"metric": "m", "limits": [[1]]}, {"limits": 1, "metric": 2}]
)
def test_a_job_with_something_else_for_a_bar_is_none(thresholds):
    assert job_from({"directory": NAME, "thresholds": thresholds}) is None


def test_a_run_that_misses_its_bar_gets_its_result_and_another_none(tmp_path):
    spec = changed(default_spec(), {"train.steps": 30})
    directory = tmp_path / spec.directory
    directory.mkdir()
    json_files.write_json(directory / "spec.json", to_config(spec))
    lines = [
        {"step": 10, "validation/m": 2.0, "total": 1.0},
        {"step": 15, "total": 0.5},
        {"step": 20, "validation/m": 1.5},
    ]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 25, "valid')
    assert list(curve(directory, "m")) == [(10, 2.0), (20, 1.5)] and list(curve(directory, "m", 20)) == [(10, 2.0)]
    assert not record_pruned(PruningThresholds(metric="m", limits=((20, 1.5),)), directory)
    assert not record_pruned(PruningThresholds(metric="other", limits=((20, 0.5),)), directory)
    assert not (directory / "result.json").exists()
    assert record_pruned(PruningThresholds(metric="m", limits=((20, 1.25),)), directory)
    found = run_record.read_result(directory)
    assert (found.status, found.step, found.validation, found.metrics) == ("pruned", 20, {"m": 1.5}, {})
    assert found.reason == "m was 1.5 at step 20, never 1.25"
