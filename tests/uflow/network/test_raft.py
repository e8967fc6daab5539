"""RAFT: costs and looks at them by hand, updates by hand, and the flows of torchvision's with the same weights."""

import pathlib

import numpy as np
import pytest
from goldens.graph import run, tensors

from uflow import backend as ms
from uflow import registry
from uflow.models.flow_network import initialize

# flows at an eighth of the size, newest first, that `raft_small` of torchvision 0.29.1 has after three updates with the
# weights and the images of `test_flows_are_those_of_torchvision`
FLOWS = pathlib.Path(__file__).with_name("raft_small.npz")


def network(normalization="none", **options):
    return registry.build("network", "raft", options)(registry.build("normalization", normalization))


def both(made):
    def flows(first, second):
        return made(made.features(first), made.features(second), None, 1)

    return flows


def test_it_has_the_parameters_of_the_small_model():
    assert sum(int(np.prod(p.shape)) for p in network().trainable_params()) == 990_162


def test_flows_are_those_of_torchvision():
    made = network(iterations=3)
    initialize(made, 0)
    random = np.random.default_rng(0)
    for parameter in made.get_parameters():
        if parameter.ndim == 1:
            parameter.set_data(ms.Tensor(0.1 * random.standard_normal(parameter.shape).astype(np.float32)))
    found = run(both(made), *np.random.default_rng(1).random((2, 1, 3, 128, 128), np.float32))
    with np.load(FLOWS) as file:
        wanted = file["flows"]
    assert len(found) == len(wanted) == 3 and np.abs(wanted[0]).max() > 4
    for flow, eighth in zip(found, wanted, strict=True):
        # away from the border half-pixel bilinear interpolation is .75 of the nearest value and .25 of the next, twice
        flow = np.asarray(flow)[:, :, 1:-1, 1:-1] / 2
        np.testing.assert_allclose(flow, halfway(halfway(eighth, 3), 2), atol=1e-3)


def halfway(x, axis):
    """Two values between each two neighbors along an axis."""
    x = np.moveaxis(x, axis, -1)
    both = np.stack((0.75 * x[..., :-1] + 0.25 * x[..., 1:], 0.25 * x[..., :-1] + 0.75 * x[..., 1:]), axis=-1)
    return np.moveaxis(both.reshape(*x.shape[:-1], -1), -1, axis)


def test_a_cost_is_the_product_of_features_and_coarser_ones_are_means_of_four():
    made = network(cost_levels=2)
    first, second = np.random.default_rng(0).standard_normal((2, 1, 4, 3, 5)).astype(np.float32)
    fine, coarse = run(made.costs, first, second)
    wanted = np.einsum("chw,cij->hwij", first[0], second[0]) / 2  # the root of four channels
    np.testing.assert_allclose(fine.reshape(3, 5, 3, 5), wanted, rtol=1e-5, atol=1e-6)
    # the third row and the fifth column have no partner
    means = wanted[:, :, :2, :4].reshape(3, 5, 1, 2, 2, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(coarse.reshape(3, 5, 1, 2), means, rtol=1e-5, atol=1e-6)


def test_costs_are_read_around_where_the_flow_leads_columns_first_and_nothing_is_outside():
    made = network(cost_levels=2, radius=1)
    grid = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4) + 1  # 10 y + x would do: 4 y + x + 1
    fine, coarse = np.tile(grid, (12, 1, 1, 1)), np.full((12, 1, 1, 2), 7, np.float32)

    def read(fine, coarse, flow):
        return made.read((fine, coarse), flow)

    flow = np.zeros((1, 2, 3, 4), np.float32)
    flow[0, :, 0, 0] = 1, 1
    flow[0, :, 2, 3] = 0.5, -1
    found = run(read, fine, coarse, flow)
    assert found.shape == (1, 18, 3, 4)
    # pixel (0, 0) looks at (1, 1): columns x = 0, 1, 2, in each rows y = 0, 1, 2
    assert found[0, :9, 0, 0].tolist() == [1, 5, 9, 2, 6, 10, 3, 7, 11]
    # pixel (3, 2) looks at (3.5, 1): half-way between 2 and 3, 3 and what is outside, and outside
    assert found[0, :9, 2, 3].tolist() == [3.5, 7.5, 11.5, 2, 4, 6, 0, 0, 0]
    # the coarse grid has one row, at half of the places: (0.5, 0.5) is half in it
    assert found[0, 9:, 0, 0].tolist() == [1.75, 1.75, 0, 3.5, 3.5, 0, 1.75, 1.75, 0]


def test_every_update_adds_to_the_flow_and_the_last_estimate_is_first():
    made = network(width=0.05, iterations=3)
    for name, parameter in made.parameters_and_names():
        parameter.set_data(ms.ops.zeros(parameter.shape))
        if name == "update.change.bias":
            parameter.set_data(ms.Tensor(np.array([1, -2], np.float32)))
    found = run(both(made), *np.random.default_rng(0).random((2, 2, 3, 64, 64), np.float32))
    for flow, updates in zip(found, (3, 2, 1), strict=True):
        wanted = np.broadcast_to(np.reshape([2 * updates, -4 * updates], (1, 2, 1, 1)), (2, 2, 16, 16))
        np.testing.assert_allclose(flow, wanted, atol=1e-6)


def test_no_gradient_reaches_an_estimate_through_the_next_one():
    """The last estimate moves with the change that was added last, not with those before."""
    made = network(width=0.05, iterations=2)
    initialize(made, 0)
    parameter = dict(made.parameters_and_names())["update.change.bias"]

    def last(first, second):
        return both(made)(first, second)[0].sum()

    frames = np.random.default_rng(0).random((2, 1, 3, 64, 64), np.float32)
    gradient = ms.grad(last, None, [parameter])(*tensors(frames))[0].asnumpy()
    # doubled and of four times as many pixels as the 8x8 of the flow; earlier changes would come on top
    np.testing.assert_allclose(gradient, [2 * 256, 2 * 256], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "size", "sentences"),
    [
        ({}, (64, 64), []),
        ({}, (60, 64), ["height 60 is not a multiple of 8", "height 60 is too small"]),
        ({"cost_levels": 2}, (16, 24), []),
        ({}, (64, 56), ["width 56 is too small for network.cost_levels=4: each grid of costs is half as fine as the one"
                        " before, so at least 64 px or fewer grids are needed"]),
    ],
)  # fmt: skip
def test_sizes_that_leave_no_costs_are_refused(options, size, sentences):
    found = registry.build("network", "raft", options).size_problems(*size)
    assert len(found) == len(sentences) and all(s in f for s, f in zip(sentences, found, strict=True))
