"""Runs functions and components of the project as compiled graphs, with gradients.

Compiling is what takes the time, so a graph is kept for the next call with an equal function: components with the same
options are equal, and so are `Fixed` and `Several` of equal parts. Other shapes are another graph.
"""

import functools
import os

import numpy as np

from uflow import backend as ms


class Made:
    """Equal to another one that was made of equal parts."""

    @property
    def parts(self):
        return type(self), *((type(part), part) for value in vars(self).values() for part in _several(value))

    def __eq__(self, other):
        return isinstance(other, Made) and self.parts == other.parts

    def __hash__(self):
        return hash(self.parts)


def _several(value):
    return value if isinstance(value, tuple) else (value,)


class Fixed(Made):
    """A function with its last arguments given; the graph compiler knows neither partial functions nor defaults."""

    def __init__(self, function, *last):
        self.function, self.last = function, last

    def __call__(self, *first):
        return self.function(*first, *self.last)


class Several(Made):
    """The values of some functions of the same arguments, in one graph."""

    def __init__(self, *functions):
        self.functions = functions

    def __call__(self, *arguments):
        found = ()
        for function in self.functions:
            found = found + (function(*arguments),)
        return found


class InGraph(ms.nn.Cell):
    """A function of tensors, or a component, as a cell."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    @ms.jit
    def construct(self, *tensors):
        return self.function(*tensors)


class Weighted(ms.nn.Cell):
    """The sum of a function's values times the last argument, and the values."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def construct(self, *tensors):
        values = self.function(*tensors[:-1])
        return (values * tensors[-1]).sum(), values


class Gradient(ms.nn.Cell):
    """Values of a function and the gradients of their weighted sum."""

    def __init__(self, function, positions):
        super().__init__()
        self.gradient = ms.value_and_grad(Weighted(function), positions, has_aux=True)

    @ms.jit
    def construct(self, *tensors):
        (_, values), gradients = self.gradient(*tensors)
        return values, gradients


def tensors(arrays):
    return [ms.Tensor(np.ascontiguousarray(a)) for a in arrays]


def numpy(values):
    if isinstance(values, (tuple, list)):
        return tuple(numpy(v) for v in values)
    return values.asnumpy()


def copied(values):
    """Arrays that a later run of the same graph cannot change."""
    if isinstance(values, (tuple, list)):
        return tuple(copied(v) for v in values)
    return values.asnumpy().copy()


def assert_same(first, second):
    if isinstance(first, tuple):
        for one, two in zip(first, second, strict=True):
            assert_same(one, two)
    else:
        # numbers under 1e-38 may be flushed to 0 or not
        np.testing.assert_allclose(second, first, rtol=0, atol=1e-37, err_msg="the second run of a graph differs")


@functools.lru_cache(64)
def _compiled(function, positions, kernels):
    return InGraph(function) if positions is None else Gradient(function, positions)


def compiled(function, positions=None):
    """A function as a cell, or its values and gradients by the arguments at `positions`."""
    return _compiled(function, positions, os.environ.get("UFLOW_KERNELS"))


def run(function, *arrays):
    """The values of a function."""
    return copied(compiled(function)(*tensors(arrays)))


def run_gradient(function, arrays, cotangent, positions):
    """The values of a function and the gradients of `sum(values * cotangent)` by the arguments at `positions`."""
    cell, inputs = compiled(function, tuple(positions)), tensors([*arrays, cotangent])
    values, gradients = copied(cell(*inputs))
    # some operators of MindSpore keep a state between the runs of a graph: the second run must give the same
    assert_same((values, gradients), copied(cell(*inputs)))
    return values, gradients if isinstance(gradients, tuple) else (gradients,)
