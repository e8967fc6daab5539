"""Effects of a factorial, against closed forms."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.results.factorial import (
    add_one_in,
    cells,
    everything,
    find_factorial,
    interaction,
    leave_one_out,
    main_effect,
    shapley,
)
from experiments.records.plan import read_plan

RULES = (leave_one_out, add_one_in, main_effect, shapley)


def _values(function, k):
    return {cell: function(cell) for cell in cells(k)}


def effect(weights, values):
    return sum(weight * values[cell] for cell, weight in weights.items())


def test_an_additive_model_gives_every_measure_its_coefficient():
    coefficients = (-0.5, 0.2, 0.0, -1.0, 0.3)
    values = _values(lambda cell: 5 + float(np.dot(coefficients, cell)), 5)
    for factor, rule in itertools.product(range(5), RULES):
        assert effect(rule(factor, 5), values) == pytest.approx(coefficients[factor])
    for one, other in itertools.combinations(range(5), 2):
        assert effect(interaction(one, other, 5), values) == pytest.approx(0, abs=1e-12)
    assert effect(everything(5), values) == pytest.approx(sum(coefficients))


def test_two_factors_by_hand():
    #        off  on
    # off     10   8
    # on       9   4      interaction (4 - 9) - (8 - 10) = -3
    values = {(0, 0): 10.0, (0, 1): 8.0, (1, 0): 9.0, (1, 1): 4.0}
    assert effect(leave_one_out(0, 2), values) == 4 - 8
    assert effect(add_one_in(0, 2), values) == 9 - 10
    assert effect(main_effect(0, 2), values) == (9 + 4) / 2 - (10 + 8) / 2
    assert effect(shapley(0, 2), values) == (-4 - 1) / 2
    assert effect(interaction(0, 1, 2), values) == -3


def test_a_product_of_three_is_shared_equally_by_shapley():
    values = _values(lambda cell: -6.0 * math.prod(cell), 3)
    for factor in range(3):
        assert effect(shapley(factor, 3), values) == pytest.approx(-2)
        assert effect(leave_one_out(factor, 3), values) == -6  # each takes all of it: rows do not add up
        assert effect(add_one_in(factor, 3), values) == 0
        assert effect(main_effect(factor, 3), values) == -1.5


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_shapley_values_add_up_and_are_averages_over_orders(k, seed):
    table = dict(zip(cells(k), np.random.default_rng(seed).normal(size=2**k), strict=True))
    found = [effect(shapley(i, k), table) for i in range(k)]
    assert sum(found) == pytest.approx(table[(1,) * k] - table[(0,) * k], abs=1e-9)
    brute = np.zeros(k)
    for order in itertools.permutations(range(k)):
        on: set = set()
        for factor in order:
            before = tuple(int(i in on) for i in range(k))
            on.add(factor)
            brute[factor] += table[tuple(int(i in on) for i in range(k))] - table[before]
    assert found == pytest.approx(list(brute / math.factorial(k)), abs=1e-9)


@given(st.integers(2, 5))
def test_weights_ignore_what_all_cells_share(k):
    for rule in RULES:
        assert sum(rule(0, k).values()) == pytest.approx(0, abs=1e-12)
    assert sum(interaction(0, 1, k).values()) == pytest.approx(0, abs=1e-12)
    assert interaction(0, 1, k) == interaction(1, 0, k)


def _plan(simulate, settings, baseline=None, **more):
    labels = tuple(settings)
    study = simulate(*labels, changes=settings, baseline=baseline or labels[0], seeds=(0, 1), **more)
    return study, read_plan(study.directory)


GRID = {
    f"{mask} {order}": {
        "occlusion.name": mask,
        "smoothness.name": order,
        "smoothness.weight": 4 if order == "second" else 0,
    }
    for mask in ("none", "wang")
    for order in ("none", "second")
}


def test_a_full_grid_is_found_with_keys_that_move_together(simulate):
    _, plan = _plan(simulate, GRID)
    design = find_factorial(plan)
    assert [f.name for f in design.factors] == ["occlusion wang", "smoothness second"]
    assert design.arms[1, 0] == "wang none" and design.arms[0, 1] == "none second"
    assert design.factors[1].on == {"smoothness.name": "second", "smoothness.weight": 4}
    assert design.factors[1].off == {"smoothness.name": "none", "smoothness.weight": 0}


def test_keys_that_move_against_each_other_are_one_factor(simulate):
    arms = {
        f"{mask} {order}": {
            "occlusion.name": mask,
            "occlusion.fill": 0 if mask == "wang" else 1,
            "smoothness.name": order,
        }
        for mask in ("none", "wang")
        for order in ("none", "second")
    }
    mask, order = find_factorial(_plan(simulate, arms)[1]).factors
    assert (mask.name, order.name) == ("occlusion wang", "smoothness second")
    assert mask.on == {"occlusion.name": "wang", "occlusion.fill": 0}


def test_what_all_arms_share_is_no_factor(simulate):
    arms = {label: {**changes, "train.steps": 300, "selfsup.name": "none"} for label, changes in GRID.items()}
    assert [f.name for f in find_factorial(_plan(simulate, arms)[1]).factors] == ["occlusion wang", "smoothness second"]


def test_keys_that_arms_do_not_mention_are_off(simulate):
    switches = {"x.on": True, "y.on": True, "z.on": True}
    arms = {
        "".join(map(str, cell)): {k: v for bit, (k, v) in zip(cell, switches.items(), strict=True) if bit}
        for cell in cells(3)
    }
    design = find_factorial(_plan(simulate, arms, baseline="111")[1])
    assert {"".join(map(str, cell)): label for cell, label in design.arms.items()} == {label: label for label in arms}


def test_without_a_natural_off_the_baseline_is_off(simulate):
    arms = {f"{a} {b}": {"a.name": a, "b.name": b} for a in ("brox", "wang") for b in ("l1", "census")}
    design = find_factorial(_plan(simulate, arms, baseline="wang l1")[1])
    assert design.arms[0, 0] == "wang l1" and design.factors[0].on == {"a.name": "brox"}


def test_a_study_that_takes_parts_away_has_its_baseline_all_on(simulate):
    arms = {
        f"{mask} {loss}": {"occlusion.name": mask, "photometric.name": loss}
        for mask in ("wang", "none")
        for loss in ("census", "l1")
    }
    full = find_factorial(_plan(simulate, arms, baseline="wang census")[1])
    assert full.arms[1, 1] == "wang census" and [f.name for f in full.factors] == [
        "occlusion wang",
        "photometric census",
    ]
    empty = find_factorial(_plan(simulate, arms, baseline="none l1", name="other")[1])
    assert empty.arms[0, 0] == "none l1" and [f.name for f in empty.factors] == ["occlusion wang", "photometric census"]


@pytest.mark.parametrize("spoil", ["missing", "three", "one", "twice"])
def test_what_is_not_a_full_grid_is_none(simulate, spoil):
    arms = dict(GRID)
    if spoil == "missing":
        arms.pop("wang second")
    elif spoil == "three":
        arms["wang second"] = {**arms["wang second"], "occlusion.name": "brox"}
    elif spoil == "twice":
        arms["again"] = arms["wang second"]
    else:
        arms = {"none": {"occlusion.name": "none"}, "wang": {"occlusion.name": "wang"}}
    assert find_factorial(_plan(simulate, arms)[1]) is None
