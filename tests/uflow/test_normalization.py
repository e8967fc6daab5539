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
    component = registry.build("normalization", name)
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
