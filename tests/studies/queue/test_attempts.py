"""A failed run is done again only when asked, and what it left is kept."""

import json

import pytest

from analysis.report.footnotes import footnotes
from analysis.results.load import load_study
from analysis.results.tables import comparison_table
from experiments.records import run_record
from studies import run
from studies.planning import catalog, plan_store
from studies.planning.planner import PlanRequest, make
from studies.presets import PRESETS
from studies.queue import attempts
from studies.queue.job import Job
from studies.workers.subprocess_run import Execution
from studies.workers.worker import WorkerSettings, prepare

STUDY = catalog.load("occlusion_ablation")
PLACE = ["occlusion_ablation", "--preset", "smoke", "--seeds", "2", "--tracking-uri", "none", "--out"]


@pytest.fixture
def done(tmp_path, finish):
    """A finished smoke study in which `wang` diverged from seed 1."""
    plan = make(STUDY, PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1)))
    finish(plan, tmp_path, lambda arm, seed: "the loss was not finite" if (arm, seed) == ("wang", 1) else 1.0 + seed)
    plan_store.write(plan, tmp_path, plan_store.merged(plan, tmp_path))
    failed = next(r for r in plan.runs if (r.arm, r.seed) == ("wang", 1))
    directory = tmp_path / "runs" / failed.directory
    (directory / "checkpoints").mkdir()
    (directory / "checkpoints" / "step_00000020.ckpt").write_text("weights")
    (directory / "metrics.jsonl").write_text('{"step": 20}\n')
    (directory / "cost.json").write_text('{"seconds": 5}')
    (directory / "worker.lock").touch()
    return tmp_path, directory


def test_without_the_option_a_failed_run_stays_failed(done, capsys):
    out, directory = done
    assert run.main([*PLACE, str(out)]) == 3
    assert "6 runs, 6 of them done" in capsys.readouterr().out and not (directory / "attempts").exists()


def test_with_the_option_the_plan_shows_it_as_to_do_and_writes_nothing(done, capsys):
    out, directory = done
    before = sorted(out.rglob("*"))
    assert run.main([*PLACE, str(out), "--plan", "--retry-failed", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [r["directory"] for r in runs if not r["done"]] == [directory.name]
    assert sorted(out.rglob("*")) == before


def test_what_a_failed_run_left_is_moved_and_its_cost_goes_on(done):
    out, directory = done
    names = ["checkpoints", "cost.json", "metrics.jsonl", "result.json"]
    assert attempts.set_aside(sorted((out / "runs").iterdir())) == [directory]
    assert sorted(p.name for p in (directory / "attempts" / "01").iterdir()) == names
    assert sorted(p.name for p in directory.iterdir()) == ["attempts", "cost.json", "spec.json", "worker.lock"]
    assert (directory / "attempts" / "01" / "checkpoints" / "step_00000020.ckpt").read_text() == "weights"
    assert run_record.earlier_attempts(directory) == ("diverged: the loss was not finite",)
    assert attempts.set_aside([directory]) == []


def test_a_crash_while_moving_loses_nothing_and_goes_on(done, monkeypatch):
    _, directory = done
    import pathlib

    real, moved = pathlib.Path.rename, []

    def crash(self, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(self.name)
        return real(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        attempts.set_aside([directory])
    monkeypatch.undo()
    assert (directory / "result.json").exists()  # still failed, not half new
    assert attempts.set_aside([directory]) == [directory]
    names = ["checkpoints", "cost.json", "metrics.jsonl", "result.json"]
    assert sorted(p.name for p in (directory / "attempts" / "01").iterdir()) == names


def test_an_unreadable_result_is_set_aside_too(done):
    out, directory = done
    (directory / "result.json").write_text('{"format": 1, "run')
    assert attempts.set_aside([directory]) == [directory]
    assert run_record.earlier_attempts(directory) == ("unreadable result",)


def test_a_run_that_is_being_done_is_left_alone(done):
    from experiments.records import locks

    _, directory = done
    with locks.held(directory / "worker.lock"):
        assert attempts.set_aside([directory]) == []
    assert (directory / "result.json").exists()


def test_the_table_lists_earlier_attempts(done, finish):
    out, directory = done
    attempts.set_aside([directory])
    plan = make(STUDY, PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1)))
    finish(plan, out, lambda arm, seed: 1.0 + seed)
    data = load_study(out / "occlusion_ablation")
    notes = footnotes(data, comparison_table(data, data.plan.metric))
    assert "wang, seed 1: attempt 2; earlier: diverged: the loss was not finite" in notes


@pytest.mark.parametrize("attempt, earlier", [(1, ()), (2, ("diverged: asked to",))])
def test_a_worker_does_not_take_a_failure_of_before_for_that_of_a_new_attempt(tmp_path, finish, attempt, earlier):
    plan = make(catalog.load("pretraining_ablation"), PlanRequest(preset=PRESETS["smoke"], seeds=(0,)))
    finish(plan, tmp_path, lambda arm, seed: "asked to" if arm.startswith("start of") else 1.0)
    directory = tmp_path / "runs" / plan.runs[-1].directory
    (directory / "result.json").unlink()
    plan_store.write(plan, tmp_path, plan.plain())
    settings = WorkerSettings(execution=Execution(out=tmp_path), study=plan.study.name, queue=plan.study.name)
    prepare(settings, Job(directory=directory.name, attempt=attempt), None)
    assert run_record.earlier_attempts(tmp_path / "runs" / plan.starts[0].directory) == earlier
