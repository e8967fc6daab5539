"""Tests for new seeds and new frames: how often they err where there is no effect, and what they are by hand."""

import numpy as np
import pytest
import scipy.stats

from analysis.results.comparison import compare
from analysis.results.metric_kinds import metric_kind
from analysis.statistics.crossed import crossed_equivalence_p, crossed_p, paired_frames

METRIC = metric_kind("epe/synthetic/all")
ALPHA = 0.05
# Spread of seeds, of frames (`None`: so that both weigh alike in the mean) and of single values, shape of the frames'
SOURCES = {
    "seeds": (1.0, 0.1, 0.3, "normal"),
    "frames": (0.1, 1.0, 0.3, "normal"),
    "both": (1.0, None, 0.3, "normal"),
    "heavy frames": (0.1, 1.0, 0.3, "heavy"),
    "both, heavy frames": (1.0, None, 0.3, "heavy"),
    "neither": (0.0, 0.0, 1.0, "normal"),
}


def studies(random, count, seeds, frames, source):
    """Differences (count, seeds, frames) whose mean over all seeds and frames that there could be is 0."""
    of_seeds, of_frames, rest, shape = SOURCES[source]
    of_frames = of_seeds * (frames / seeds) ** 0.5 if of_frames is None else of_frames
    size = (count, 1, frames)
    by_frame = random.standard_t(2.5, size) / 5**0.5 if shape == "heavy" else random.normal(size=size)
    return (
        of_seeds * random.normal(size=(count, seeds, 1))
        + of_frames * by_frame
        + rest * random.normal(size=(count, seeds, frames))
    )


def seeds_p(values):
    return scipy.stats.ttest_1samp(values.mean(-1), 0, axis=-1).pvalue


@pytest.mark.parametrize("source", SOURCES)
def test_no_effect_is_found_in_at_most_one_study_of_twenty(source):
    random = np.random.default_rng(1)
    for seeds in (3, 5, 8, 16):
        for frames in (2, 3, 4, 6, 16, 128):
            count = 4000 if frames < 128 else 1000
            rate = float((crossed_p(studies(random, count, seeds, frames, source)) <= ALPHA).mean())
            assert rate <= ALPHA + 3 * (ALPHA / count) ** 0.5, (seeds, frames, rate)


@pytest.mark.parametrize("source", ["seeds", "frames", "heavy frames"])
def test_what_is_at_the_margin_is_called_equal_in_at_most_one_study_of_twenty(source):
    random = np.random.default_rng(2)
    for seeds, frames in ((3, 2), (3, 16), (8, 4), (8, 128), (16, 6)):
        count = 2000
        values = studies(random, count, seeds, frames, source) / 4 + 0.5
        assert float((crossed_equivalence_p(values, 0.5) <= ALPHA).mean()) <= ALPHA + 3 * (ALPHA / count) ** 0.5


def test_seeds_alone_find_effects_that_are_of_the_frames():
    values = studies(np.random.default_rng(3), 2000, 8, 4, "frames")
    assert (seeds_p(values) <= ALPHA).mean() > 0.5


def test_many_frames_cost_next_to_nothing():
    random = np.random.default_rng(4)
    values = studies(random, 2000, 8, 128, "seeds") + 1.0  # an effect as large as the spread between seeds
    both, alone = ((p <= ALPHA).mean() for p in (crossed_p(values), seeds_p(values)))
    assert alone > 0.6 and alone - both < 0.02


def test_one_source_alone_gives_its_t_test():
    seeds = np.array([1.0, 2.0, 4.0])[:, None] + np.zeros((3, 5))
    assert crossed_p(seeds) == pytest.approx(scipy.stats.ttest_1samp([1, 2, 4], 0).pvalue)
    frames = np.array([1.0, 2.0, 4.0, 4.5]) + np.zeros((6, 1))
    assert crossed_p(frames) == pytest.approx(scipy.stats.ttest_1samp([1, 2, 4, 4.5], 0).pvalue)
    upper = scipy.stats.ttest_1samp([1, 2, 4], 9, alternative="less").pvalue
    assert crossed_equivalence_p(seeds, 9.0) == pytest.approx(upper)


def test_two_sources_by_hand():
    # mean squares 6 of seeds (1 degree), 2 of frames (2 degrees), no rest: the variance of the mean is 8 / 6
    values = np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]])
    t = 2 / (8 / 6) ** 0.5
    mixed = 0.75 * 2 * scipy.stats.t.sf(t, 1) + 0.25 * 2 * scipy.stats.t.sf(t, 2)
    of_seeds, of_frames = 2 * scipy.stats.t.sf(2 / 1.0, 1), 2 * scipy.stats.t.sf(2 / (2 / 6) ** 0.5, 2)
    assert crossed_p(values) == pytest.approx(max(mixed, of_seeds, of_frames)) == pytest.approx(mixed)


def test_identical_differences_are_decided_by_their_value():
    assert crossed_p(np.full((3, 4), 0.1)) == 0 and crossed_p(np.zeros((3, 4))) == 1
    assert (
        crossed_equivalence_p(np.full((3, 4), 0.1), 0.2) == 0 and crossed_equivalence_p(np.full((3, 4), 0.2), 0.2) == 1
    )


def test_frames_are_paired_and_those_without_pixels_left_out():
    arm = {0: (1.0, None, 3.0), 1: (2.0, None, 5.0), 2: (1.0, 1.0, 1.0)}
    base = {0: (0.0, None, 1.0), 1: (1.0, None, 2.0)}
    assert paired_frames(arm, base).tolist() == [[1.0, 2.0], [1.0, 3.0]]
    assert paired_frames(arm, base, [1]).tolist() == [[1.0, 3.0]]
    assert paired_frames(arm, base, [0, 2]) is None and paired_frames({}, {}) is None


def _compared(values, frames=True, failed=None):
    """The comparison of an arm with differences (seeds, frames) from a baseline of 3 px."""
    rows = {"base": np.full(values.shape, 3.0), "arm": 3.0 + values}
    means = {label: dict(enumerate(row.mean(-1).tolist())) for label, row in rows.items()}
    by_frame = {label: dict(enumerate(row.tolist())) for label, row in rows.items()} if frames else None
    return compare(means, "base", METRIC, failed, frames=by_frame)["arm"]


def test_a_verdict_holds_for_both_and_says_which_is_the_limit():
    random = np.random.default_rng(5)
    noise = 0.01 * random.normal(size=(8, 4))
    few = -0.3 + np.array([-0.6, 0.1, 0.4, 0.2]) + noise  # for other seeds certain, for other frames not
    found = _compared(few)
    assert (found.verdict, found.frames, found.limit) == ("undecided", 4, "frames")
    assert found.reason == "difference shown for new seeds on these frames only: frames are the limit: 4 pairs"
    assert found.p_seeds < 0.001 < found.p
    without = _compared(few, frames=False)
    assert (without.verdict, without.frames, without.p) == ("helps", None, without.p_seeds)
    many = -0.3 + np.tile([-0.6, 0.1, 0.4, 0.2], 16) + 0.01 * random.normal(size=(8, 64))
    assert _compared(many).verdict == "helps"
    equal = np.array([-0.1, 0.1, 0.05, -0.05]) + noise
    found = _compared(equal)
    assert found.reason == "equality shown for new seeds on these frames only: frames are the limit: 4 pairs"
    assert _compared(equal, frames=False).verdict == "equal"
    seeds = np.linspace(-0.4, 0.3, 8)[:, None] + noise
    assert _compared(seeds).reason == "neither difference nor equivalence established: seeds are the limit: 8"


def test_one_frame_says_nothing_of_others():
    found = _compared(np.array([[-0.5], [-0.52], [-0.48], [-0.51]]))
    assert (found.verdict, found.reason) == ("undecided", "frames are the limit: 1 pair says nothing of others")


def test_different_frames_leave_the_test_over_seeds():
    values = {"base": {0: 3.0, 1: 3.1, 2: 3.2}, "arm": {0: 2.0, 1: 2.11, 2: 2.2}}
    frames = {"base": {s: (3.0, 3.1) for s in range(3)}, "arm": {s: (2.0,) * (s + 1) for s in range(3)}}
    found = compare(values, "base", METRIC, frames=frames)["arm"]
    assert found.frames is None and found.verdict == "helps"
