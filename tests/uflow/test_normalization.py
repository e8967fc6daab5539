"""Contract of every normalization, one value by hand, and who influences whom."""

import numpy as np
import pytest
from goldens.graph import Fixed, run

from uflow import registry

NAMES = registry.names("normalization")


def maps(seed=0):
    generator = np.random.default_rng(seed)
    return [3 + 2 * generator.standard_normal((4, 5, 6, 7)).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    component = registry.build("normalization", name, {"channel_groups": 5} if name == "group" else {})
    first, second = maps()
    found = run(Fixed(component, 2), first, second)
    assert [x.shape for x in found] == [first.shape, second.shape] and all(np.isfinite(x).all() for x in found)
    # constant features, as of a black image, must not become NaN
    assert all(np.isfinite(x).all() for x in run(Fixed(component, 2), np.ones_like(first), np.ones_like(second)))
    # groups do not know of each other
    changed = first.copy()
    changed[2:] += 100
    for before, after in zip(found, run(Fixed(component, 2), changed, second), strict=True):
        np.testing.assert_allclose(after[:2], before[:2], rtol=1e-6)


def test_none_changes_nothing():
    for given, found in zip(maps(), run(Fixed(registry.build("normalization", "none"), 1), *maps()), strict=True):
        np.testing.assert_array_equal(found, given)


def test_the_variance_is_the_mean_of_the_images_and_not_pooled():
    first = np.array([0, 2], np.float32).reshape(1, 1, 1, 2)  # mean 1, variance 1
    second = np.array([10, 14], np.float32).reshape(1, 1, 1, 2)  # mean 12, variance 4
    found = run(Fixed(registry.build("normalization", "center_scale"), 1), first, second)
    np.testing.assert_allclose(found[0].ravel(), (np.array([0, 2]) - 6.5) / 2.5**0.5, rtol=1e-6)
    np.testing.assert_allclose(found[1].ravel(), (np.array([10, 14]) - 6.5) / 2.5**0.5, rtol=1e-6)


def test_each_image_by_itself_has_mean_0_and_variance_1():
    component = registry.build("normalization", "center_scale", {"across_images": False})
    for found in run(Fixed(component, 1), *maps()):
        np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), 0, atol=1e-5)
        np.testing.assert_allclose(found.var(axis=(1, 2, 3)), 1, rtol=1e-4)


def test_each_channel_by_itself_has_mean_0_and_variance_1():
    component = registry.build("normalization", "center_scale", {"across_images": False, "across_channels": False})
    for found in run(Fixed(component, 1), *maps()):
        np.testing.assert_allclose(found.mean(axis=(2, 3)), 0, atol=1e-5)
        np.testing.assert_allclose(found.var(axis=(2, 3)), 1, rtol=1e-4)


def test_the_switches_leave_out_a_step_each():
    first, second = maps()
    both, center, scale = (
        run(Fixed(registry.build("normalization", "center_scale", options), 1), first, second)[0]
        for options in ({}, {"scale": False}, {"center": False})
    )
    np.testing.assert_allclose(center.std() / both.std(), first.std() / scale.std(), rtol=1e-4)
    np.testing.assert_allclose(first / scale, np.full_like(first, first.std() / scale.std()), rtol=1e-4)
    np.testing.assert_allclose(first - center, np.full_like(first, (first.mean() + second.mean()) / 2), rtol=1e-4)


# two pixels of four channels each, in each image
FIRST = np.array([[1, 3], [5, 7], [10, 10], [20, 40]], np.float32).reshape(1, 4, 1, 2)
SECOND = np.array([[3, 4], [0, 0], [4, 3], [0, 0]], np.float32).reshape(1, 4, 1, 2)


def normalized(name, **options):
    return [x.reshape(4, 2) for x in run(Fixed(registry.build("normalization", name, options), 1), FIRST, SECOND)]


def test_layer_normalization_has_one_mean_and_variance_for_all_of_an_image():
    first, second = normalized("layer", epsilon=1.0)
    # mean 12, squares 121 + 81 + 49 + 25 + 4 + 4 + 64 + 784
    np.testing.assert_allclose(first, (FIRST.reshape(4, 2) - 12) / (1132 / 8 + 1) ** 0.5, rtol=1e-6)
    np.testing.assert_allclose(second, (SECOND.reshape(4, 2) - 1.75) / (50 / 8 - 1.75**2 + 1) ** 0.5, rtol=1e-6)


def test_layer_normalization_of_pixels_makes_the_cost_a_correlation_coefficient():
    first, second = normalized("layer", each="pixel", epsilon=1e-12)
    # pixel 0: mean 9, squares 64 + 16 + 1 + 121; pixel 1: mean 15, squares 144 + 64 + 25 + 625
    np.testing.assert_allclose(first[:, 0], np.array([-8, -4, 1, 11]) / (202 / 4) ** 0.5, rtol=1e-6)
    np.testing.assert_allclose(first[:, 1], np.array([-12, -8, -5, 25]) / (858 / 4) ** 0.5, rtol=1e-6)
    for pixel in (0, 1):
        wanted = np.corrcoef(FIRST[0, :, 0, pixel], SECOND[0, :, 0, pixel])[0, 1]
        assert (first * second)[:, pixel].mean() == pytest.approx(wanted, abs=1e-6)


def test_instance_normalization_is_of_each_channel_by_itself():
    first, _ = normalized("instance", epsilon=1.0)
    # deviations 1, 1, 0 and 10 from the means of two pixels
    wanted = np.array([1 / 2**0.5, 1 / 2**0.5, 0, 10 / 101**0.5])
    np.testing.assert_allclose(first, np.stack([-wanted, wanted], 1), rtol=1e-6)


def test_group_normalization_is_of_consecutive_channels():
    first, _ = normalized("group", channel_groups=2, epsilon=1.0)
    # channels 0 and 1: mean 4, variance (9 + 1 + 1 + 9) / 4; channels 2 and 3: mean 20, variance (100 + 100 + 400) / 4
    np.testing.assert_allclose(first[:2], [[-3 / 6**0.5, -1 / 6**0.5], [1 / 6**0.5, 3 / 6**0.5]], rtol=1e-6)
    np.testing.assert_allclose(first[2:], [[-10 / 151**0.5, -10 / 151**0.5], [0, 20 / 151**0.5]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("parts", "name"), [(1, "layer"), (5, "instance")])
def test_one_group_is_layer_and_a_group_a_channel_is_instance_normalization(parts, name):
    grouped = run(Fixed(registry.build("normalization", "group", {"channel_groups": parts}), 1), *maps())
    for found, wanted in zip(grouped, run(Fixed(registry.build("normalization", name), 1), *maps()), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_l2_makes_the_cost_a_cosine():
    first, second = normalized("l2", epsilon=1e-12)
    np.testing.assert_allclose(second, np.array([[6, 8], [0, 0], [8, 6], [0, 0]]) / 5, rtol=1e-6)  # length sqrt(4)
    # (1, 5, 10, 20) and (3, 0, 4, 0)
    assert (first * second)[:, 0].mean() == pytest.approx(43 / (526**0.5 * 5), rel=1e-6)
    first, second = normalized("l2", epsilon=0.75)
    np.testing.assert_allclose(second[:, 0], np.array([3, 0, 4, 0]) / 7**0.5, rtol=1e-6)


@pytest.mark.parametrize("name", ["layer", "instance", "group", "l2"])
def test_each_image_is_normalized_alone(name):
    first, second = maps()
    component = Fixed(registry.build("normalization", name, {"channel_groups": 5} if name == "group" else {}), 1)
    found = run(component, first, second)
    changed = second.copy()
    changed[1:] *= 3
    again = run(component, first, changed)
    np.testing.assert_array_equal(again[0], found[0])
    np.testing.assert_array_equal(again[1][:1], found[1][:1])
