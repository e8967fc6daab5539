import math

import pytest

from experiments.records import json_files, search
from experiments.records.search import Trial
from experiments.spec import changed, default_spec, flatten, to_config
from studies.design import Arm
from studies.queue.pruning import PruningThresholds
from studies.search import space
from studies.search.sampler import ROUND, UNPRUNED, Sweep
from uflow.options import Choices, Range

RATE, LEVEL = (
    space.Parameter("train.learning_rate", Range(1e-5, 1e-2, log=True), 1e-4),
    space.Parameter("smoothness.level", Choices((0, 1, 2)), 2),
)


def error(changes):
    return abs(math.log(changes["train.learning_rate"] / 3e-4)) + 0.5 * changes["smoothness.level"]


def play(sweep, budget):
    """Plays a search."""
    while sweep.left(budget):
        for number, changes in sweep.ask(budget).items():
            value, thresholds = error(changes), sweep.thresholds("m")
            curve = [(10, value + 1.0), (20, value + 0.5)]
            missed = thresholds and thresholds.pruned_at(curve)
            if missed:
                sweep.record(number, "pruned", missed[1], curve=[point for point in curve if point[0] <= missed[0]])
            else:
                sweep.record(number, "completed", value, curve=curve)
        sweep.close()


def test_the_space_of_a_spec_is_what_its_parts_declare():
    found = {p.key: p for p in space.space(default_spec())}
    flat = flatten(to_config(default_spec()))
    assert {"train.learning_rate", "photometric.weight", "photometric.patch", "smoothness.edge_constant"} <= set(found)
    assert all(flat[key] == parameter.default for key, parameter in found.items())
    assert "train.steps" not in found and "seed" not in found


def test_options_that_are_asked_for_are_searched_of_the_arms_that_have_them():
    specs = {name: changed(default_spec(), {"occlusion.name": name}) for name in ("wang", "brox")}
    found = space.spaces(specs, ["occlusion.alpha", "photometric.patch"])
    assert {label: [p.key for p in parameters] for label, parameters in found.items()} == {
        "wang": ["photometric.patch"],
        "brox": ["photometric.patch", "occlusion.alpha"],
    }
    assert {p.key for p in space.space(specs["wang"])} - {p.key for p in space.spaces(specs)["wang"]} == {
        "train.warmup", "train.clip_norm", "train.weight_decay", "occlusion.penalty", "occlusion.consistency",
        "selfsup.momentum", "selfsup.occluders", "selfsup.occluder_size",
    }  # fmt: skip
    clipped = {"clipped": changed(default_spec(), {"train.clip_norm": 1.0})}
    assert {p.key for p in space.spaces(clipped)["clipped"]} - {p.key for p in space.spaces(specs)["wang"]} == {
        "train.clip_norm"
    }
    assert [p.key for p in space.spaces(specs, ["train.warmup"])["wang"]] == ["train.warmup"]
    with pytest.raises(ValueError, match="'occlusion.alpah' cannot be searched; did you mean 'occlusion.alpha'"):
        space.spaces(specs, ["occlusion.alpah"])
    with pytest.raises(ValueError, match="arm 'wang' has no option to search"):
        space.spaces(specs, ["occlusion.alpha"])


def test_what_makes_an_arm_is_not_searched():
    specs = {"wang": default_spec(), "blind": changed(default_spec(), {"smoothness.edge_constant": 0.0})}
    arms = (Arm("wang", {}), Arm("blind", {"smoothness.edge_constant": 0.0}))
    found = {label: {p.key for p in tried} for label, tried in space.spaces(specs, (), arms).items()}
    assert found["wang"] - found["blind"] == {"smoothness.edge_constant"}
    with pytest.raises(ValueError, match="arm 'blind' has no option to search"):
        space.spaces(specs, ["smoothness.edge_constant"], arms)


def test_numbers_are_tried_with_four_digits():
    assert space.rounded(0.000123456) == 0.0001235
    assert space.rounded(7) == 7 and space.rounded(0.0) == 0.0 and space.rounded("x") == "x"


def test_trials_are_trained_from_a_seed_that_no_reported_run_has():
    spec = space.trial_spec(default_spec(), {"train.learning_rate": 1e-3})
    assert spec.seed == search.SEED and spec.train.learning_rate == 1e-3


def test_the_best_is_the_first_of_the_completed_with_the_least_value():
    trials = [
        Trial(number=0, changes={}, run="a", state="completed", value=2.0),
        Trial(number=1, changes={}, run="b", state="pruned", value=0.5),
        Trial(number=2, changes={}, run="c", state="completed", value=1.0),
        Trial(number=3, changes={}, run="d", state="failed", value=None, reason="diverged"),
        Trial(number=4, changes={}, run="e", state="completed", value=1.0),
    ]
    assert search.best(trials).number == 2
    assert search.best(trials[1:2]) is None


def test_the_file_gives_back_what_was_written(tmp_path):
    trials = {"a": (Trial(number=0, changes={"x.y": 1}, run="r", state="completed", value=1.5),), "b": ()}
    own = {"a": {"x.y": 1}, "b": {"x.y": 1}}
    search.write(tmp_path / "search.json", "epe/synthetic/all", 4, trials, {"a": {"x.y": 1.0}}, own)
    assert search.read_search(tmp_path).trials == trials
    plain = json_files.read_json(tmp_path / "search.json")
    assert plain["chosen"] == {"a": 0} and plain["split"] == "validation" and plain["budget"] == 4
    assert plain["own"] == {"a": 0}
    again = (*trials["a"], Trial(number=1, changes={"x.y": 1}, run="r", state="pruned", value=9.0))
    search.write(tmp_path / "search.json", "epe/synthetic/all", 4, {"a": again, "b": ()}, {}, own)
    assert json_files.read_json(tmp_path / "search.json")["own"] == {"a": 0}, "what repeats it is a draw"
    json_files.write_json(tmp_path / "search.json", {"format": 1, "trials": {"a": [{"nothing": 1}]}})
    with pytest.raises(json_files.RecordError, match="not the trials of a search"):
        search.read_search(tmp_path)


def test_a_search_learns_and_prunes():
    sweep = Sweep((RATE, LEVEL))
    play(sweep, 40)
    found = list(sweep.finished())
    assert [number for number, *_ in found] == list(range(40)) and sweep.left(40) == 0 and sweep.left(46) == 6
    assert "pruned" not in [state for _, _, state, _, _ in found[:UNPRUNED]]
    assert sum(state == "pruned" for _, _, state, _, _ in found) >= 3
    levels = [changes[LEVEL.key] for _, changes, _, _, _ in found]
    assert levels[-20:].count(0) >= 12, "the best of three levels is tried most"
    importance = sweep.importance()
    assert set(importance) == {RATE.key, LEVEL.key} and importance[RATE.key] > 0.5
    assert sum(importance.values()) == pytest.approx(1.0)


def test_settings_of_a_round_are_chosen_together_within_their_ranges():
    sweep = Sweep((RATE, LEVEL))
    asked = sweep.ask(6)
    assert list(asked) == list(range(ROUND))
    assert all(1e-5 <= c[RATE.key] <= 1e-2 and c[LEVEL.key] in (0, 1, 2) for c in asked.values())
    for number, changes in asked.items():
        sweep.record(number, "completed", error(changes))
    sweep.close()
    assert list(sweep.ask(6)) == [4, 5], "the budget ends within a round"


def test_a_search_that_is_made_again_chooses_the_same_settings():
    searches = [Sweep((RATE, LEVEL)) for _ in range(2)]
    for sweep in searches:
        play(sweep, 16)
    assert list(searches[0].finished()) == list(searches[1].finished())


def test_a_failed_trial_counts_and_is_never_the_best():
    sweep = Sweep((RATE,))
    for number in sweep.ask(2):
        sweep.record(number, "failed", None, "diverged")
    sweep.close()
    assert sweep.left(2) == 0 and [state for _, _, state, _, _ in sweep.finished()] == ["failed", "failed"]
    assert sweep.importance() == {}


def test_the_first_setting_is_the_arms_own_where_it_may_be_tried():
    digits = space.Parameter("train.learning_rate", Range(1e-5, 1e-2, log=True), 0.000123456)
    outside = space.Parameter("photometric.weight", Range(0.1, 10.0), 40.0)
    asked = Sweep((digits, LEVEL, outside)).ask(3)
    assert asked[0][RATE.key] == 0.000123456 and asked[0][LEVEL.key] == 2 and 0.1 <= asked[0][outside.key] <= 10.0
    assert all(asked[number][RATE.key] not in (0.000123456, 0.0001235) for number in (1, 2))
    again = Sweep((digits, LEVEL, outside))
    assert again.ask(3) == asked
    for number in asked:
        again.record(number, "failed", None)
    again.close()
    assert [changes for _, changes, *_ in again.finished()] == list(asked.values())


def test_a_trial_counts_for_the_bar_only_after_its_round():
    sweep = Sweep((RATE,))
    for number in sweep.ask(20):
        sweep.record(number, "completed", 1.0 + number, curve=[(10, 1.0 + number)])
        assert sweep.thresholds("m") is None
    sweep.close()
    assert sweep.thresholds("m") == PruningThresholds(metric="m", limits=((10, 2.5),))
    for number in sweep.ask(20):
        sweep.record(number, "completed" if number == 4 else "pruned", 9.0, curve=[(10, 9.0)])
        assert sweep.thresholds("m") == PruningThresholds(metric="m", limits=((10, 2.5),))
    sweep.close()
    assert sweep.thresholds("m") == PruningThresholds(metric="m", limits=((10, 3.0),)), (
        "those that were pruned do not count"
    )
    assert [row[2:4] for row in list(sweep.finished())[4:]] == [("completed", 9.0), *[("pruned", 9.0)] * 3]


def test_options_of_one_trial_are_drawn_independently():
    one, other = (space.Parameter(f"photometric.{name}", Range(0.0, 1.0), 5.0) for name in ("weight", "other"))
    asked = Sweep((one, other)).ask(4)
    assert all(abs(changes[one.key] - changes[other.key]) > 0.01 for changes in asked.values())
    assert len({value for changes in asked.values() for value in changes.values()}) == 8
