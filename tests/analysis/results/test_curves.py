"""Learning curves from logged steps, and the expected best of a search."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.results.curves import expected_best, learning_curves, logged_keys
from analysis.results.load import load_study
from analysis.statistics.paired import mean_interval

ALL = "epe/synthetic/all"


def _log(study, label, seed, rows, tail=""):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (study.run(label, seed) / "metrics.jsonl").write_text(lines + tail)


@pytest.fixture
def study(simulate):
    study = simulate("none", "wang", seeds=(0, 1, 2))
    for label, seed in itertools.product(study.labels, study.seeds):
        study.write(label, seed, 3.0)
        rows = [{"step": s, "total": 10.0 - s + seed + (label == "wang"), f"validation/{ALL}": 5.0} for s in range(10)]
        _log(study, label, seed, rows)
    return study


def test_means_and_bands_are_over_seeds(study):
    none, wang = learning_curves(load_study(study.directory), "total", bins=10)
    assert (none.label, wang.label, none.seeds) == ("none", "wang", 3)
    assert none.mean == pytest.approx([11.0 - s for s in range(10)])
    assert wang.mean - none.mean == pytest.approx(np.ones(10))
    expected = mean_interval([10.0, 11.0, 12.0])
    assert (none.low[0], none.high[0]) == pytest.approx((expected.low, expected.high))


def test_steps_are_gathered_in_bins(study):
    none = learning_curves(load_study(study.directory), "total", bins=3)[0]
    # steps 0-2, 3-5, 6-9, each bin 3 wide
    assert none.mean == pytest.approx([10.0, 7.0, 3.5])
    assert none.steps == pytest.approx([1.5, 4.5, 7.5])


def test_a_bin_without_a_value_of_every_seed_is_left_out(study):
    _log(study, "none", 2, [{"step": s, "total": 1.0} for s in range(5)])
    none = learning_curves(load_study(study.directory), "total", bins=10)[0]
    assert len(none.mean) == 5


def test_a_torn_last_line_and_repeated_steps_of_a_resumed_run(study):
    rows = [{"step": 0, "total": 1.0}, {"step": 9, "total": 99.0}, {"step": 9, "total": 3.0}]
    for seed in study.seeds:
        _log(study, "none", seed, rows, tail='{"step": 10, "lo')
    none = learning_curves(load_study(study.directory), "total", bins=2)[0]
    assert none.mean == pytest.approx([1.0, 3.0])


def test_values_that_are_not_numbers_are_passed_over(study):
    rows = [{"step": step, "total": value} for step, value in enumerate((1.0, None, "x", True))]
    for seed in study.seeds:
        _log(study, "none", seed, [*rows, {"step": 4, "total": 2.0}], tail='{"step": 5, "total": NaN}\n')
    none = learning_curves(load_study(study.directory), "total", bins=10)[0]
    assert list(none.mean) == [1.0, 2.0]


def test_runs_that_did_not_complete_are_not_drawn(study):
    study.write("none", 0, None, status="diverged")
    none = learning_curves(load_study(study.directory), "total", bins=10)[0]
    assert none.seeds == 2 and none.mean[0] == pytest.approx(11.5)
    assert np.isnan(none.low).all()  # two seeds make no band


def test_what_is_drawn_is_the_loss_and_the_errors(study):
    assert logged_keys(load_study(study.directory)) == ("total", f"validation/{ALL}")
    row = {"step": 1, "learning_rate": 0.1, "validation/epe/synthetic/occ": 1.0, "photometric": 2.0, "total": 3.0}
    _log(study, "none", 0, [row, {"step": 2, f"validation/{ALL}": 1.0, "visible": 0.9}])
    assert logged_keys(load_study(study.directory)) == ("total", f"validation/{ALL}", "visible")


def test_without_logs_there_are_no_curves(simulate):
    study = simulate("none", seeds=(0,))
    study.write("none", 0, 3.0)
    data = load_study(study.directory)
    assert logged_keys(data) == () and learning_curves(data, "total") == ()


def test_the_expected_best_by_hand():
    # Two draws from {1, 3}: 1 with probability 3/4.
    assert expected_best([3.0, 1.0]) == pytest.approx([2.0, 1.5])
    assert expected_best([5.0]) == [5.0]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=4))
@settings(max_examples=30)
def test_the_expected_best_is_the_mean_over_all_draws(values):
    best = expected_best(values)
    for m, value in enumerate(best, start=1):
        assert value == pytest.approx(np.mean([min(d) for d in itertools.product(values, repeat=m)]), abs=1e-9)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_a_search_without_finite_values_is_refused(values):
    with pytest.raises(ValueError, match="finite values"):
        expected_best(values)
