"""How long `--plan` says that runs take, and by what."""

import dataclasses
import pathlib

import pytest

from experiments.records import json_files
from experiments.records.run_record import RunRecord, write_result
from experiments.spec import to_config
from studies.occlusion_ablation import STUDY
from studies.planning import costs
from studies.planning.costs import RunCost
from studies.planning.planner import PlanRequest, make
from studies.presets import PRESETS

LISTED = RunCost(**costs.table()["presets"]["smoke"])


@pytest.fixture
def plan():
    return make(STUDY, PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1), changes={}, arms=()))


def finished(out, run, **changes):
    """A run that took 40 steps of 10 ms and 7 s beside them."""
    directory = out / "runs" / run.directory
    directory.mkdir(parents=True)
    json_files.write_json(directory / "spec.json", to_config(run.spec))
    cost = {"ms_per_step": 10.0, "seconds": 7.4, "attempts": 1, "started_at_step": 0, "device": "CPU"} | changes
    json_files.write_json(directory / "cost.json", cost)
    status = changes.get("status", "completed")
    record = RunRecord(
        run_id=run.spec.run_id, status=status, reason="", spec={}, metrics={}, validation={}, protocol=""
    )
    write_result(directory, record)


def test_the_table_has_every_preset_and_names_its_machine():
    assert set(costs.table()["presets"]) == set(PRESETS) and costs.table()["machine"]
    for row in costs.table()["presets"].values():
        assert RunCost(**row).ms_per_step > 0


def test_without_earlier_runs_the_table_tells(plan, tmp_path):
    found = costs.estimate(plan, plan.runs, 2, costs.known(tmp_path, "CPU", "smoke"))
    # of each seed three runs of 40 steps share their first 20
    assert found.seconds == pytest.approx((6 * LISTED.seconds_per_run + 160 * LISTED.ms_per_step / 1000) / 2)
    assert found.saved_seconds == pytest.approx(80 * LISTED.ms_per_step / 1000 / 2)
    assert "benchmarks.costs" in found.source and costs.table()["machine"] in found.source


def test_earlier_runs_of_the_same_shape_tell_of_themselves_only(plan, tmp_path):
    none = [run for run in plan.runs if run.arm == "none"]
    finished(tmp_path, none[0])
    known = costs.known(tmp_path, "CPU", "smoke")
    (key,) = known.earlier
    assert known.of(none[1].spec) == (RunCost(10.0, pytest.approx(7.0)), key), "another seed is the same shape"
    assert known.of(next(run.spec for run in plan.runs if run.arm == "wang")) == (LISTED, "")
    larger = dataclasses.replace(none[1].spec, data=dataclasses.replace(none[1].spec.data, height=128))
    twice = RunCost(2 * LISTED.ms_per_step, LISTED.seconds_per_run)  # as many pixels as two runs of the preset
    assert known.of(larger) == (twice, "")
    assert costs.known(tmp_path, "GPU", "smoke").of(none[1].spec) == (LISTED, "")
    found = costs.estimate(plan, none[1:], 1, known)
    assert found.seconds == pytest.approx(7.0 + 40 * 0.01)
    assert found.source == f"by 1 earlier run of the same shape in {tmp_path}"
    both = costs.estimate(plan, plan.runs, 1, known)
    shown = f"by 1 earlier run of the same shape in {tmp_path} for 2 of the 6 runs, for the others by what was measured"
    assert both.source.startswith(shown)
    finished(tmp_path, none[1], seconds=9.4)
    known = costs.known(tmp_path, "CPU", "smoke")
    assert known.of(none[0].spec) == (RunCost(10.0, pytest.approx(8.0)), key)
    assert costs.estimate(plan, none, 1, known).source == f"by 2 earlier runs of the same shape in {tmp_path}"


@pytest.mark.parametrize(
    "changes",
    [{"attempts": 2}, {"ms_per_step": None}, {"started_at_step": None}, {"seconds": "x"}, {"ms_per_step": 0.0}],
)
def test_a_run_that_does_not_tell_is_left_out(plan, tmp_path, changes):
    finished(tmp_path, plan.runs[0], **changes)
    assert not costs.known(tmp_path, "CPU", "smoke").earlier


@pytest.mark.parametrize("status", ["failed", "pruned", "collapsed"])
def test_a_run_that_ended_before_its_last_step_does_not_tell(plan, tmp_path, status):
    finished(tmp_path, plan.runs[0], seconds=0.1, status=status)
    assert not costs.known(tmp_path, "CPU", "smoke").earlier


def test_a_run_that_began_with_shared_steps_counts_its_own(plan, tmp_path):
    finished(tmp_path, plan.runs[0], started_at_step=20, seconds=7.2)
    (cost,) = costs.known(tmp_path, "CPU", "smoke").earlier.values()
    assert cost == RunCost(10.0, pytest.approx(7.0))


def test_nothing_is_needed_to_be_there():
    assert not costs.known(pathlib.Path("/nowhere"), "CPU", "short").earlier
