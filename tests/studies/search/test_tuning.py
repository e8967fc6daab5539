"""A search through the queue: the same trials, values and choice, whoever does them and whatever is killed."""

import dataclasses
import json
import random
import signal
import time

import launching
import pytest
from test_many_workers import behave, kill, launch, terminal, trainings, wait_for, workers_of
from trivial_trainer import done

from experiments.records import json_files, locks, run_record, search
from experiments.spec import to_config
from studies.launchers.progress_line import Progress
from studies.planning import plan_store
from studies.queue.file_queue import Queue
from studies.queue.job import Job
from studies.queue.pruning import PruningThresholds
from studies.search import space, tuning
from studies.tracking.mirror_thread import Mirroring
from studies.workers.worker import run_one

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
TUNABLE = {"tunable": True, "steps": 12, "seconds": 0.02}
BUDGET = 14


def result(out):
    return (out / "trivial" / "search.json").read_bytes()


def steps(out, run):
    """How far a run came."""
    lines = (out / "runs" / run / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["step"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The search done by one worker that nothing happens to."""
    out = tmp_path_factory.mktemp("alone")
    behave(out, _all=TUNABLE)
    assert launch(out, 2, 1, f"search={BUDGET}").wait() == 0, terminal(out)
    return out


def test_a_search_prunes_what_is_worse_and_finds_what_is_best(alone):
    found = search.read_search(alone / "trivial").trials
    assert set(found) == {"none", "wang"}
    for trials in found.values():
        assert [trial.number for trial in trials] == list(range(BUDGET))
        states = [trial.state for trial in trials]
        assert set(states[:4]) == {"completed"} and states.count("pruned") >= 3 and "failed" not in states
        assert trials[0].changes == {"train.learning_rate": 0.002} and trials[0].value == pytest.approx(0.30103)
        best = search.best(trials)
        assert best.value == min(t.value for t in trials if t.state == "completed") < 0.3
        early = 0
        for trial in trials:
            record = run_record.read_result(alone / "runs" / trial.run)
            assert record.spec == {} or record.spec["seed"] == search.SEED
            if trial.state == "pruned":
                assert trial.value > best.value
                early += record.status == "pruned" and steps(alone, trial.run) < TUNABLE["steps"]
        assert early >= 2, "those that were given up were ended early"


def test_more_workers_at_another_speed_find_the_same(alone, tmp_path):
    behave(tmp_path, _all=TUNABLE | {"seconds": 0.005})
    assert launch(tmp_path, 2, 4, f"search={BUDGET}").wait() == 0, terminal(tmp_path)
    assert result(tmp_path) == result(alone)
    assert set(trainings(tmp_path).values()) == {1}


def test_a_search_whose_workers_and_command_are_killed_finds_the_same(alone, tmp_path):
    behave(tmp_path, _all=TUNABLE | {"after": 4})
    draw, command = random.Random(7), launch(tmp_path, 2, 2, f"search={BUDGET}")
    for kills in range(1, 6):
        wait_for(lambda goal=4 * kills - 1: done(tmp_path) >= goal and workers_of(tmp_path))
        time.sleep(draw.uniform(0.02, 0.1))  # anywhere in a run
        if kills < 5:
            assert kill(draw.choice(workers_of(tmp_path)))
        else:
            assert kill(command.pid)
            command.wait()
            command = launch(tmp_path, 2, 2, f"search={BUDGET}")
        for number in (kills,) if kills < 5 else range(5, 9):
            (tmp_path / f"more{number}").touch()
    assert command.wait() == 0, terminal(tmp_path)
    assert result(tmp_path) == result(alone)


def test_a_search_that_is_interrupted_goes_on_where_it_was(alone, tmp_path):
    behave(tmp_path, _all=TUNABLE | {"after": 10})
    command = launch(tmp_path, 2, 2, f"search={BUDGET}")
    wait_for(lambda: done(tmp_path) >= 10)
    kill(command.pid, signal.SIGINT)
    assert command.wait() == 130
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/result.json")}
    assert 10 <= len(before) < 2 * BUDGET
    behave(tmp_path, _all=TUNABLE)
    assert launch(tmp_path, 2, 2, f"search={BUDGET}").wait() == 0, terminal(tmp_path)
    assert result(tmp_path) == result(alone)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_two_commands_search_once(alone, tmp_path):
    behave(tmp_path, _all=TUNABLE)
    both = [launch(tmp_path, 2, 2, f"search={BUDGET}") for _ in range(2)]
    assert [command.wait() for command in both] == [0, 0], terminal(tmp_path)
    assert result(tmp_path) == result(alone) and set(trainings(tmp_path).values()) == {1}


def test_a_run_that_another_search_gave_up_is_done_anew(alone, tmp_path):
    behave(tmp_path, _all=TUNABLE)
    trial = search.read_search(alone / "trivial").trials["none"][1]
    assert trial.state == "completed"
    given_up = tmp_path / "runs" / trial.run
    given_up.mkdir(parents=True)
    for name in ("spec.json", "metrics.jsonl"):
        (given_up / name).write_bytes((alone / "runs" / trial.run / name).read_bytes())
    plain = json_files.read_json(alone / "runs" / trial.run / "result.json")
    json_files.write_json(
        given_up / "result.json", run_record.sealed(plain | {"status": "pruned", "reason": "by another"})
    )
    assert launch(tmp_path, 2, 2, f"search={BUDGET}").wait() == 0, terminal(tmp_path)
    assert result(tmp_path) == result(alone)
    assert (given_up / "attempts" / "01" / "result.json").exists()


def test_the_progress_tells_what_was_given_up_from_what_failed(alone):
    given_up = [path.parent.name for path in alone.glob("runs/*/result.json") if '"pruned"' in path.read_text()]
    assert given_up and Queue(alone / "trivial").states() == ([], [])
    line = Progress(alone / "runs", dict.fromkeys(given_up, 12)).line()
    assert line.startswith(f"{len(given_up)}/{len(given_up)} runs") and "failed" not in line


def test_arms_that_try_the_same_are_run_once_and_to_the_end(tmp_path):
    """Their thresholds may differ, and a run that one gives up may be good enough for the other."""
    plan = launching.plan(2)
    spec = space.trial_spec(plan.runs[0].spec, {})
    low, high = (PruningThresholds(metric="m", limits=((5, value),)) for value in (1.0, 2.0))
    seen = []

    def run_all(trials):
        seen.extend(plan_store.pending(trials, tmp_path))
        for run in trials.runs:
            (tmp_path / "runs" / run.directory / "result.json").write_text("{}")
        return True

    tasks = [tuning._Task(label, 0, {}, spec, thresholds) for label, thresholds in (("none", low), ("wang", high))]
    assert tuning._run(plan, tasks, tmp_path, run_all)
    assert [(run.directory, run.thresholds) for run in seen] == [(spec.directory, None)]
    (tmp_path / "runs" / spec.directory / "result.json").unlink()
    assert tuning._run(plan, tasks[:1], tmp_path, run_all) and seen[-1].thresholds == low


def test_the_curve_says_what_is_pruned_however_far_the_run_came(tmp_path):
    spec = space.trial_spec(launching.plan(2).runs[0].spec, {})
    task = tuning._Task("none", 5, {}, spec, PruningThresholds(metric="m", limits=((10, 2.0), (20, 2.0))))
    curve = [(5, 9.0), (10, 2.5), (20, 0.5), (spec.train.steps, 0.1)]
    lines = [json.dumps({"step": step, "validation/m": value}) for step, value in curve]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    trial, way = tuning._judged(task, "m", tmp_path)
    assert (trial.state, trial.value, way) == ("pruned", 2.5, curve[:2])
    record = run_record.RunRecord(
        run_id=spec.run_id, status="completed", spec={}, metrics={}, validation={"m": 0.1}, protocol="full/1"
    )
    run_record.write_result(tmp_path, record)
    directory = tmp_path.rename(tmp_path.parent / spec.directory)
    assert tuning._judged(task, "m", directory) == (trial, way)
    kept, way = tuning._judged(dataclasses.replace(task, thresholds=None), "m", directory)
    assert (kept.state, kept.value, way) == ("completed", 0.1, curve[:3])


def test_a_run_that_another_search_gave_up_is_waited_for_while_somebody_looks_at_it(tmp_path):
    plan = launching.plan(2)
    task = tuning._Task("none", 0, {}, space.trial_spec(plan.runs[0].spec, {}), None)
    directory = tmp_path / "runs" / task.spec.directory
    directory.mkdir(parents=True)
    known = {"run_id": task.spec.run_id, "reason": "", "spec": {}, "validation": {"m": 1.0}, "protocol": "full/1"}
    run_record.write_result(directory, run_record.RunRecord(status="pruned", metrics={}, **known))
    held = locks.held(directory / "worker.lock")
    held.__enter__()
    asked = []

    def run_all(trials):
        asked.append(len(plan_store.pending(trials, tmp_path)))
        if len(asked) == 3:
            held.__exit__(None, None, None)
        if asked[-1]:
            run_record.write_result(directory, run_record.RunRecord(status="completed", metrics={}, **known))
        return False

    assert not tuning._run(plan, [task], tmp_path, run_all)
    assert asked == [0, 0, 0, 1] and tuning._judged(task, "m", directory)[0].state == "completed"


def test_a_trial_that_was_stopped_before_that_was_recorded_is_not_begun_again(tmp_path, monkeypatch):
    monkeypatch.setattr("studies.workers.worker.train", lambda *_, **__: pytest.fail("it was begun again"))
    spec = space.trial_spec(launching.plan(2).runs[0].spec, {})
    directory = tmp_path / "runs" / spec.directory
    directory.mkdir(parents=True)
    json_files.write_json(directory / "spec.json", to_config(spec))
    (directory / "metrics.jsonl").write_text('{"step": 10, "validation/m": 9.0}\n')
    job = Job(directory=spec.directory, thresholds=PruningThresholds(metric="m", limits=((10, 2.0),)))
    with Mirroring(None, "trivial", tmp_path) as mirroring:
        record = run_one(launching.settings(tmp_path), job, mirroring, lambda: False)
    assert record.status == "pruned"


def test_trials_that_cannot_be_done_here_stop_the_search_with_the_reason(tmp_path):
    behave(tmp_path, _all={"exit": 5, "says": "no space left"})
    assert launch(tmp_path, 2, 1, f"search={BUDGET}").wait() == 1
    assert "CannotRun: 8 trials could not be done here" in terminal(tmp_path)
    assert not (tmp_path / "trivial" / "search.json").exists()
    behave(tmp_path, _all=TUNABLE)
    assert launch(tmp_path, 2, 2, f"search={BUDGET}").wait() == 0, terminal(tmp_path)
    assert {trial.state for trial in search.read_search(tmp_path / "trivial").trials["none"]} == {
        "completed",
        "pruned",
    }
