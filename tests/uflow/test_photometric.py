"""Contract of every photometric component, one value of each by hand, and what must not count."""

import numpy as np
import pytest
from goldens.graph import run, run_gradient

from uflow import registry
from uflow.components import Components

NAMES = registry.names("photometric")


def frames(seed=0, size=(12, 14)):
    generator = np.random.default_rng(seed)
    return [generator.random((2, 3, *size), np.float32) for _ in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    component = registry.build("photometric", name)
    image, other = frames()
    visible = np.ones((2, 1, 12, 14), np.float32)
    visible[:, :, :, 7:] = 0

    def term(*inputs):
        return run_gradient(component, inputs, np.float32(1), [1, 2])

    loss, (gradient, by_mask) = term(image, other, visible)
    assert np.isfinite(by_mask).all() and (by_mask != 0).any()
    assert loss.shape == () and np.isfinite(loss) and np.isfinite(gradient).all()
    assert component.weight > 0 and loss > term(image, image, visible)[0]
    # what is hidden counts for nothing, however wrong it is; a patch reaches 3 px over the edge of the mask
    far = other.copy()
    far[:, :, :, 11:] = 1 - far[:, :, :, 11:]
    assert term(image, far, visible)[0] == pytest.approx(float(loss), rel=1e-6)
    assert (gradient[..., 11:] == 0).all() and (gradient[..., 2:5] != 0).any()
    # one half of the mask is not the other
    assert term(image, far, visible[..., ::-1])[0] != pytest.approx(float(loss), rel=1e-3)
    nothing, (gradient, _) = term(image, other, np.zeros_like(visible))
    assert np.isfinite(nothing) and np.isfinite(gradient).all()


COLORS = [
    ("l1", {}, 0.3 + 0.2 + 1e-6),
    ("charbonnier", {}, (0.09 + 1e-6) ** 0.5 + (0.04 + 1e-6) ** 0.5 + 1e-3),
    ("charbonnier", {"epsilon": 0.4}, 0.5 + 0.2**0.5 + 0.4),
    ("ddflow", {}, 0.31**0.4 + 0.21**0.4 + 0.01**0.4),
    ("ddflow", {"epsilon": 0.1, "exponent": 2.0}, 0.16 + 0.09 + 0.01),
]


@pytest.mark.parametrize(("name", "options", "wanted"), COLORS)
def test_differences_of_colors_are_added_up_over_channels_and_averaged_over_visible_pixels(name, options, wanted):
    image = np.zeros((1, 3, 1, 2), np.float32)
    image[0, :, 0, 0] = 0.3, -0.2, 0.0
    image[0, :, 0, 1] = 1.0  # hidden
    visible = np.array([1.0, 0.0], np.float32).reshape(1, 1, 1, 2)
    loss = run(registry.build("photometric", name, options), image, np.zeros_like(image), visible)
    assert loss == pytest.approx(wanted, rel=1e-6)


def test_the_census_of_a_pixel_reaches_as_far_as_its_patch():
    image, visible = np.zeros((1, 3, 7, 11), np.float32), np.zeros((1, 1, 7, 11), np.float32)
    image[..., 3, 7] = 1
    component = registry.build("photometric", "census", {"patch": 3, "distance": "l1"})
    # the last pixel that has its patch in the frame, two rows and columns from the bright one
    visible[..., 5, 9] = 1
    assert run(component, image, np.zeros_like(image), visible) == pytest.approx(1e-6, rel=1e-3)
    visible[..., 5, 9], visible[..., 4, 8] = 0, 1
    square = (254.9745**2) / (0.81 + 254.9745**2)
    wanted = (square / (0.1 + square) + 1e-6) / (1 + 77e-6)
    assert run(component, image, np.zeros_like(image), visible) == pytest.approx(wanted, rel=1e-5)


def test_the_census_mask_has_a_gradient_by_its_numerator_only():
    image = np.full((1, 3, 3, 3), 10 / 255 / 0.9999, np.float32)
    image[..., 1, 1] = 0
    hamming = 8 * (100 / 100.81) / (0.1 + 100 / 100.81)
    component = registry.build("photometric", "census", {"patch": 3, "distance": "l1"})
    inputs = [image, np.zeros_like(image), np.ones((1, 1, 3, 3), np.float32)]
    _, (gradient,) = run_gradient(component, inputs, np.float32(1), [2])
    assert gradient[0, 0, 1, 1] == pytest.approx(hamming / (1 + 9e-6), rel=1e-4)
    assert gradient.sum() == gradient[0, 0, 1, 1]


def test_census_of_one_patch():
    # eight neighbors are brighter by 10 gray values: t = 10 / sqrt(0.81 + 100), each neighbor gives t^2 / (0.1 + t^2)
    image = np.full((1, 3, 3, 3), 10 / 255 / 0.9999, np.float32)  # the weights of the colors add up to 0.9999
    image[..., 1, 1] = 0
    square = 100 / 100.81
    hamming = 8 * square / (0.1 + square)
    component = registry.build("photometric", "census", {"patch": 3, "distance": "l1"})
    loss = run(component, image, np.zeros_like(image), np.ones((1, 1, 3, 3), np.float32))
    # only the inner pixel has its patch in the frame, and 1e-6 is added to the denominator for each of the nine
    assert loss == pytest.approx((hamming + 1e-6) / (1 + 9e-6), rel=1e-5)
    hardly = np.full((1, 1, 3, 3), 1e-5, np.float32)
    loss = run(component, image, np.zeros_like(image), hardly)
    assert loss == pytest.approx((hamming + 1e-6) * 1e-5 / (1e-5 + 9e-6), rel=1e-4)


def test_census_does_not_see_a_change_of_brightness():
    image = frames()[0] / 2
    component = registry.build("photometric", "census")
    visible = np.ones((2, 1, 12, 14), np.float32)
    same, brighter = run(component, image, image, visible), run(component, image, image + np.float32(0.25), visible)
    assert brighter == pytest.approx(float(same), rel=1e-3)


def test_ssim_of_one_patch():
    image = np.zeros((1, 3, 3, 3), np.float32)
    image[..., 1, 1] = 1  # variance 1/9 - 1/81, no covariance with an empty patch
    visible = np.ones((1, 1, 3, 3), np.float32)
    similarity = 9e-6 / (8 / 81 + 9e-6)
    loss = run(registry.build("photometric", "ssim"), image, np.zeros_like(image), visible)
    assert loss == pytest.approx(3 * (1 - similarity) / 2, rel=1e-5)
    similarity = 0.05 / (8 / 81 + 0.05)
    structure = registry.build("photometric", "ssim", {"c1": 0.02, "c2": 0.05})
    assert run(structure, image, np.zeros_like(image), visible) == pytest.approx(3 * (1 - similarity) / 2, rel=1e-5)
    # means 1/9 and 0
    similarity = 0.02 / (1 / 81 + 0.02)
    luminance = registry.build("photometric", "ssim", {"factors": "luminance", "c1": 0.02, "c2": 0.05})
    assert run(luminance, image, np.zeros_like(image), visible) == pytest.approx(3 * (1 - similarity) / 2, rel=1e-5)


def test_ssim_gives_a_hidden_pixel_a_hundredth_of_the_weight():
    image, visible = np.zeros((1, 3, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32)
    image[..., 0, 0] = image[..., 1, 1] = 1
    visible[..., 1, 1] = 0
    mean = (1.01 + 0.01) / (8 * 1.01 + 0.01)
    similarity = 9e-6 / (mean - mean**2 + 9e-6)
    loss = run(registry.build("photometric", "ssim"), image, np.zeros_like(image), visible)
    assert loss == pytest.approx(3 * (1 - similarity) / 2, rel=1e-5)
    # both factors: the mean of an empty patch is 0
    similarity *= 1e-4 / (mean**2 + 1e-4)
    both = registry.build("photometric", "ssim", {"factors": "both"})
    assert run(both, image, np.zeros_like(image), visible) == pytest.approx(3 * (1 - similarity) / 2, rel=1e-6)


@pytest.mark.parametrize("across", [True, False], ids=["columns", "rows"])
def test_gradient_constancy_of_three_pixels(across):
    image, visible = np.zeros((1, 3, 1, 3), np.float32), np.ones((1, 1, 1, 3), np.float32)
    image[0, 0, 0], image[0, 2, 0] = (0.3, 0.0, 0.1), -0.1
    visible[..., 2] = 0
    component = registry.build("photometric", "gradient_constancy", {"gamma": 4.0, "epsilon": 0.2})
    # squares of brightness 0.10 and 0.01; gradients -0.15, at the border one-sided and halved, and -0.1
    wanted = ((0.10 + 4 * 0.0225 + 0.04) ** 0.5 + (0.01 + 4 * 0.01 + 0.04) ** 0.5) / 2
    inputs = (x if across else x.swapaxes(2, 3) for x in (image, np.zeros_like(image), visible))
    assert run(component, *inputs) == pytest.approx(wanted, rel=1e-6)


def test_the_gradient_does_not_see_a_change_of_brightness():
    image = frames()[0] / 2
    component = registry.build("photometric", "gradient_constancy", {"gamma": 1e6})
    loss = run(component, image, image + np.float32(0.25), np.ones((2, 1, 12, 14), np.float32))
    assert loss == pytest.approx((3 * 0.0625 + 1e-6) ** 0.5, rel=1e-4)


def test_ncc_of_one_patch():
    image, other, visible = np.zeros((3, 1, 3, 3, 3), np.float32)
    image[:, :2, 1, 1] = 1
    other[:, 0, 1, 1] = other[:, 0, 0, 0] = 1
    other[:, 1] = 1 - image[:, 1]
    visible = visible[:, :1] + 1
    component = registry.build("photometric", "ncc", {"patch": 3, "epsilon": 0.05})
    # of ninths: variances 8/81 and 14/81, covariance 7/81; the second channel is inverted, the third one flat
    alike = (7 / 81 + 0.05) / ((8 / 81 + 0.05) * (14 / 81 + 0.05)) ** 0.5
    inverted = (-8 / 81 + 0.05) / (8 / 81 + 0.05)
    assert run(component, image, other, visible) == pytest.approx((1 - alike) + (1 - inverted), rel=1e-5)
    # without the corner, of eighths, the first channel is the same in both, whatever the corner holds
    visible[..., 0, 0], image[..., 0, 0], other[..., 0, 0] = 0, 0.5, 0.75
    inverted = (-7 / 64 + 0.05) / (7 / 64 + 0.05)
    assert run(component, image, other, visible) == pytest.approx(1 - inverted, rel=1e-4)


def test_ncc_does_not_see_a_change_of_brightness_and_contrast():
    image, visible = frames()[0], np.ones((2, 1, 12, 14), np.float32)
    component = registry.build("photometric", "ncc", {"epsilon": 1e-6})
    assert run(component, image, image / 2 + np.float32(0.25), visible) == pytest.approx(0, abs=1e-4)
    assert run(component, image, 1 - image, visible) == pytest.approx(6, rel=1e-4)


def test_the_mixture_of_arflow_on_one_patch():
    image, visible = np.zeros((1, 3, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32)
    image[..., 1, 1] = 1
    similarity = 1e-4 / (1 / 81 + 1e-4) * 9e-4 / (8 / 81 + 9e-4)
    loss = run(registry.build("photometric", "arflow"), image, np.zeros_like(image), visible)
    assert loss == pytest.approx(3 * (0.15 / 9 + 0.85 * (1 - similarity) / 2), rel=1e-5)
    mixed = registry.build("photometric", "arflow", {"l1_weight": 2.0, "ssim_weight": 0.5, "factors": "structure"})
    visible[..., 0, 0] = 0
    mean = 1.01 / (8 * 1.01 + 0.01)
    similarity = 9e-4 / (mean - mean**2 + 9e-4)
    loss = run(mixed, image, np.zeros_like(image), visible)
    assert loss == pytest.approx(3 * (2 / 8 + 0.5 * (1 - similarity) / 2), rel=1e-5)
    with pytest.raises(ValueError, match="l1_weight and ssim_weight must not both be 0"):
        registry.build("photometric", "arflow", {"l1_weight": 0, "ssim_weight": 0})


def test_a_mixture_is_the_weighted_sum_of_its_parts_and_changes_once():
    # gray values differ by 10 from all eight neighbors of the only pixel whose patch of census is in the frame
    difference = 10 / 255 / 0.9999
    image, visible = np.full((1, 3, 3, 3), difference, np.float32), np.ones((1, 1, 3, 3), np.float32)
    image[..., 1, 1] = 0
    square = 100 / 100.81
    census = (8 * square / (0.1 + square) + 1e-6) / (1 + 9e-6)
    colors = 3 * difference * 8 / 9
    options = {"l1_weight": 2.0, "ssim_weight": 0.0, "census_weight": 0.25, "patch": 3, "distance": "l1", "change": 0.5}
    mixture = registry.build("photometric", "mixture", options)
    inputs = image, np.zeros_like(image), visible
    assert run(mixture, *inputs) == pytest.approx(2 * colors + 0.25 * census, rel=1e-5)
    assert run(mixture.changed(), *inputs) == pytest.approx(census, rel=1e-5)
    chosen = {axis: registry.build(axis, "none") for axis in Components.axes() if axis != "photometric"}
    components = Components(photometric=mixture, **chosen)
    assert components.starts(10) == (5,) and components.weights_at(7, 10)[0] == 1
    assert components.active_at(4, 10).photometric == mixture
    assert components.active_at(5, 10).photometric == mixture.changed()
    still = Components(photometric=registry.build("photometric", "mixture"), **chosen)
    assert still.starts(10) == () and still.active_at(10, 10) == still
    with pytest.raises(ValueError, match="late_l1_weight, late_ssim_weight and late_census_weight must not all be 0"):
        registry.build("photometric", "mixture", {"late_census_weight": 0})
