"""Shared training is kept for as long as a run may ask for it, and no longer."""

from experiments import locks, records
from experiments.spec import prefix_id, to_config
from studies import planning
from studies.baselines import PRESETS
from studies.catalog import load
from studies.planning import Asked
from studies.tidying import prune_prefixes


def test_prefixes_go_when_no_run_waits_for_them(finish, tmp_path):
    plan = planning.make(load("occlusion_ablation"), Asked(preset=PRESETS["smoke"], seeds=(0, 1), arms=("wang",)))
    step = plan.shared_steps[0]
    finish(plan, tmp_path, lambda arm, seed: 1.0)
    names = {seed: prefix_id(next(r.spec for r in plan.runs if r.seed == seed), step) for seed in (0, 1)}
    for name in names.values():
        records.write_json(_made(tmp_path / "prefixes" / name) / f"step_{step:09d}.json", {})
    waits = next(run for run in plan.runs if run.seed == 1)
    (tmp_path / "runs" / waits.directory / "result.json").unlink()

    with locks.held(tmp_path / "prefixes" / f"{names[0]}.lock"):
        assert prune_prefixes(tmp_path) == []
    spec = tmp_path / "runs" / waits.directory / "spec.json"
    spec.write_text("{")
    assert prune_prefixes(tmp_path) == [], "nobody knows what it shares"
    records.write_json(spec, to_config(waits.spec))
    assert prune_prefixes(tmp_path) == [names[0]]
    records.write_json(spec.with_name("result.json"), {})
    assert prune_prefixes(tmp_path) == [names[1]] and not list((tmp_path / "prefixes").iterdir())
    assert prune_prefixes(tmp_path / "nowhere") == []


def _made(folder):
    folder.mkdir(parents=True)
    return folder
