"""The network by hand: weights that are nearly all 0 leave one path open, whose result is known."""

import functools

import numpy as np
import pytest
from goldens.graph import InGraph, copied, tensors

from uflow import backend as ms
from uflow import registry
from uflow.models.architecture import Architecture
from uflow.models.directions import both_directions
from uflow.models.flow_network import FlowNetwork, initialize

SIZES = {3: (2, 3), 2: (4, 6), 1: (8, 12)}  # rows and columns of the pyramid levels
TINY = {"levels": 3, "width": 1 / 16}  # two channels of features and of context
BATCH = 4


class Pyramids:
    """The network on two pyramids of three levels each."""

    def __init__(self, made):
        self.made = made

    def __call__(self, first1, first2, first3, second1, second2, second3, keep):
        return self.made((first1, first2, first3), (second1, second2, second3), keep)


@functools.cache
def compiled(normalization, **options):
    """A network and what runs it; compiled once, for weights can be exchanged."""
    made = FlowNetwork(Architecture(**TINY | options), registry.build("normalization", normalization))
    return made, InGraph(Pyramids(made))


class Network:
    """A network whose weights are 0 but for those that were put there."""

    def __init__(self, normalization="none", **options):
        self.cells, self.cell = compiled(normalization, **options)
        for _, parameter in self.cells.parameters_and_names():
            parameter.set_data(ms.ops.zeros(parameter.shape))

    def put(self, **values):
        """Sets single values: `name__with__dots=[(index, value), ...]`."""
        known = dict(self.cells.parameters_and_names())
        for name, places in values.items():
            array = known[name.replace("__", ".")].asnumpy().copy()
            for index, value in places:
                array[index] = value
            known[name.replace("__", ".")].set_data(ms.Tensor(array))
        return self

    def reads(self, level, channel):
        """Opens a path from an input of a decoder to the x of its flow; 10 keeps LeakyReLU where it is the identity."""
        name = f"decoders__{level - 2}"
        path = {"block__4__weight": [((0, channel, 1, 1), 1.0)], "block__4__bias": [(0, 10.0)]}
        path["head__weight"] = [((0, 0, 1, 1), 1.0)]
        before = dict(self.cells.parameters_and_names())[f"decoders.{level - 2}.head.bias"].asnumpy()[0]
        path["head__bias"] = [(0, before - 10.0)]
        return self.put(**{f"{name}__{key}": value for key, value in path.items()})

    def flows(self, first=None, second=None, keep=None):
        keep = np.ones((3, BATCH), np.float32) if keep is None else keep
        return copied(self.cell(*tensors([*(first or features()), *(second or features()), keep])))


def features():
    """Zeros in the shapes of a pyramid, finest level first."""
    return [np.zeros((BATCH, 2, *SIZES[level]), np.float32) for level in sorted(SIZES)]


def estimates(**options):
    """A network whose levels and context network estimate constants, whatever they see."""
    return Network(**options).put(
        decoders__1__head__bias=[(0, 1.0), (1, -2.0)],  # the coarsest level
        decoders__0__head__bias=[(0, 0.25), (1, 0.5)],
        context__layers__6__bias=[(0, 0.03), (1, 0.04)],
    )


def test_levels_add_up_and_a_dropped_one_passes_on_the_flow_of_the_coarser():
    keep = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 0]], np.float32)  # coarse, fine, context network
    fine, coarse = estimates().flows(keep=keep)
    np.testing.assert_allclose(coarse[:, :, 0, 0], [[1, -2], [1, -2], [0, 0], [1, -2]])
    wanted = [[2.28, -3.46], [2.03, -3.96], [0.28, 0.54], [2.25, -3.5]]
    np.testing.assert_allclose(fine, np.broadcast_to(np.reshape(wanted, (4, 2, 1, 1)), fine.shape), rtol=1e-6)


def test_without_accumulation_each_level_stands_alone_but_for_the_refinement():
    fine, _ = estimates(accumulate_flow=False).flows()
    np.testing.assert_allclose(fine[0, :, 0, 0], [0.28, 0.54], rtol=1e-6)


CENTER = 40  # channel of the cost of no displacement, out of 81


def test_inputs_of_the_coarsest_level_are_cost_and_features():
    first, second = features(), features()
    first[2][0, 0, 1, 1], second[2][0, 0, 1, 2] = 4.0, -3.0  # one pixel to the right; over two features the mean is -6
    costs = Network().reads(3, CENTER + 1).flows(first, second)[1]
    wanted = np.zeros((2, 3))
    wanted[1, 1] = -0.6  # LeakyReLU(0.1)
    np.testing.assert_allclose(costs[0, 0], wanted, atol=1e-5)
    assert (costs[0, 1] == 0).all() and (costs[1:] == 0).all()
    own = Network().reads(3, 81).flows(first, second)[1]
    np.testing.assert_allclose(own[0, 0], first[2][0, 0], atol=1e-5)


def test_features_are_normalized_for_the_cost_and_not_for_the_decoder():
    first = features()
    first[2][0, 0, 1, 1] = 4.0
    own = Network("center_scale").reads(3, 81).flows(first)[1]
    np.testing.assert_allclose(own[0, 0], first[2][0, 0], atol=1e-5)
    cost = Network("center_scale").reads(3, CENTER).flows(first)[1]
    assert cost[1, 0].min() > 0  # what is 0 everywhere is not at the mean of the batch


def test_the_finer_level_reads_context_flow_cost_and_features_in_this_order():
    first = features()
    first[1][0, 1, 2, 3] = 5.0
    rest = 2.28  # the flow so far, the level's own estimate and the refinement
    for channel, wanted in ((2, 2.0), (3, -4.0)):  # after two channels of context: x and y, in px of the finer grid
        found = estimates().reads(2, channel).flows(first)[0]
        np.testing.assert_allclose(found[0, 0], wanted + rest, rtol=1e-5)
    found = estimates().reads(2, 2 + 2 + 81 + 1).flows(first)[0]
    np.testing.assert_allclose(found[0, 0], first[1][0, 1] + rest, rtol=1e-5)
    context = estimates().reads(2, 1).put(upsamplings__1__convolution__bias=[(1, 7.0)])
    np.testing.assert_allclose(context.flows(first)[0][0, 0], 7.0 + rest, rtol=1e-5)


def test_features_of_a_dropped_level_are_dropped_too():
    every = (slice(None), slice(None))
    made = Network().put(decoders__1__block__4__bias=[(0, 3.0)])
    made.put(upsamplings__1__convolution__weight=[((0, 0, *every), 1.0)]).reads(2, 0)
    keep = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], np.float32)
    found = made.flows(keep=keep)[0][:, 0, 1:-1, 1:-1]
    np.testing.assert_allclose(found[0], 12.0, rtol=1e-5)  # four of the sixteen weights meet at each pixel
    np.testing.assert_allclose(found[1], 0.0, atol=1e-5)


@pytest.mark.parametrize("feature_warp", [True, False])
def test_the_other_features_are_warped_by_the_flow_so_far(feature_warp):
    first, second = features(), features()
    first[1][:, 0] = 1.0
    second[1][:, 0] = 2 * np.arange(6)  # a ramp along x; the mean over two features halves it
    made = estimates(feature_warp=feature_warp).reads(2, 4 + CENTER).put(decoders__1__head__bias=[(1, 0.0)])
    found = made.flows(first, second)[0][0, 0] - 2.28  # the flow so far is (2, 0)
    wanted = [2, 3, 4, 5, 0, 0] if feature_warp else np.arange(6)
    np.testing.assert_allclose(found, np.broadcast_to(wanted, (4, 6)), atol=1e-5)


def test_a_flow_that_is_no_constant_is_handed_on_with_half_pixel_centers():
    first = features()
    first[2][0, 0] = [[0, 4, 8], [0, 4, 8]]
    fine, coarse = Network().reads(3, 81).flows(first)
    np.testing.assert_allclose(coarse[0, 0, 0], [0, 4, 8], atol=1e-5)
    np.testing.assert_allclose(fine[0, 0, 0], [0, 2, 6, 10, 14, 16], atol=1e-5)


def test_the_context_network_reads_features_and_flow():
    path = {f"context__layers__{i}__weight": [((0, 0, 1, 1), 1.0)] for i in range(1, 7)}
    path |= {f"context__layers__{i}__bias": [(0, 1.0)] for i in range(6)}
    # one feature, or the x of the flow, goes all the way; each of six layers adds 1
    for channel, wanted in ((0, 0.75), (2, 2.25)):
        made = estimates().put(decoders__0__block__4__bias=[(0, 0.75)], **path)
        made.put(context__layers__0__weight=[((0, channel, 1, 1), 1.0)])
        np.testing.assert_allclose(made.flows()[0][0, 0], 2.25 + wanted + 6 + 0.03, rtol=1e-5)


def test_the_second_layer_of_the_context_network_skips_a_pixel():
    first = features()
    first[1][0, 0, 1, 1] = 5.0
    made = Network().reads(2, 2 + 2 + 81)
    for layer in range(7):  # the x of the flow; the second layer reads the left one of its columns, 2 px away
        place = (0, 2 if layer == 0 else 0, 1, 0 if layer == 1 else 1)
        made.put(**{f"context__layers__{layer}__weight": [(place, 1.0)]})
    found = made.flows(first)[0][0, 0]
    wanted = np.zeros((4, 6))
    wanted[1, 1] = wanted[1, 3] = 5.0
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_intensities_enter_in_minus_one_to_one():
    made = Network()
    made.put(pyramid__levels__0__0__weight=[((0, 1, 1, 1), 1.0)], pyramid__levels__0__1__weight=[((0, 0, 1, 1), 1.0)])
    made.put(pyramid__levels__0__2__weight=[((1, 0, 1, 1), 1.0)])
    image = np.zeros((1, 3, 16, 24), np.float32)
    image[0, 1, ::2, ::2] = np.linspace(0.5, 1, 12)  # stride 2 reads every second pixel, the first among them
    finest = copied(InGraph(made.cells.pyramid)(*tensors([image])))[0]
    np.testing.assert_allclose(finest[0, 1], np.broadcast_to(2 * np.linspace(0.5, 1, 12) - 1, (8, 12)), atol=1e-6)
    assert (finest[0, 0] == 0).all()


class Directions(ms.nn.Cell):
    def __init__(self, made):
        super().__init__(auto_prefix=False)
        self.made = made

    @ms.jit
    def construct(self, first, second):
        both = both_directions(self.made, ms.ops.concat((first, second), axis=0))
        one, other = self.made.pyramid(first), self.made.pyramid(second)
        return both, self.made(one, other)[0], self.made(other, one)[0]


def test_both_directions_at_once_are_each_direction_alone():
    made = FlowNetwork(Architecture(**TINY), registry.build("normalization", "center_scale"))
    initialize(made, 3)
    first, second = np.random.default_rng(0).random((2, 2, 3, 16, 24), np.float32)
    second *= 0.2  # of the finer level: warped features, and so the statistics of the directions, are not alike
    both, forward, backward = copied(Directions(made)(*tensors([first, second])))
    np.testing.assert_allclose(both, np.concatenate([forward, backward]), atol=1e-5 * np.abs(both).max())
    assert np.abs(forward - backward).max() > 0.01 * np.abs(both).max()


def parameter_count(cell):
    return sum(int(np.prod(p.shape)) for p in cell.trainable_params())


def test_the_papers_network_has_its_size():
    made = FlowNetwork(Architecture(), registry.build("normalization", "center_scale"))
    assert parameter_count(made.pyramid) == 130_368
    # the reference has dead weights more: a transposed convolution at level 2 that nothing reads
    assert parameter_count(made) == 5_718_218


def test_initial_weights_are_glorots_and_belong_to_their_layer():
    plain, wide = (
        FlowNetwork(Architecture(levels=levels, width=0.25), registry.build("normalization", "none"))
        for levels in (3, 4)
    )
    for made in (plain, wide):
        initialize(made, 5)
    values, others = ({n: p.asnumpy() for n, p in made.parameters_and_names()} for made in (plain, wide))
    for name, value in values.items():
        if value.ndim == 1:
            assert (value == 0).all()
        elif value.size > 500:
            limit = np.sqrt(6 / ((value.shape[0] + value.shape[1]) * value.shape[2] * value.shape[3]))
            assert 0.98 * limit < np.abs(value).max() <= limit, name
    same = "pyramid.levels.1.0.weight"
    np.testing.assert_array_equal(values[same], others[same])
