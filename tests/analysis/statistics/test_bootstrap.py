"""The crossed bootstrap: its interval covers, and it leaves no frame or seed out unseen."""

import numpy as np
import pytest

from analysis.statistics.bootstrap import crossed_bootstrap
from analysis.statistics.crossed import crossed_error


def _arms(generator, seeds=8, frames=30, effect=0.5, seed_sd=0.3, frame_sd=0.3, noise=0.3):
    difference = (
        effect
        + seed_sd * generator.normal(size=(seeds, 1))
        + frame_sd * generator.normal(size=(1, frames))
        + noise * generator.normal(size=(seeds, frames))
    )
    baseline = generator.gamma(2.0, 1.0, size=(seeds, frames))
    rows = [{s: tuple(map(float, row)) for s, row in enumerate(array)} for array in (baseline + difference, baseline)]
    return rows


def test_mean_is_of_the_paired_differences():
    found = crossed_bootstrap({0: (1.0, 2.0), 1: (3.0, 5.0)}, {0: (0.0, 1.0), 1: (0.0, 0.0), 9: (7.0, 7.0)}, seed=0)
    assert found.mean == pytest.approx((1 + 1 + 3 + 5) / 4)
    assert (found.seeds, found.frames) == (2, 2) and found.low <= found.mean <= found.high


def test_identical_differences_have_no_width():
    arm = {s: tuple(v + 0.25 for v in (1.0, 2.0, 4.0)) for s in range(3)}
    found = crossed_bootstrap(arm, {s: (1.0, 2.0, 4.0) for s in range(3)}, seed=0)
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("seeds", "spread"),
    [(5, dict(seed_sd=0.3, frame_sd=0.3, noise=0.3)), (6, dict(seed_sd=0.3, frame_sd=0.05, noise=0.05))],
    ids=["seeds and frames alike", "mostly seeds"],
)
def test_it_covers_new_seeds_and_new_frames(seeds, spread):
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        found = crossed_bootstrap(*_arms(generator, seeds=seeds, **spread), seed=1, draws=200)
        hits += found.low <= 0.5 <= found.high
    assert 0.93 <= hits / 1000 <= 0.97


def test_the_error_of_a_crossed_mean_by_hand():
    # rows differ by 2, columns by 1, no rest: squares 3 * 2 = 6 (1 degree) and 2 * 1 = 2 * (1 + 0 + 1) / 2 (2 degrees)
    values = np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]])
    error, freedom = crossed_error(values)
    assert error == pytest.approx(((6 + 2) / 6) ** 0.5) and freedom == pytest.approx(64 / (36 / 1 + 4 / 2))
    # one frame after another the same: as the t-interval of the seeds alone
    values = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    assert crossed_error(values) == pytest.approx((np.std([1, 2, 4], ddof=1) / 3**0.5, 2.0))


@pytest.mark.parametrize("source", ["seed_sd", "frame_sd"])
def test_both_sources_of_variation_widen_it(source):
    quiet = dict(seed_sd=0.0, frame_sd=0.0, noise=0.1)
    narrow = crossed_bootstrap(*_arms(np.random.default_rng(3), **quiet), seed=0)
    wide = crossed_bootstrap(*_arms(np.random.default_rng(3), **{**quiet, source: 1.0}), seed=0)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_the_draws_come_from_the_seed():
    arms = _arms(np.random.default_rng(0))
    assert crossed_bootstrap(*arms, seed=5) == crossed_bootstrap(*arms, seed=5)
    assert crossed_bootstrap(*arms, seed=5) != crossed_bootstrap(*arms, seed=6)


def test_swapping_the_arms_turns_the_sign():
    arm, baseline = _arms(np.random.default_rng(0))
    one, other = crossed_bootstrap(arm, baseline, seed=5), crossed_bootstrap(baseline, arm, seed=5)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_frames_without_pixels_of_the_kind_are_left_out_and_counted():
    arm = {0: (1.0, None, 3.0), 1: (2.0, None, 4.0)}
    found = crossed_bootstrap(arm, {0: (0.0, None, 0.0), 1: (0.0, None, 0.0)}, seed=0)
    assert found.frames == 2 and found.mean == 2.5


def test_one_seed_or_one_frame_has_no_interval():
    assert crossed_bootstrap({0: (1.0, 2.0)}, {0: (1.0, 2.0)}, seed=0) is None
    assert crossed_bootstrap({}, {}, seed=0) is None
    assert crossed_bootstrap({0: (1.0, None), 1: (1.0, 2.0)}, {0: (1.0, 2.0), 1: (1.0, 2.0)}, seed=0) is None


def test_runs_of_different_frames_are_refused():
    with pytest.raises(ValueError, match="same frames"):
        crossed_bootstrap({0: (1.0, 2.0), 1: (1.0,)}, {0: (1.0, 2.0), 1: (1.0, 2.0)}, seed=0)
