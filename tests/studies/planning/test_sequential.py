"""Looks are fixed beforehand, share out alpha, and seeds are added to undecided arms only."""

import json

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.multiplicity import holm
from studies import run
from studies.launchers import supervisor
from studies.planning import catalog
from studies.planning.planner import PlanError, PlanRequest, make
from studies.planning.sequential import Looks, looks, recorded
from studies.presets import PRESETS


@pytest.mark.parametrize(
    "first, most, counts",
    [(6, 12, (6, 8, 10, 12)), (6, 13, (6, 9, 11, 13)), (6, 7, (6, 7)), (3, 5, (3, 4, 5)), (3, 30, (3, 12, 21, 30))],
)
def test_looks_are_spread_from_the_first_to_the_most(first, most, counts):
    assert looks(first, most).counts == counts


def test_every_look_has_the_same_share_of_alpha():
    assert looks(6, 12).level == pytest.approx(0.0125) and looks(6, 7).level == pytest.approx(0.025)
    assert "after 6, 8, 10, 12 seeds" in looks(6, 12).note and "level 0.0125" in looks(6, 12).note


@pytest.mark.parametrize("first, most", [(2, 5), (6, 6), (6, 3)])
def test_nothing_to_look_at_is_refused(first, most):
    with pytest.raises(PlanError, match="--until-decided"):
        looks(first, most)


def test_looks_cannot_be_changed_on_the_way():
    stored = {"study": "s", "sequential": Looks((2, 3)).plain() | {"undecided": [["a"]]}}
    assert recorded(stored, Looks((2, 3))) == [["a"]]
    assert recorded({"study": "s"}, Looks((2, 3))) == recorded(None, Looks((2, 3))) == []
    with pytest.raises(PlanError, match="looks after 2, 3 seeds, now they would be after 2, 4"):
        recorded(stored, Looks((2, 4)))


def share_of_false_findings(planned, level, studies=4000, arms=3):
    """How often some arm without an effect is found to have one, at any look or in the final table."""
    random = np.random.default_rng(7)
    shape = (studies, planned.counts[-1])
    baseline = random.normal(size=(*shape, 1))
    differences = 0.7 * random.normal(size=(*shape, arms)) - 0.7 * baseline  # arms share the baseline's noise
    p = {}
    for n in planned.counts:
        rows = differences[:, :n]
        t = rows.mean(axis=1) / (rows.std(axis=1, ddof=1) / np.sqrt(n))
        p[n] = 2 * stats.t.sf(np.abs(t), n - 1)
    wrong = 0
    for study in range(studies):
        current = list(p[planned.counts[0]][study])
        found = set()
        for n in planned.counts:
            # decided arms keep the seeds that they have
            current = [current[a] if a in found else p[n][study][a] for a in range(arms)]
            found |= {a for a, value in enumerate(holm(current)) if value <= level}
        wrong += bool(found)
    return wrong / studies


def test_all_looks_together_err_as_seldom_as_they_should():
    planned = looks(6, 12)
    allowed = planned.alpha + 2 * (planned.alpha * (1 - planned.alpha) / 4000) ** 0.5
    assert 0.01 < share_of_false_findings(planned, planned.level) <= allowed
    # looking as often at the full level would not do
    assert share_of_false_findings(planned, planned.alpha) > 1.5 * planned.alpha


NOISE = np.random.default_rng(3).normal(size=40)


def value(arm, seed):
    """wang helps from the first look on; brox only shows with more seeds; uflow is never decided."""
    own = float(NOISE[seed])
    return {
        "none": 2.0 + own,
        "wang": 1.0 + own + 0.01 * float(NOISE[seed + 10]),
        "brox": 1.8 + own + 0.1 * float(NOISE[seed + 20]),
        "uflow": 2.0 + own + 0.5 * float(NOISE[seed + 30]),
    }[arm]


COMMAND = ["occlusion_ablation", "--preset", "smoke", "--seeds", "4", "--until-decided", "10", "--tracking-uri", "none",
           "--arms", "wang,brox,uflow"]  # fmt: skip


@pytest.fixture
def done(tmp_path, finish):
    """The results of every run that could be asked for, so that nothing has to be trained."""
    asked = PlanRequest(preset=PRESETS["smoke"], seeds=tuple(range(10)), arms=("wang", "brox", "uflow"))
    finish(make(catalog.load("occlusion_ablation"), asked), tmp_path, value)
    return tmp_path


def test_only_undecided_arms_get_more_seeds(done, capsys):
    assert run.main([*COMMAND, "--out", str(done)]) == 0
    text = capsys.readouterr().out
    plan = json.loads((done / "occlusion_ablation" / "plan.json").read_text())
    assert plan["sequential"]["looks"] == [4, 6, 8, 10] and plan["alpha"] == 0.0125
    assert plan["sequential"]["undecided"][0] == ["brox", "uflow"]
    seeds = {arm["label"]: len(arm["runs"]) for arm in plan["arms"]}
    assert seeds["wang"] == 4 and seeds["none"] == seeds["uflow"] == 10 and 4 < seeds["brox"] < 10
    assert "looks after 4, 6, 8, 10 seeds were fixed beforehand, each at level 0.0125" in " ".join(text.split())
    effects = json.loads((done / "occlusion_ablation" / "report" / "effects.json").read_text())
    rows = {row["label"]: row for row in effects["metrics"][effects["metric"]]["arms"]}
    assert {k: row["comparison"] and row["comparison"]["verdict"] for k, row in rows.items()} == {
        "none": None, "wang": "helps", "brox": "helps", "uflow": "undecided",
    }  # fmt: skip


def test_the_same_command_again_makes_no_look_again(done, capsys):
    assert run.main([*COMMAND, "--out", str(done)]) == 0
    path = done / "occlusion_ablation" / "plan.json"
    before, _ = path.read_text(), capsys.readouterr()
    assert run.main([*COMMAND, "--out", str(done)]) == 0
    assert path.read_text() == before and "look 1 of" not in capsys.readouterr().out


def test_a_look_that_was_interrupted_is_made_with_the_seeds_of_its_own(done):
    """A command that was stopped within the second look finds the first one made and goes on there."""
    assert run.main([*COMMAND, "--out", str(done)]) == 0
    path = done / "occlusion_ablation" / "plan.json"
    whole = json.loads(path.read_text())
    cut = json.loads(path.read_text())
    cut["sequential"]["undecided"] = cut["sequential"]["undecided"][:1]
    for arm in cut["arms"]:
        arm["runs"] = {seed: name for seed, name in arm["runs"].items() if int(seed) < 6}
    cut["seeds"] = list(range(6))
    path.write_text(json.dumps(cut))
    assert run.main([*COMMAND, "--out", str(done)]) == 0
    assert json.loads(path.read_text()) == whole


@pytest.mark.parametrize(
    "words, message",
    [
        (["--until-decided", "12", "--seeds", "4"], "looks cannot be changed on the way"),
        (["--until-decided", "10", "--seeds", "5"], "looks cannot be changed on the way"),
        (["--seeds", "11"], "planned with --until-decided 10, which adds seeds only"),
        (["--add-seeds", "1"], "planned with --until-decided 10"),
    ],
)
def test_seeds_of_a_sequential_study_come_from_its_looks(done, capsys, words, message):
    assert run.main([*COMMAND, "--out", str(done)]) == 0
    before = (done / "occlusion_ablation" / "plan.json").read_text()
    assert run.main(["occlusion_ablation", "--preset", "smoke", "--out", str(done), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert (done / "occlusion_ablation" / "plan.json").read_text() == before


def test_a_study_that_was_looked_at_with_more_seeds_cannot_start(done, capsys):
    plain = ["occlusion_ablation", "--preset", "smoke", "--tracking-uri", "none", "--out", str(done)]
    assert run.main([*plain, "--seeds", "6"]) == 0
    assert run.main([*plain, "--seeds", "4", "--until-decided", "10"]) == 2
    assert "seed 4, 5 was planned already" in capsys.readouterr().err


def test_a_look_is_not_made_while_runs_of_it_are_left(done, monkeypatch):
    """The machine could not do a run: what is decided without it would stand for ever."""
    path = done / "occlusion_ablation" / "plan.json"
    result = next(done.glob("runs/*-wang-*_s0__*")) / "result.json"
    kept = result.read_bytes()
    result.unlink()
    monkeypatch.setattr(supervisor, "run_all", lambda *_, **__: False)  # no worker got anything done
    assert run.main([*COMMAND, "--out", str(done)]) == 3
    assert json.loads(path.read_text())["sequential"]["undecided"] == []
    result.write_bytes(kept)
    assert run.main([*COMMAND, "--out", str(done)]) == 0
    assert "wang" not in json.loads(path.read_text())["sequential"]["undecided"][0]
