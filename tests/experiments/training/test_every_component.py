"""Every component can be planned in a study and run by name: nine short runs have each of them at least once."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from experiments.records import run_record
from studies.design import Study, vary
from studies.planning.planner import PlanRequest, make
from studies.presets import PRESETS
from uflow import registry

ROOT = pathlib.Path(__file__).parents[3]
TINY = {
    "network.width": 1 / 16,
    "data.height": 32,
    "data.width": 32,
    "data.scenes.train_pairs": 2,
    "data.scenes.validation_pairs": 1,
    "data.scenes.test_pairs": 1,
    "data.scenes.radius_min": 5,
    "data.scenes.radius_max": 8,
    "train.steps": 2,
    "train.batch_size": 1,
    "train.validations": 0,
    "train.collapse_below": 0,
}
RESTRAINED = {"train.clip_norm": 1.0, "train.weight_decay": 1e-3, "train.decay": "one_cycle", "train.warmup": 0.5}
NETWORK = {"pwc": {"network.levels": 2}, "raft": {"network.iterations": 2, "network.cost_levels": 2}}
TAUGHT = {
    "teacher_student": {
        "selfsup.crop_height": 4,
        "selfsup.crop_width": 4,
        "selfsup.start": 0,
        "selfsup.teacher": "mean",
        "selfsup.occluders": 2,
    },
    "arflow": {
        "selfsup.start": 0,
        "selfsup.occluders": 2,
        "selfsup.occluder_shape": "superpixel",
    },
}
# one process, which loads MindSpore once; the runs share compiled graphs
RUNS = """
import json, sys
from experiments import run
codes = [run.main(["--out", sys.argv[1], "with", *words]) for words in json.loads(sys.argv[2])]
print("codes", codes)
"""


def choices():
    """As few combinations as have every component; an axis that has come to its end goes on with one that is simple.

    What makes a graph large, the teacher above all, is compiled once and not in every second run.
    """
    names = {axis: registry.names(axis) for axis in registry.AXES}
    simple = dict.fromkeys(names, "none") | {"photometric": "l1", "network": "pwc"}
    for rank in range(max(map(len, names.values()))):
        yield {axis: known[rank] if rank < len(known) else simple[axis] for axis, known in names.items()}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_component_trains_and_is_evaluated_by_name(tmp_path):
    chosen = list(choices())
    for axis in registry.AXES:
        assert {choice[axis] for choice in chosen} == set(registry.names(axis))
    commands = []
    for choice in chosen:
        changes = TINY | {f"{axis}.name": name for axis, name in choice.items()}
        changes |= {} if commands else RESTRAINED
        changes |= NETWORK[choice["network"]] | TAUGHT.get(choice["selfsup"], {})
        changes |= {"occlusion.start": 0} if choice["occlusion"] != "none" else {}  # one graph to compile and not two
        commands.append([f"{key}={value}" for key, value in changes.items()])
    script = tmp_path / "runs.py"  # a file, for Sacred looks at the main one
    script.write_text(RUNS)
    done = subprocess.run(
        [sys.executable, script, str(tmp_path), json.dumps(commands)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert f"codes {[0] * len(commands)}" in done.stdout, done.stdout[-2000:] + done.stderr[-3000:]
    trained = {tuple(json.loads((path / "spec.json").read_text())[axis]["name"] for axis in registry.AXES)
               for path in (tmp_path / "runs").iterdir()}  # fmt: skip
    assert trained == {tuple(choice.values()) for choice in chosen}
    for path in (tmp_path / "runs").iterdir():
        record = run_record.read_result(path)
        assert record.status == "completed" and record.step == 2 and record.metrics["epe/synthetic/all"] > 0
        line = list(run_record.read_metrics(path / "metrics.jsonl"))[-1]
        taught = any(f"-{name}" in path.name for name in TAUGHT)
        assert line["total"] > 0 and (line["selfsup"] > 0) == taught


@pytest.mark.parametrize("axis", registry.AXES)
def test_every_component_can_be_an_arm_of_a_study(axis):
    names = registry.names(axis)
    study = Study(name="every", question="Which one?", arms=vary(axis, names), baseline=names[0])
    plan = make(study, PlanRequest(preset=PRESETS["smoke"], seeds=(0,)))
    assert [registry.entry_of(getattr(run.spec, axis)).name for run in plan.runs] == list(names)
