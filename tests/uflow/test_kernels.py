"""The kernels compute what the compositions of `uflow.ops` compute, on every thread count, and give way when they cannot.

Everything runs in graph mode, as in training. The reference is the composition, with the kernels switched off.
"""

from __future__ import annotations

import numpy as np
import pytest

from uflow import backend as ms
from uflow import kernels, ops
from uflow.photometric.census import hamming_distance

FUNCTIONS = {
    "convolution": ops.convolution,
    "cost_volume": ops.cost_volume,
    "warp": ops.warp,
    "range_map": ops.range_map,
    "hamming_distance": hamming_distance,
}


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    yield
    ms.set_context(mode=before)


@pytest.fixture(scope="module")
def built():
    if not kernels.switch.active:
        pytest.skip("no kernels on this machine")


def noise(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


class Probe(ms.nn.Cell):
    """Inputs of `function` to the sum of its result times a fixed random field, and the result."""

    def __init__(self, function, arguments):
        super().__init__()
        self.function, self.arguments = function, arguments

    def construct(self, field, *inputs):
        result = self.function(*inputs, *self.arguments)
        return (result * field).sum(), result


def run(function, arguments, inputs, field):
    """The result of `function` and its gradient by every input, NumPy."""
    probe = Probe(function, arguments)
    gradients = ms.value_and_grad(probe, tuple(range(1, 1 + len(inputs))), has_aux=True)

    @ms.jit
    def step(*tensors):
        return gradients(*tensors)

    (_, result), found = step(ms.Tensor(field), *(ms.Tensor(x) for x in inputs))
    return [x.asnumpy() for x in (result, *found)]


def compare(monkeypatch, name, inputs, arguments=(), shape=None, tolerance=1e-5):
    """Asserts that kernel and composition agree relative to the largest value; returns the kernel's arrays."""
    function = FUNCTIONS[name]
    field = noise(*shape, seed=7)
    monkeypatch.setenv("UFLOW_KERNELS", "on")
    fast = run(function, arguments, inputs, field)
    monkeypatch.setenv("UFLOW_KERNELS", "off")
    slow = run(function, arguments, inputs, field)
    for index, (a, b) in enumerate(zip(fast, slow, strict=True)):
        what = "result" if index == 0 else f"gradient by input {index - 1}"
        assert a.shape == b.shape, what
        limit = tolerance * max(1e-3, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=f"{name}{arguments}: {what}")
    return fast


CONVOLUTIONS = {  # samples, inputs, outputs, height, width, kernel; stride, dilation, padding, active
    "decoder": ((2, 19, 24, 16, 16, 3), (1, 1, 1, True)),
    "first of a level": ((2, 3, 8, 16, 12, 3), (2, 1, 1, True)),
    "odd sizes, stride 2": ((1, 5, 7, 9, 13, 3), (2, 1, 1, False)),
    "dilated beyond the image": ((1, 4, 6, 5, 7, 3), (1, 8, 8, True)),
    "head": ((3, 8, 2, 8, 8, 3), (1, 1, 1, False)),
    "1x1": ((2, 9, 5, 6, 4, 1), (1, 1, 0, True)),
    "surrogate": ((1, 6, 16, 11, 9, 4), (1, 1, 0, False)),
    "wide": ((1, 70, 33, 6, 20, 3), (1, 2, 2, True)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_matches_composition(built, monkeypatch, case):
    (b, c, o, h, w, k), arguments = CONVOLUTIONS[case]
    stride, dilation, padding, _ = arguments
    size = [(n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n in (h, w)]
    inputs = [noise(b, c, h, w), noise(o, c, k, k, seed=1), noise(o, seed=2)]
    compare(monkeypatch, "convolution", inputs, arguments, (b, o, *size))


MAPS = {
    "decoder": (2, 8, 16, 16),
    "coarsest": (2, 8, 8, 8),
    "odd sizes": (1, 7, 9, 21),
    "smaller than the reach": (3, 5, 3, 5),
}


@pytest.mark.parametrize("shape", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("arguments", [(4, True), (4, False), (1, False)])
def test_cost_volume_matches_composition(built, monkeypatch, shape, arguments):
    b, _, h, w = shape
    inputs = [noise(*shape), noise(*shape, seed=1)]
    compare(monkeypatch, "cost_volume", inputs, arguments, (b, (2 * arguments[0] + 1) ** 2, h, w))


def flow_over_borders(b, h, w, spread=3.0):
    """A flow of which some points fall on whole numbers, some on the last row or column, some far outside."""
    flow = spread * noise(b, 2, h, w, seed=5)
    flow[:, :, ::3, ::2] = np.round(flow[:, :, ::3, ::2])
    flow[:, 0, 1] = (w - 1) - np.arange(w)
    flow[:, 1, :, 1] = (h - 1) - np.arange(h)
    flow[:, 0, 2, 2], flow[:, 1, 2, 3] = 1e9, -3e38
    flow[:, 1, 0, 0], flow[:, 0, 0, 1] = -0.25, -1.75
    return flow.astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 8, 16, 16), (1, 3, 13, 9), (3, 1, 4, 21)])
def test_warp_matches_composition(built, monkeypatch, shape):
    b, _, h, w = shape
    compare(monkeypatch, "warp", [noise(*shape), flow_over_borders(b, h, w)], (), shape)


def test_warp_by_a_whole_number_is_exact_and_flat(built, monkeypatch):
    image, flow = noise(1, 2, 6, 7), np.zeros((1, 2, 6, 7), np.float32)
    flow[:, 0], flow[:, 1] = 2, -1  # reads 2 px to the right, 1 px above
    warped, _, slope = compare(monkeypatch, "warp", [image, flow], (), image.shape)
    np.testing.assert_array_equal(warped[:, :, 1:, :-2], image[:, :, :-1, 2:])
    assert not warped[:, :, 0].any() and not warped[..., -2:].any() and not slope.any()


@pytest.mark.parametrize(
    ("shape", "factor"), [((2, 16, 16), 1), ((1, 13, 9), 1), ((3, 8, 21), 1), ((1, 13, 9), 2), ((1, 17, 10), 3)]
)
def test_range_map_matches_composition(built, monkeypatch, shape, factor):
    b, h, w = shape
    compare(monkeypatch, "range_map", [flow_over_borders(b, h, w)], (factor,), (b, 1, h, w))


def test_range_map_of_a_shift_counts_each_pixel_once(built, monkeypatch):
    flow = np.zeros((1, 2, 4, 5), np.float32)
    flow[:, 0], flow[:, 1] = 1, -2
    covered, _ = compare(monkeypatch, "range_map", [flow], (), (1, 1, 4, 5))
    expected = np.zeros((4, 5))
    expected[:2, 1:] = 1
    np.testing.assert_array_equal(covered[0, 0], expected)


@pytest.mark.parametrize("shape", [(2, 3, 24, 20), (1, 3, 7, 33), (1, 3, 35, 5)])
@pytest.mark.parametrize("patch", [3, 7])
def test_hamming_distance_matches_composition(built, monkeypatch, shape, patch):
    b, _, h, w = shape
    # a few grey values of contrast: full contrast saturates the transform, whose difference is then mostly rounding
    image = 0.02 * np.random.default_rng(0).random(shape).astype(np.float32)
    close = (image + 0.003 * noise(*shape)).astype(np.float32)
    compare(monkeypatch, "hamming_distance", [image, close], (patch,), (b, 1, h, w), 3e-5)


def test_hamming_distance_by_hand(built, monkeypatch):
    image = np.zeros((1, 3, 5, 5), np.float32)
    dot = image.copy()
    dot[:, :, 2, 2] = 1 / 255  # one grey value, up to the rounding of the weights' sum 0.9999
    distance, *_ = compare(monkeypatch, "hamming_distance", [image, dot], (3,), (1, 1, 5, 5))
    square = 0.9999**2 / (0.81 + 0.9999**2)
    one = square / (0.1 + square)
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = one
    expected[2, 2] = 8 * one
    np.testing.assert_allclose(distance[0, 0], expected, rtol=1e-5)


CALLS = {
    "convolution": [(1, 3, 5, 6), (4, 3, 3, 3), (4,)],
    "cost_volume": [(1, 3, 5, 6), (1, 3, 5, 6)],
    "warp": [(1, 3, 5, 6), (1, 2, 5, 6)],
    "hamming_distance": [(1, 3, 7, 6), (1, 3, 7, 6)],
    "range_map": [(1, 2, 5, 6)],
}


@pytest.mark.parametrize(
    ("name", "index"), [(name, index) for name, shapes in CALLS.items() for index in range(len(shapes))]
)
def test_nan_reaches_the_result(built, monkeypatch, name, index):
    monkeypatch.setenv("UFLOW_KERNELS", "on")
    inputs = [noise(*shape, seed=i) for i, shape in enumerate(CALLS[name])]
    inputs[index].flat[inputs[index].size // 2] = np.nan
    arguments = (3,) if name == "hamming_distance" else ()
    function = FUNCTIONS[name]

    @ms.jit
    def call(*tensors):
        return function(*tensors, *arguments)

    assert np.isnan(call(*(ms.Tensor(x) for x in inputs)).asnumpy()).any()
