"""Functions of tensors as graphs that take and give arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from uflow import backend as ms


def cell(function: Callable[..., Any], *last: Any) -> ms.nn.Cell:
    """A function of tensors as a cell; `last` are its last arguments."""

    class Called(ms.nn.Cell):
        def construct(self, *tensors: ms.Tensor) -> Any:
            return function(*tensors, *last)

    return Called()


def compiled(function: Callable[..., Any], *last: Any) -> Callable[..., Any]:
    """A function of tensors as a graph that takes and gives arrays; `last` are its last arguments."""
    return _of_arrays(cell(function, *last))


def differentiated(function: Callable[..., Any], position: int) -> Callable[..., np.ndarray]:
    """The gradient of a scalar function by one of its arguments, as a graph."""
    return _of_arrays(cell(ms.grad(cell(function), position)))


def tensor(array: np.ndarray) -> ms.Tensor:
    """An array as a tensor, whatever the order of its bytes."""
    return ms.Tensor(np.ascontiguousarray(array))


def _of_arrays(made: ms.nn.Cell) -> Callable[..., Any]:
    def run(*arrays: np.ndarray) -> Any:
        found = made(*map(tensor, arrays))
        return tuple(part.asnumpy().copy() for part in found) if isinstance(found, tuple) else found.asnumpy().copy()

    return run
