"""The kernels compute what the compositions of `uflow.ops` compute, on every thread count, and give way when they cannot.

Everything runs in graph mode, as in training. The reference is the composition, with the kernels switched off.
"""

from __future__ import annotations

import numpy as np
import pytest

from uflow import backend as ms
from uflow import kernels, ops


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
    function = getattr(ops, name)
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
