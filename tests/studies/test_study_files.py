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
PAGE = (ROOT / "docs" / "extensions.md").read_text()
BLOCKS = dict(re.findall(r"`(\w+\.py)`[^\n]*\n\n```python\n(.*?)```", PAGE, re.DOTALL))
LOSS = BLOCKS["gradients.py"]
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


pytestmark = pytest.mark.usefixtures("no_extensions")


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


MASK = """
from uflow import backend as ms
from uflow.options import Range, option
from uflow.registry import register

@register("occlusion", "close", source="none")
class Close:
    '''Pixels whose flow there and back differs by less than some.'''
    start: float = option(0.0, Range(0.0, 1.0), help="share of training before it acts")
    most: float = option(100.0, Range(0.0, 1000.0), unit="px", help="sum of both")

    def __call__(self, forward, backward):
        return (ms.ops.abs(forward + backward).sum(axis=1, keepdims=True) < self.most).astype(ms.float32)
"""
READER = """
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.scenes import Scenes

def tiny(path, split):
    options = SceneOptions(train_pairs=2, validation_pairs=1, test_pairs=2, radius_min=5, radius_max=8)
    scenes = Scenes(options, 32, 48, split)
    vars(scenes).update(digest=scenes.digest, name="tiny")  # numbers stand under this name
    return scenes

SOURCES = {"tiny": tiny}
"""
GUIDE = (ROOT / "docs" / "guide" / "component.md").read_text()
MEDIUM = re.search(r'title="medium.py"\n(.*?)```', GUIDE, re.DOTALL)[1]
REGION = """
def left(pair):
    mask = pair.occluded & False
    mask[:, :20] = True
    return mask

REGIONS = {"left": left}
"""
USED = """
import sys
from experiments import evaluate, export, predict
run, file, folder, *frames = sys.argv[1:]
trained = ["--checkpoint", run, "--extensions", file, "--extensions", folder]
codes = [
    evaluate.main([*trained, "--out", "evaluated"]),
    predict.main([*frames, *trained, "--out", "predicted"]),
    export.main([*trained, "--height", "32", "--width", "48", "--out", "exported"]),
    export.main([*trained, "--height", "32", "--width", "48", "--file-format", "onnx", "--out", "exported"]),
]
print("codes", codes)
"""


@pytest.mark.slow
def test_a_study_with_two_workers_and_all_commands_use_what_a_study_file_and_a_folder_bring(file, tmp_path, capsys):
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, text in {
        "plain": BLOCKS["plain.py"],
        "gamma": BLOCKS["gamma.py"],
        "mask": MASK,
        "reader": READER,
        "left": REGION,
        "medium": MEDIUM,
    }.items():
        (parts / f"{name}.py").write_text(text)
    file.write_text(
        file.read_text()
        .replace('(Arm("mine", {"photometric.name": "gradients"}),)', 'vary("photometric", ("gradients", "l1"))')
        .replace('baseline="mine"', 'baseline="l1"')
        .replace("import Arm, Study", "import Study, vary")
        .replace(
            '"network.levels": 2, "network.width": 0.0625,',
            '"network.name": "plain", "network.channels": 4, "augmentation.name": "gamma",'
            ' "medium.name": "incompressible",',
        )
        .replace('"occlusion.name": "none"', '"occlusion.name": "close", "occlusion.start": 0')
        .replace('metric="all"', 'metric="left"')
    )
    asked = [*words("mine_study.py", "out", "--data", f"tiny:{parts}", "--device", "cpu"), "--extensions", "parts"]
    done = started("studies.run", *asked, "--workers", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    directory, _ = sorted((tmp_path / "out" / "runs").iterdir(), key=lambda path: "gradients" not in path.name)
    record = run_record.read_result(directory)
    extensions.load([file, parts])
    chosen = {"photometric": "gradients", "occlusion": "close", "network": "plain", "augmentation": "gamma"}
    chosen["medium"] = "incompressible"
    digests = {axis: registry.entry(axis, name).extension.digest for axis, name in chosen.items()}
    assert record.status == "completed" and record.metrics["epe/tiny/left"] != record.metrics["epe/tiny/all"]
    assert record.metrics["epe/tiny/left"] == sum(record.frames["epe/tiny/left"]) / 2
    assert (
        "epe/tiny/left" in record.validation and "validation/epe/tiny/left" in (directory / "metrics.jsonl").read_text()
    )
    assert "epe/tiny/left" in done.stdout
    assert {axis: record.spec[axis]["extension"] for axis in chosen} == digests
    assert {axis: record.spec[axis]["name"] for axis in chosen} == chosen and record.spec["network"]["channels"] == 4
    assert "_gradients-close-" in directory.name and "-plain-gamma-incompressible_s0__" in directory.name

    used = tmp_path / "used.py"
    used.write_text(USED)
    frames = sorted((directory / "pictures").glob("*_first.png"))
    command = [sys.executable, used, directory, file, parts, *frames]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "codes [0, 0, 0, 2]" in done.stdout, done.stdout + done.stderr
    assert "network component 'plain' cannot be written as ONNX (possible: pwc)" in done.stderr

    given = ["--extensions", str(file), "--extensions", str(parts)]
    used = evaluate.parser().parse_args(["--checkpoint", str(directory), *given])
    for path in extensions.files():
        registry.withdraw(path)
    extensions._loaded.clear()
    assert evaluate.main(["--checkpoint", str(directory)]) == 2
    said = capsys.readouterr().err
    assert "axis 'medium' is not of this project but of a file" in said and "--extensions" in said
    assert Predictor.from_arguments(used).trained.spec.run_id == record.run_id

    plain = parts / "plain.py"
    plain.write_text(plain.read_text() + "# another content\n")
    asked = words(file, tmp_path / "out", "--data", f"tiny:{parts}", "--extensions", str(parts))
    assert run.main(asked) == 4
    said = capsys.readouterr().err
    assert f"network.extension ({digests['network']!r} then, " in said and f"{plain} has changed" in said


def test_the_study_and_the_loss_of_the_documentation_are_planned_from_two_files(tmp_path):
    for name in ("gradients.py", "gradients_study.py"):
        (tmp_path / name).write_text(BLOCKS[name])
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
