"""A run that starts from another one: from its weights, which are trained once, and never from nothing."""

import shutil
import signal
import time

import pytest

from experiments.records import json_files, locks, run_record
from experiments.spec import from_config

CHANGES = {"train.steps": 5, "occlusion.start": 0.0, "initial.train.learning_rate": 2e-3}
OWN = {key: value for key, value in CHANGES.items() if not key.startswith("initial.")}


def start(runner, out, *options, **changes):
    return runner.start(out, *options, **(CHANGES | changes))


def both(out):
    """The directories of the run and of what it starts from."""
    specs = {path.parent: from_config(json_files.read_json(path)) for path in out.glob("runs/*/spec.json")}
    (run,) = (directory for directory, spec in specs.items() if spec.initial)
    return run, run.parent / specs[run].initial.directory


def contents(*runs):
    return [(run / name).read_bytes() for run in runs for name in ("result.json", "metrics.jsonl")]


@pytest.fixture(scope="module")
def pretrained(runner, once):
    """A run and what it starts from, both left alone."""
    return both(once("pretrained", lambda out: start(runner, out).wait()))


def test_starts_from_the_weights_of_the_other_run(pretrained, runner, tmp_path):
    run, first = pretrained
    assert [run_record.read_result(path).status for path in pretrained] == ["completed", "completed"]
    given = runner.finish(tmp_path / "given", "--checkpoint", str(first), **OWN)
    assert (given / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert run_record.read_result(given).metrics == run_record.read_result(run).metrics
    assert run_record.read_result(given).run_id != run_record.read_result(run).run_id


def test_a_run_that_is_there_is_not_trained_again_and_the_bits_are_the_same(pretrained, runner, tmp_path):
    shutil.copytree(pretrained[1], tmp_path / "runs" / pretrained[1].name)
    assert start(runner, tmp_path).wait() == 0, (tmp_path / "log.txt").read_text()
    assert contents(*both(tmp_path)) == contents(*pretrained)
    assert json_files.read_json(both(tmp_path)[1] / "cost.json")["attempts"] == 1


def test_killed_in_what_it_starts_from_it_ends_with_the_same_bits(pretrained, runner, tmp_path):
    process = start(runner, tmp_path, "--checkpoint-seconds", "0", place=("before step", 3)).wait_until_stopped()
    assert process.go_on(signal.SIGKILL) == -signal.SIGKILL
    assert not list(tmp_path.glob("runs/*/result.json"))
    assert start(runner, tmp_path).wait() == 0, (tmp_path / "log.txt").read_text()
    assert contents(*both(tmp_path)) == contents(*pretrained)
    assert json_files.read_json(both(tmp_path)[1] / "cost.json")["started_at_step"] == 3


def test_weights_that_are_not_there_are_trained_again_and_what_was_found_is_kept(pretrained, runner, tmp_path):
    run, first = (tmp_path / "runs" / path.name for path in pretrained)
    shutil.copytree(pretrained[1], first)
    shutil.rmtree(first / "checkpoints")
    before = (first / "result.json").stat().st_mtime_ns
    assert start(runner, tmp_path).wait() == 0, (tmp_path / "log.txt").read_text()
    assert contents(run, first) == contents(*pretrained) and (first / "result.json").stat().st_mtime_ns == before


def test_what_starts_from_a_run_that_failed_has_failed_for_that_reason(runner, tmp_path):
    hidden = {"initial.train.collapse_below": 1.0}
    assert start(runner, tmp_path, **hidden).wait() == 3
    run, first = both(tmp_path)
    assert run_record.read_result(first).status == "collapsed"
    found = run_record.read_result(run)
    assert (found.status, found.step, found.metrics) == ("failed", 0, {})
    assert found.reason == f"it starts from {first.name}, which collapsed: {run_record.read_result(first).reason}"


def test_waits_for_who_trains_it_without_counting_the_time_and_can_be_stopped(pretrained, runner, tmp_path):
    names = [path.name for path in pretrained]
    with locks.held(tmp_path / "runs" / names[1] / "lock"):
        process = start(runner, tmp_path)
        deadline = time.monotonic() + 1000
        while not locks.is_waiting(tmp_path / "runs" / names[0]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 130
    assert not list(tmp_path.glob("runs/*/result.json"))


def test_weights_are_given_in_one_way_only(pretrained, runner, trainer, tmp_path):
    assert start(runner, tmp_path / "a", "--checkpoint", str(pretrained[1])).wait() == 2
    assert "this run starts from another one (initial): give one" in (tmp_path / "a" / "log.txt").read_text()
    text = trainer.finish(tmp_path / "b", code=2, **CHANGES)
    assert "weights to start from are named by --checkpoint" in text
