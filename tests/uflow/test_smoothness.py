"""Contract of every smoothness component, one value of each by hand, and scenes whose answer is known."""

import numpy as np
import pytest
from goldens.graph import Fixed, run, run_gradient
from scipy import ndimage
from skimage import color, data, segmentation, transform

from uflow import registry
from uflow.ops import slic

NAMES = [n for n in registry.names("smoothness") if n != "none"]
FLAT = np.full((1, 3, 8, 10), 0.5, np.float32)


def field(x=0.0, y=0.0):
    """A flow whose components are functions of the place."""
    rows, columns = np.meshgrid(np.arange(8.0), np.arange(10.0), indexing="ij")
    parts = [part(columns, rows) if callable(part) else np.full((8, 10), part) for part in (x, y)]
    return np.stack(parts)[None].astype(np.float32)


def edge(axis, at):
    """Black on one side of a line between two columns (axis 3) or rows (axis 2), white on the other."""
    image = np.zeros((1, 3, 8, 10), np.float32)
    image[(slice(None),) * axis + (slice(at, None),)] = 1
    return image


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    component = registry.build("smoothness", name)
    generator = np.random.default_rng(0)
    image = generator.random((2, 3, 9, 9), np.float32)
    flow = generator.standard_normal((2, 2, 9, 9)).astype(np.float32)
    loss, (gradient,) = run_gradient(component, [image, flow], np.float32(1), [1])
    assert loss.shape == () and np.isfinite(loss) and np.isfinite(gradient).all() and (gradient != 0).any()
    assert component.weight > 0 and component.level in (0, 1, 2)
    still, (gradient,) = run_gradient(component, [image, np.zeros_like(flow)], np.float32(1), [1])
    assert 0 < still < loss and (gradient == 0).all()
    # both components and both directions weigh the same
    turned = [image.swapaxes(2, 3), flow[:, ::-1].swapaxes(2, 3)]
    turned, _ = run_gradient(component, turned, np.float32(1), [1])
    assert turned == pytest.approx(float(loss), rel=1e-5)


def test_none_is_zero():
    assert run(registry.build("smoothness", "none"), FLAT, field(x=lambda x, y: 3 * x)) == 0


def test_first_order_of_a_ramp_is_its_slope():
    component = registry.build("smoothness", "first_order")
    # x grows by 2 from column to column: half of the components along one of two directions; the rest is 0.001
    loss = run(component, FLAT, field(x=lambda x, y: 2 * x))
    assert loss == pytest.approx((((4 + 1e-6) ** 0.5 + 1e-3) / 2 + 1e-3) / 2, rel=1e-6)
    assert run(component, FLAT, field(x=7, y=-3)) == pytest.approx(1e-3, rel=1e-4)


def test_second_order_of_a_parabola_is_its_curvature():
    component = registry.build("smoothness", "second_order")
    loss = run(component, FLAT, field(y=lambda x, y: y**2))
    assert loss == pytest.approx((((4 + 1e-6) ** 0.5 + 1e-3) / 2 + 1e-3) / 2, rel=1e-5)
    assert run(component, FLAT, field(x=lambda x, y: 3 * x - y)) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [2, 3])
def test_a_jump_of_the_flow_is_free_at_an_edge_of_the_image_and_only_there(name, axis):
    component = registry.build("smoothness", name)
    jump = field(x=(lambda x, y: 5.0 * (x >= 4)) if axis == 3 else (lambda x, y: 5.0 * (y >= 4)))
    at, away, across = edge(axis, 4), edge(axis, 7), edge(5 - axis, 4)
    free, asked, other = (run(component, image, jump) for image in (at, away, across))
    assert free < 2e-3 < 0.1 < asked
    assert other == pytest.approx(float(run(component, FLAT, jump)), rel=0.3) and other > 0.1


@pytest.mark.parametrize(("name", "slope"), [("first_order", 0.1), ("second_order", 0.05)])
def test_the_edge_constant_enters_the_gaussian_weight_squared(name, slope):
    # 0.1 to the pixel that one is compared with: the next for the first order, the next but one for the second
    image = np.broadcast_to(slope * np.arange(10, dtype=np.float32), (1, 3, 8, 10)).copy()
    flow = field(x=(lambda x, y: 2 * x) if name == "first_order" else (lambda x, y: x**2))
    root, small = (4 + 1e-6) ** 0.5, 1e-3
    for weighting, strength in (("exponential", 20 * 0.1), ("gaussian", (20 * 0.1) ** 2)):
        component = registry.build("smoothness", name, {"edge_constant": 20, "edge_weighting": weighting})
        wanted = (np.exp(-strength) * (root + small) / 2 + small) / 2
        assert run(component, image, flow) == pytest.approx(wanted, rel=1e-4)


def test_bilateral_smoothness_of_three_columns_and_of_a_diagonal():
    # of columns that differ by 3 and 1 in x, the middle one differs by 0.1 in the image; of the window's half there are
    # one offset along rows, one along columns and two diagonals
    near, diagonal, edge = np.exp(-1 / 8), np.exp(-2 / 8), np.exp(-(2.0**2))
    component = registry.build("smoothness", "bilateral", {"radius": 1, "deviation": 2.0})
    image, flow = np.zeros((1, 3, 8, 10), np.float32), np.zeros((1, 2, 8, 10), np.float32)
    image[..., 1], flow[0, 0] = 0.1, (0, 3, 4, 4, 4, 4, 4, 4, 4, 4)
    across = (edge * (3 + 1 + 2e-3) + 14 * 1e-3) / 18  # nine pairs in a row, of two components each
    wanted = (near * across + near * 1e-3 + 2 * diagonal * across) / (2 * near + 2 * diagonal)
    assert run(component, image, flow) == pytest.approx(wanted, rel=1e-4)
    # x - y grows by 1 along rows, and by 0 and 2 along the diagonals
    steps = [near * (1 + 1e-3), near * (1 + 1e-3), diagonal * 2e-3, diagonal * (2 + 1e-3)]
    wanted = sum(steps) / 2 / (2 * near + 2 * diagonal)
    assert run(component, FLAT, field(x=lambda x, y: x - y)) == pytest.approx(wanted, rel=1e-4)


def test_bilateral_smoothness_is_that_of_all_pairs_in_a_wide_window():
    options = {"radius": 2, "deviation": 1.5, "edge_constant": 4.0, "edge_weighting": "exponential"}
    component = registry.build("smoothness", "bilateral", options)
    generator = np.random.default_rng(0)
    image, flow = generator.random((2, 3, 8, 10)), 2 * generator.standard_normal((2, 2, 8, 10))
    total = weights = 0.0
    for down, across in ((y, x) for y in range(-2, 3) for x in range(-2, 3) if x or y):  # both of d and -d here
        rows, columns = slice(max(-down, 0), 8 - max(down, 0)), slice(max(-across, 0), 10 - max(across, 0))
        there = slice(rows.start + down, rows.stop + down), slice(columns.start + across, columns.stop + across)
        change, edge = (x[:, :, *there] - x[:, :, rows, columns] for x in (flow, image))
        alike = np.exp(-np.abs(4 * edge).mean(axis=1, keepdims=True))
        near = np.exp(-(down**2 + across**2) / (2 * 1.5**2))
        total, weights = total + near * (alike * np.sqrt(change**2 + 1e-6)).mean(), weights + near
    assert run(component, np.float32(image), np.float32(flow)) == pytest.approx(total / weights, rel=1e-4)


@pytest.mark.parametrize("axis", [2, 3])
def test_only_edges_between_superpixels_are_heeded_and_not_the_texture_in_them(axis):
    # of cells of 4 px the first has one white column, which goes to the second; another one is dark, which stays
    image = edge(3, 3)[:, :, :, :8].copy()
    image[..., 1] = 0.05
    component, turned = registry.build("smoothness", "superpixels", {"side": 4}), axis == 2
    for picture, free in ((image, 3), (FLAT[..., :8], None)):
        for at in range(1, 8):
            jump = field(x=lambda x, y, at=at: 5.0 * (x >= at))[..., :8]
            given = [part.swapaxes(2, 3) if turned else part for part in (picture, jump)]
            steps = [5.0 if column == at else 1e-3 for column in range(1, 8) if column != free]
            # seven steps of x and of y from column to column, none from row to row
            wanted = ((sum(steps) + len(steps) * 1e-3) / 14 + 1e-3) / 2
            assert run(component, *given) == pytest.approx(wanted, rel=1e-4), (free, at)


def segments(image, side, compactness):
    """Which superpixel each pixel is in, by k-means that looks at all centers and forgets those that are too far."""
    _, h, w = image.shape
    rows, columns = np.mgrid[:h, :w]
    cell = rows // side, columns // side
    across = -(-w // side)
    label, centers = cell[0] * across + cell[1], np.zeros((-(-h // side) * across, 5))
    place = np.stack((columns, rows), -1) * compactness / side
    seen = np.concatenate((color.rgb2lab(image.transpose(1, 2, 0)), place), -1)
    down, right = np.divmod(np.arange(len(centers)), across)
    near = (np.abs(down - cell[0][..., None]) <= 1) & (np.abs(right - cell[1][..., None]) <= 1)
    for _ in range(slic.ITERATIONS):
        centers = np.stack([seen[label == k].mean(0) if (label == k).any() else old for k, old in enumerate(centers)])
        label = np.where(near, ((seen[:, :, None] - centers) ** 2).sum(-1), np.inf).argmin(-1)
    return label


def painted(image, label):
    """The mean color of its segment at every pixel."""
    return np.stack([ndimage.mean(channel, label, np.arange(label.max() + 1))[label] for channel in image])


def test_superpixels_are_those_of_k_means_also_where_cells_are_cut():
    # two of noise in which a superpixel loses all of its pixels and, where it was, wins some again
    images = np.float32([np.random.default_rng(seed).random((3, 9, 14)) for seed in (9, 28)])
    found = run(Fixed(slic.superpixel_means, 4, 5.0), images)
    for image, means in zip(images, found, strict=True):
        label = segments(image, 4, 5.0)
        assert len(np.unique(label)) > 6 and (label != segments(image, 4, 1e3)).any()
        np.testing.assert_allclose(means, painted(image, label), atol=1e-5)


def test_superpixels_of_a_photograph_are_nearly_those_of_scikit_image():
    photo = transform.resize(data.astronaut(), (96, 128), anti_aliasing=True).astype(np.float32)
    image = photo.transpose(2, 0, 1)
    means = run(Fixed(slic.superpixel_means, 8, 10.0), image[None])[0]
    theirs = segmentation.slic(photo, 192, compactness=10, enforce_connectivity=False, start_label=0)
    rows, columns = np.mgrid[:96, :128]
    grid = painted(image, rows // 8 * 16 + columns // 8)

    def borders(painting):
        return np.abs(np.diff(painting, axis=1)).sum(0)[:, 1:] + np.abs(np.diff(painting, axis=2)).sum(0)[1:] > 0

    def left(painting):
        return ((image - painting) ** 2).sum()

    wanted = borders(painted(image, theirs))
    assert borders(grid)[wanted].mean() < 0.3 and borders(means)[wanted].mean() > 0.7
    assert left(means) < 1.3 * left(painted(image, theirs)) < 0.15 * left(grid)
