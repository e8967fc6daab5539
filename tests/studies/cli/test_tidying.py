"""Shared training is kept for as long as a run may ask for it, and no longer."""

from experiments.records import json_files, locks
from experiments.spec import prefix_id, to_config
from studies.cli.tidying import prune_prefixes
from studies.planning import planner
from studies.planning.catalog import load
from studies.planning.planner import PlanRequest
from studies.presets import PRESETS


def test_prefixes_go_when_no_run_waits_for_them(finish, tmp_path):
    plan = planner.make(load("occlusion_ablation"), PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1), arms=("wang",)))
    step = plan.shared_steps[0]
    finish(plan, tmp_path, lambda arm, seed: 1.0)
    names = {seed: prefix_id(next(r.spec for r in plan.runs if r.seed == seed), step) for seed in (0, 1)}
    for name in names.values():
        json_files.write_json(_made(tmp_path / "prefixes" / name) / f"step_{step:09d}.json", {})
    waits = next(run for run in plan.runs if run.seed == 1)
    (tmp_path / "runs" / waits.directory / "result.json").unlink()

    with locks.held(tmp_path / "prefixes" / f"{names[0]}.lock"):
        assert prune_prefixes(tmp_path) == []
    spec = tmp_path / "runs" / waits.directory / "spec.json"
    spec.write_text("{")
    assert prune_prefixes(tmp_path) == [], "nobody knows what it shares"
    json_files.write_json(spec, to_config(waits.spec))
    assert prune_prefixes(tmp_path) == [names[0]]
    json_files.write_json(spec.with_name("result.json"), {})
    assert prune_prefixes(tmp_path) == [names[1]] and not list((tmp_path / "prefixes").iterdir())
    assert prune_prefixes(tmp_path / "nowhere") == []


def test_what_a_run_starts_from_keeps_its_weights_and_its_prefix_until_it_is_done(finish, tmp_path):
    changes = {"initial.occlusion.name": "wang", "initial.occlusion.start": "0.5"}
    asked = PlanRequest(preset=PRESETS["smoke"], seeds=(0,), changes=changes)
    plan = planner.make(load("pretraining_ablation"), asked)
    finish(plan, tmp_path, lambda arm, seed: 1.0)
    start, waits = plan.starts[0], plan.runs[-1]
    weights = _made(tmp_path / "runs" / start.directory / "checkpoints") / "step_000000040.ckpt"
    weights.write_text("weights")
    (tmp_path / "runs" / waits.directory / "result.json").unlink()
    prefix = prefix_id(start.spec, 20)
    json_files.write_json(_made(tmp_path / "prefixes" / prefix) / "step_000000020.json", {})
    (tmp_path / "runs" / start.directory / "result.json").rename(tmp_path / "aside")
    assert prune_prefixes(tmp_path) == []
    (tmp_path / "aside").rename(tmp_path / "runs" / start.directory / "result.json")
    assert prune_prefixes(tmp_path) == [prefix] and weights.exists()


def _made(folder):
    folder.mkdir(parents=True)
    return folder
