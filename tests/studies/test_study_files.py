"""A study file with a component of its own, from the plan through workers to a result, and to weights that are used."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from experiments import evaluate
from experiments.evaluation.predictor import Predictor
from experiments.records import run_record
from studies import run
from studies.launchers import slurm_jobs
from studies.workers import worker
from studies.workers.subprocess_run import Execution
from studies.workers.worker import WorkerSettings
from uflow import extensions, registry

ROOT = pathlib.Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extensions.md").read_text(), re.DOTALL)
LOSS = BLOCKS[0]
STUDY = """
from studies.design import Arm, Study

STUDY = Study(
    name="mine_study",
    question="Does it train?",
    arms=(Arm("mine", {"photometric.name": "gradients"}),),
    baseline="mine",
    metric="all",
    preset_changes={"smoke": {
        "network.levels": 2, "network.width": 0.0625, "data.height": 32, "data.width": 48,
        "data.scenes.train_pairs": 4, "data.scenes.validation_pairs": 2, "data.scenes.test_pairs": 2,
        "data.scenes.radius_min": 5, "data.scenes.radius_max": 8, "train.steps": 4, "train.validations": 1,
        "occlusion.name": "none", "selfsup.name": "none",
    }},
)
"""


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    registry.names("photometric")
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(extensions, "_loaded", {})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine_study.py"
    path.write_text(LOSS + STUDY)
    return path


def words(file, out, *more):
    return [str(file), "--preset", "smoke", "--seeds", "1", "--out", str(out), "--tracking-uri", "none", *more]


def started(module, *arguments, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_a_run_with_a_loss_of_the_study_file_is_trained_by_a_forked_worker_and_its_weights_are_used(
    file, tmp_path, capsys
):
    done = started("studies.run", *words("mine_study.py", "out", "--workers", 1, "--device", "cpu"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (directory,) = (tmp_path / "out" / "runs").iterdir()
    record = run_record.read_result(directory)
    digest = extensions.load([file]) and registry.entry("photometric", "gradients").extension.digest
    assert record.status == "completed" and record.spec["photometric"]["extension"] == digest

    used = evaluate.parser().parse_args(["--checkpoint", str(directory), "--extensions", str(file)])
    registry.withdraw(file), extensions._loaded.clear()
    assert evaluate.main(["--checkpoint", str(directory)]) == 2
    said = capsys.readouterr().err
    assert "photometric component 'gradients' is not of this project" in said and "--extensions" in said
    assert Predictor.from_arguments(used).trained.spec.run_id == record.run_id

    file.write_text(file.read_text() + "# another content\n")
    assert run.main(words(file, tmp_path / "out")) == 4
    said = capsys.readouterr().err
    assert f"photometric.extension ({digest!r} then, " in said and f"{file} has changed" in said


def test_the_study_and_the_loss_of_the_documentation_are_planned_from_two_files(tmp_path):
    for name, text in zip(("gradients.py", "gradients_study.py"), BLOCKS, strict=True):
        (tmp_path / name).write_text(text)
    asked = ["./gradients_study.py", "--preset", "smoke", "--plan"]
    done = started("studies.run", "--extensions", "gradients.py", *asked, cwd=tmp_path)
    assert done.returncode == 0 and "gradients" in done.stdout, done.stderr
    alone = started("studies.run", *asked, cwd=tmp_path)
    assert alone.returncode == 2 and "unknown photometric component 'gradients'" in alone.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gradients.py", "gradients_study.py"]


@pytest.mark.parametrize("text", ["raise RuntimeError('no')", LOSS * 2, LOSS.replace('"gradients"', '"l1"')])
def test_a_study_file_that_cannot_be_loaded_ends_with_one_sentence_before_anything_is_written(
    file, tmp_path, capsys, text
):
    file.write_text(text + STUDY)
    assert run.main(words(file, tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"study file {str(file)!r}: " in said
    assert not (tmp_path / "out").exists()


def test_files_reach_workers_and_runs_of_every_launcher_as_paths(file, tmp_path):
    execution = Execution(out=tmp_path, extensions=extensions.load([file]))
    settings = WorkerSettings(execution=execution, study="mine_study", queue="mine_study")
    assert worker.read(worker.command_line(settings), {}).execution.extensions == (file,)
    assert type(execution.of_run(())).from_json(execution.of_run(()).to_json()).extensions == (file,)
    assert f'"extensions": ["{file}"]' in slurm_jobs.script({}, settings)


def planned(file, out):
    """What a worker of the study is told, after its plan was written."""
    from studies.cli.arguments import parser, read
    from studies.planning import plan_store, planner
    from studies.queue.job import jobs_of

    command = read(parser().parse_args(words(file, out)))
    plan = planner.make(command.study, command.request)
    plan_store.write(plan, command.out, plan.plain())
    queue = command.settings.open_queue()
    queue.enqueue(jobs_of(plan.all_runs, queue.runs, {}, ()))
    queue.close()
    return worker.command_line(command.settings)


@pytest.mark.parametrize(
    "change, code, said",
    [
        (lambda file: file.unlink(), 2, "extension '{file}' does not exist"),
        (
            lambda file: file.write_text(file.read_text() + "#"),
            4,
            "cannot be run by this version: photometric .* {file} has",
        ),
    ],
)
def test_a_worker_without_the_file_or_with_another_one_refuses_and_leaves_the_run_to_others(
    file, tmp_path, change, code, said
):
    told = planned(file, tmp_path / "out")
    change(file)
    done = started("studies.workers.worker", *told, cwd=tmp_path)
    assert done.returncode == code and re.search(said.format(file=re.escape(str(file))), done.stderr), done.stderr
    assert not list((tmp_path / "out").glob("runs/*/result.json"))
    settings = json.loads(told[1])
    assert settings["execution"]["extensions"] == [str(file)]


def test_a_run_without_the_file_refuses_with_one_sentence(file, tmp_path):
    told = planned(file, tmp_path / "out")
    (spec,) = (tmp_path / "out").glob("runs/*/spec.json")
    execution = worker.read(told, {}).execution
    file.unlink()
    done = started("experiments.run", "--spec", spec, "--settings", execution.of_run(()).to_json(), cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == f"experiments.run: extension '{file}' does not exist\n"
    done = started("experiments.run", "--spec", spec, "--out", tmp_path / "other", cwd=tmp_path)
    assert done.returncode == 2 and "'gradients' is not of this project but of a file with digest" in done.stderr
    assert not (tmp_path / "other").exists()
