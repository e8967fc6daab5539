"""Contract of every occlusion component, one value of each by hand, and scenes whose answer is known."""

import numpy as np
import pytest
from goldens.graph import run, run_gradient

from uflow import registry
from uflow.models.inference import agreement

NAMES = registry.names("occlusion")
ESTIMATED = [n for n in NAMES if n != "ground_truth"]
SOFT = ("wang", "wang4", "uflow")


def constant(x, y, size=(24, 32)):
    flow = np.zeros((2, 2, *size), np.float32)
    flow[:, 0], flow[:, 1] = x, y
    return flow


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    component = registry.build("occlusion", name)
    generator = np.random.default_rng(0)
    forward, backward = (3 * generator.standard_normal((2, 2, 24, 32)).astype(np.float32) for _ in range(2))
    inputs = [forward, backward]
    if "true_occlusion" in registry.entry("occlusion", name).needs:
        inputs.append((generator.random((2, 1, 24, 32)) > 0.5).astype(np.float32))
    visible = run(component, *inputs)
    assert visible.shape == (2, 1, 24, 32) and visible.dtype == np.float32
    assert (visible >= 0).all() and (visible <= 1).all()
    assert name in SOFT or set(np.unique(visible)) <= {0.0, 1.0}
    swapped = run(component, *(x[::-1].copy() for x in inputs))
    np.testing.assert_allclose(swapped, visible[::-1], atol=1e-6)  # pairs of a batch do not know of each other


@pytest.mark.parametrize("name", ESTIMATED)
@pytest.mark.parametrize("motion", [(4, 0), (0, 4)])
def test_what_moves_alike_is_visible_and_what_leaves_a_hole_is_not(name, motion):
    component = registry.build("occlusion", name, {"beta": 0.3} if name == "brox" else {})
    forward, backward = constant(*motion), constant(-motion[0], -motion[1])
    inside = run(component, forward, backward)[:, :, 8:-8, 8:-8]  # cells of wang4 reach far
    assert inside.min() > 0.99
    # the second frame's pixels now come from the other side: nothing arrives in the first 4 columns or rows
    hole = run(component, forward, forward)
    along = hole.mean(axis=(0, 1, 2)) if motion[0] else hole.mean(axis=(0, 1, 3))
    if name.startswith("wang"):
        assert along[0] < 0.51 and along[8:].min() > 0.99
        across = hole.mean(axis=(0, 1, 3)) if motion[0] else hole.mean(axis=(0, 1, 2))
        assert np.ptp(across) < 1e-3  # nothing depends on the other coordinate
    if name in ("brox", "fb_abs", "uflow"):
        assert hole[:, :, 5:-5, 5:-5].max() < 0.01  # the flows add up instead of cancelling


def test_no_occlusion_is_ones():
    assert (run(registry.build("occlusion", "none"), constant(9, 9), constant(9, 9)) == 1).all()


def test_the_true_occlusion_is_taken_as_it_is():
    occluded = np.zeros((2, 1, 24, 32), np.float32)
    occluded[..., 3, 4] = 1
    visible = run(registry.build("occlusion", "ground_truth"), constant(9, 9), constant(9, 9), occluded)
    np.testing.assert_array_equal(visible, 1 - occluded)


def test_brox_at_its_threshold():
    # gap^2 against 0.01 (3^2 + (3 - gap)^2) + 0.5: 0.6241 < 0.6388 for 0.79, 0.64 > 0.6384 for 0.8
    component = registry.build("occlusion", "brox")
    for gap, visible in ((0.79, 1), (0.8, 0)):
        assert (run(component, constant(3, 0), constant(gap - 3, 0))[:, :, :, :-3] == visible).all()


def test_fb_abs_at_its_threshold():
    component = registry.build("occlusion", "fb_abs")
    for gap, visible in ((1.5, 1), (1.51, 0)):
        assert (run(component, constant(0, 3), constant(0, gap - 3))[:, :, :-3] == visible).all()


def test_the_backward_flow_is_read_where_the_forward_flow_points():
    forward, backward = constant(8, 0), constant(0, 0)
    backward[:, 0, :, 16:] = -8  # only the right half moves back
    for name in ("brox", "fb_abs", "uflow"):
        visible = run(registry.build("occlusion", name), forward, backward)
        assert visible[..., 8:24].min() > 0.99 and visible[..., :8].max() < 0.01, name


def test_wang_of_a_row():
    # all move right by 1/4 px: the first pixel keeps 3/4 of its own weight, the others get 1/4 from the left
    backward = np.zeros((1, 2, 1, 5), np.float32)
    backward[:, 0] = 0.25
    wang, threshold = registry.build("occlusion", "wang"), registry.build("occlusion", "wangthres")
    still = np.zeros_like(backward)
    np.testing.assert_allclose(run(wang, still, backward).ravel(), [0.75, 1, 1, 1, 1], atol=1e-6)
    assert run(threshold, still, backward).ravel().tolist() == [1, 1, 1, 1, 1]  # 0.75 is enough
    strict = registry.build("occlusion", "wangthres", {"threshold": 0.8})
    assert run(strict, still, backward).ravel().tolist() == [0, 1, 1, 1, 1]
    backward[:, 0] = 0.5
    assert run(threshold, still, backward).ravel().tolist() == [0, 1, 1, 1, 1]


def test_wang4_of_two_cells():
    # all move right by 4 px: the left cell gets the two columns that continue the flow beyond the border, of four
    backward = np.zeros((1, 2, 4, 8), np.float32)
    backward[:, 0] = 4
    visible = run(registry.build("occlusion", "wang4"), np.zeros_like(backward), backward)
    np.testing.assert_allclose(visible[0, 0, 0], [0.5, 0.5, 0.5625, 0.6875, 0.8125, 0.9375, 1, 1], atol=1e-6)
    for threshold, wanted in ((0.75, [0, 0, 0, 0, 1, 1, 1, 1]), (0.6875, [0, 0, 0, 1, 1, 1, 1, 1])):
        component = registry.build("occlusion", "wang4thres", {"threshold": threshold})
        assert run(component, np.zeros_like(backward), backward)[0, 0, 0].tolist() == wanted
    # by 2 px the left cell gets the shares 5/8, 7/8, 7/8, 5/8, 3/8, 1/8 of six columns; pixel by pixel there is a hole
    backward[:, 0] = 2
    visible = run(registry.build("occlusion", "wang4"), np.zeros_like(backward), backward)
    np.testing.assert_allclose(visible[0, 0, 0, :2], 3.5 / 4, atol=1e-6)
    assert (run(registry.build("occlusion", "wang4thres"), np.zeros_like(backward), backward) == 1).all()


def sign(name, **options):
    """The score of one sign alone, with weight 1."""
    chosen = {key: key == name for key in ("fb_abs", "forward_collision", "backward_zero")}
    return registry.build("occlusion", "uflow", chosen | {f"{name}_weight": 1.0} | options)


def visible_at(score):
    return 1 - 1 / (1 + np.exp(-score))


def test_the_signs_of_the_combined_score():
    still = np.zeros((1, 2, 4, 8), np.float32)
    gap = still.copy()
    gap[:, 1] = 2  # two pixels apart
    np.testing.assert_allclose(run(sign("fb_abs"), still, gap), visible_at(2 - 1.5), rtol=1e-5)
    gap[:, 1] = 30  # clipped
    np.testing.assert_allclose(run(sign("fb_abs", fb_abs_clip=3.0), still, gap), visible_at(3 - 1.5), rtol=1e-5)
    meet = still.copy()
    meet[:, 0, :, 0], meet[:, 0, :, 2] = 1, -1  # three pixels meet in column 1, which are two too many
    visible = run(sign("forward_collision"), meet, still)[0, 0, 0]
    np.testing.assert_allclose(visible[:3], visible_at(2 - 0.4), rtol=1e-5)
    np.testing.assert_allclose(visible[3:], visible_at(0 - 0.4), rtol=1e-5)
    meet[:, 0, :, 6] = 90  # out of the frame, where nothing arrives: no collision, but none less than none
    visible = run(sign("forward_collision", forward_collision_clip=2.0), meet, still)[0, 0, 0]  # one too many at most
    np.testing.assert_allclose(visible[:3], visible_at(1 - 0.4), rtol=1e-5)
    np.testing.assert_allclose(visible[3:], visible_at(0 - 0.4), rtol=1e-5)
    away = still.copy()
    away[:, 0] = 4  # the range map of the left cell is 0.5, see above
    visible = run(sign("backward_zero"), still, away)[0, 0, 0]
    np.testing.assert_allclose(visible[[0, 7]], visible_at(np.array([0.5, 0]) - 0.25), rtol=1e-5)


def test_a_sign_that_is_left_out_says_nothing():
    """Upstream it goes on telling every pixel to be visible, by its weight times its threshold."""
    still = np.zeros((1, 2, 4, 8), np.float32)
    gap = still.copy()
    gap[:, 1] = 2
    options = {"backward_zero_weight": 1.0, "forward_collision_weight": 1.0}
    np.testing.assert_allclose(run(sign("fb_abs", **options), still, gap), visible_at(0.5), rtol=1e-5)
    upstream = run(sign("fb_abs", inactive_bias=True, **options), still, gap)
    np.testing.assert_allclose(upstream, visible_at(0.5 - 0.4 - 0.25), rtol=1e-5)


def test_a_sign_with_a_small_weight_is_no_error():
    """Upstream drops weights under 0.01 and then misses them."""
    component = registry.build("occlusion", "uflow", {"fb_abs_weight": 0.0, "forward_collision_weight": 0.001})
    assert np.isfinite(run(component, constant(4, 0), constant(-4, 0))).all()


def test_gradients_through_soft_masks_are_finite_where_the_flows_cancel_exactly():
    flow = constant(0, 0)
    for name in SOFT:
        component = registry.build("occlusion", name)
        _, gradients = run_gradient(component, [flow, flow], np.ones((2, 1, 24, 32), np.float32), [0, 1])
        assert all(np.isfinite(g).all() for g in gradients), name


def test_confidence_is_how_far_the_flows_cancel():
    found = run(agreement, constant(3, 0), constant(-2, 0))  # a gap of 1 px, and of 3 where the frame ends
    assert found.shape == (2, 1, 24, 32)
    np.testing.assert_allclose(found[..., :-3], np.exp(-1), rtol=1e-5)
    np.testing.assert_allclose(found[..., -3:], np.exp(-3), rtol=1e-5)
