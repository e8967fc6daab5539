import numpy as np
import pytest

from experiments.evaluation import metrics

TRUTH = np.array([[[0.0, 100.0, 3.0]], [[0.0, 0.0, 4.0]]])  # one row of three motions: none, (100, 0), (3, 4)
FLOW = np.array([[[0.0, 104.0, 0.0]], [[2.0, 0.0, 0.0]]])


def test_the_end_point_error_is_the_length_of_the_difference():
    np.testing.assert_array_equal(metrics.end_point_error(FLOW, TRUTH), [[2.0, 4.0, 5.0]])


def test_an_outlier_exceeds_both_limits():
    # 2 px is too little, 4 px is 4 % of 100, 5 px is all of 5
    np.testing.assert_array_equal(metrics.outliers(FLOW, TRUTH), [[False, False, True]])
    np.testing.assert_array_equal(metrics.outliers(FLOW, TRUTH, share=0.03), [[False, True, True]])
    np.testing.assert_array_equal(metrics.outliers(FLOW, TRUTH, pixels=1.0), [[True, False, True]])


def test_a_masked_mean_counts_only_what_is_set():
    values = np.array([[1.0, 2.0, 6.0]])
    assert metrics.masked_mean(values) == 3.0
    assert metrics.masked_mean(values, np.array([[1, 1, 0]])) == 1.5
    assert metrics.masked_mean(values, np.zeros((1, 3))) is None


def test_the_ceiling_is_of_the_mean():
    assert metrics.mean_over_frames([90.0, None, 0.0], metrics.KITTI_CEILING) == 45.0
    assert metrics.mean_over_frames([90.0, 20.0], metrics.KITTI_CEILING) == 50.0
    assert metrics.mean_over_frames([None]) is None


def test_counts_of_an_occlusion_score():
    score, truth = np.array([[0.0, 0.4, 0.6, 1.0]]), np.array([[0, 1, 0, 1]])
    counts = metrics.occlusion_counts(score, truth, thresholds=np.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(counts, [[2, 1, 0, 1], [1, 1, 1, 1], [0, 0, 2, 2]])
    valid = metrics.occlusion_counts(score, truth, np.array([[1, 1, 1, 0]]), np.array([0.5]))
    np.testing.assert_array_equal(valid, [[0, 1, 1, 1]])


def test_the_f_score_is_the_harmonic_mean_and_the_first_best_threshold_wins():
    counts = np.array([[2, 1, 0, 1], [2, 1, 0, 1], [0, 0, 2, 2]])
    score, threshold = metrics.best_f_score(counts, np.array([0.1, 0.2, 0.3]))
    assert score == pytest.approx(0.8, abs=2e-6) and threshold == 0.1  # precision 2/3, recall 1
    assert metrics.f_scores(counts)[2] == 0.0


def test_sparsification_takes_the_least_confident_away_first():
    error = np.repeat([1.0, 2.0, 3.0, 4.0], 5)
    best, worst = metrics.sparsification(error, -error), metrics.sparsification(error, error)
    # of 20 pixels each step takes one; quarters away leave means of 2.5, 2, 1.5 and 1, or of 3, 3.5 and 4
    np.testing.assert_allclose(best[[0, 5, 10, 15, 20]], [1, 0.8, 0.6, 0.4, 0])
    np.testing.assert_allclose(worst[[0, 5, 10, 15, 20]], [1, 1.2, 1.4, 1.6, 0])
    assert best[1] == pytest.approx((5 + 10 + 15 + 16) / 19 / 2.5) and metrics.area(best, best) == 0
    gap = [error[n:].mean() - error[: 20 - n].mean() for n in range(20)]  # the errors are in ascending order
    assert metrics.area(worst, best) == pytest.approx(sum(gap) / 2.5 / 20)
    assert (metrics.sparsification(np.zeros(3), np.ones(3)) == 0).all()


def test_the_order_of_equally_confident_pixels_does_not_matter():
    error = np.arange(20.0)
    says_nothing = metrics.sparsification(error, np.ones(20))
    np.testing.assert_allclose(says_nothing, [1] * 20 + [0])
    assert metrics.area(says_nothing, metrics.sparsification(error, -error)) > 0.3
    # ten of each: the doubted half has errors of 0 and 3, the trusted one of 0 and 1, one after the other
    error, confidence = np.tile([0.0, 0.0, 3.0, 1.0], 5), np.tile([0.0, 1.0], 10)
    for order in (slice(None), slice(None, None, -1)):
        curve = metrics.sparsification(error[order], confidence[order])
        np.testing.assert_allclose(curve[[0, 5, 10, 15, 20]], [1, (5 * 1.5 + 10 * 0.5) / 15, 0.5, 0.5, 0])
