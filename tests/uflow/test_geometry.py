"""Conventions of geometry by hand: x is to the right, y is down, channel 0 is x."""

import numpy as np
import pytest
from goldens.graph import Fixed, Several, run, run_gradient

from uflow.losses import supervised
from uflow.ops import geometry


def flow(x=0.0, y=0.0, size=(6, 8)):
    found = np.zeros((1, 2, *size), np.float32)
    found[:, 0], found[:, 1] = x, y
    return found


def ramp(axis, size=(6, 8)):
    rows, columns = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in size), indexing="ij")
    return (columns if axis == "x" else rows)[None, None].copy()


def test_warping_reads_to_the_right_for_a_positive_x_and_below_for_a_positive_y():
    np.testing.assert_allclose(
        run(geometry.warp, ramp("x"), flow(x=2.5))[0, 0, 0], [2.5, 3.5, 4.5, 5.5, 6.5, 3.5, 0, 0]
    )
    np.testing.assert_allclose(run(geometry.warp, ramp("y"), flow(y=1))[0, 0, :, 0], [1, 2, 3, 4, 5, 0])
    np.testing.assert_allclose(run(geometry.warp, ramp("x"), flow(y=1))[0, 0, 0], np.arange(8))


def test_a_whole_coordinate_has_no_derivative():
    _, (still,) = run_gradient(geometry.warp, [ramp("x"), flow()], np.ones((1, 1, 6, 8), np.float32), [1])
    assert (still == 0).all()
    _, (moving,) = run_gradient(geometry.warp, [ramp("x"), flow(x=0.5)], np.ones((1, 1, 6, 8), np.float32), [1])
    np.testing.assert_allclose(moving[0, 0, 0, :6], 1)
    assert (moving[0, 1] == 0).all()


def test_the_border_belongs_to_the_frame():
    inside = run(Several(geometry.inside_frame), flow(x=2))[0][0, 0]
    assert (inside == [1, 1, 1, 1, 1, 1, 0, 0]).all()
    inside = run(Several(geometry.inside_frame), flow(y=-1.5))[0][0, 0]
    assert (inside[:2] == 0).all() and (inside[2:] == 1).all()


def test_resizing_a_flow_scales_each_component_by_its_own_direction():
    np.testing.assert_allclose(
        run(Fixed(geometry.resize_flow, 18, 16), flow(1, 1)), flow(2, 3, size=(18, 16)), rtol=1e-6
    )
    np.testing.assert_allclose(run(geometry.upsample_flow, flow(1, 3)), flow(2, 6, size=(12, 16)), rtol=1e-6)
    np.testing.assert_allclose(run(geometry.downsample_flow, flow(1, 3, (5, 7))), flow(0.5, 1.5, (2, 3)), rtol=1e-6)


def test_resizing_has_half_pixel_centers_and_no_antialiasing():
    row = np.array([0.0, 4.0], np.float32).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(run(Fixed(geometry.resize, 1, 4), row).ravel(), [0, 1, 3, 4])
    point = np.zeros((1, 1, 1, 8), np.float32)
    point[..., 3] = 1  # the second of two pixels has its center at 5.5, the first at 1.5: none sees the point
    np.testing.assert_allclose(run(Fixed(geometry.resize, 1, 2), point).ravel(), [0, 0])


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_a_range_map_of_no_motion_is_one(factor):
    """Upstream raises for a factor over 1 unless the bias is reduced, which is always done here."""
    found = run(Fixed(geometry.range_map, factor), flow(size=(12, 12)))
    np.testing.assert_allclose(found[0, 0, 2:-2, 2:-2], 1, atol=1e-6)


def test_a_range_map_counts_what_arrives():
    meeting = flow()
    meeting[0, 0, 2, 3], meeting[0, 1, 1, 4] = 1, 1  # into row 2, column 4, from the left and from above
    found = run(Fixed(geometry.range_map, 1), meeting)[0, 0]
    assert found[2, 4] == 3 and found[2, 3] == 0 and found[1, 4] == 0 and found.sum() == 48


def test_the_cost_of_a_displacement_has_its_own_channel():
    first, second = np.zeros((2, 1, 2, 6, 8), np.float32)
    first[0, :, 2, 3], second[0, :, 3, 5] = 3, 5  # one down, two to the right
    cost = run(Fixed(geometry.cost_volume, 2), first, second)[0]
    found = np.argwhere(cost)
    assert found.tolist() == [[(1 + 2) * 5 + (2 + 2), 2, 3]] and cost.max() == 15  # a mean over channels, not a sum


def test_the_supervised_loss_compares_at_the_size_of_the_truth():
    truth, valid = flow(8, 4, (24, 32)), np.zeros((1, 1, 24, 32), np.float32)
    valid[..., 3, 5] = 1
    truth[0, 0, 3, 5] = 11  # off by 3 in x; what is not valid is off by more
    truth[0, 1, 0, 0] = 99
    loss = run(supervised.supervised_loss, flow(2, 1), truth, valid)
    assert loss == pytest.approx((9 + 1e-6) ** 0.5 + 1e-3, rel=1e-5)


def test_the_image_at_a_level_is_the_mean_of_its_pixels():
    image = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
    whole, half, quarter = run(Several(*(Fixed(geometry.image_at_level, level) for level in range(3))), image)
    np.testing.assert_array_equal(whole, image)
    np.testing.assert_allclose(half[0, 0, 0], [4.5, 6.5, 8.5, 10.5])
    np.testing.assert_allclose(quarter[0, 0], [[13.5, 17.5], [45.5, 49.5]])


def test_averages_are_of_neighbors_along_their_axis():
    rows, columns = run(
        Several(geometry.average_along_rows, geometry.average_along_columns), ramp("x") + 10 * ramp("y")
    )
    assert rows.shape == (1, 1, 5, 8) and columns.shape == (1, 1, 6, 7)
    assert rows[0, 0, 0, :2].tolist() == [5, 6] and columns[0, 0, :2, 0].tolist() == [0.5, 10.5]


def test_a_unit_activation_weighs_all_channels_alike():
    features = np.zeros((2, 2, 1, 2), np.float32)
    features[0, :, 0, 0] = 1, -30  # channel sums over the batch: 4 and 40
    features[1, :, 0, 1] = 3, 10
    found = run(geometry.unit_activation, features)
    np.testing.assert_allclose(found[0, :, 0, 0], [0.25, -0.75], rtol=1e-6)
    np.testing.assert_allclose(found[1, :, 0, 1], [0.75, 0.25], rtol=1e-6)
    assert (found[0, :, 0, 1] == 0).all()
