"""A batch that is shared by several devices: what is summed over a batch is summed over all of them.

Each device has an equal part of the batch and computes losses and gradients of its own samples, except for what needs
the whole batch: a sum over samples goes through `total`, a mean through `mean`. The gradient of `total` is again the
sum over the devices, so that the mean over the devices of their gradients is the gradient of one device with the whole
batch, also where a loss is a quotient of sums or samples share statistics; equal up to the rounding of sums.

All of it acts only on graphs that are traced while `shared` is active; elsewhere, and for a single device, the
functions return what they are given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from uflow import backend as ms


class Group:
    """The devices as graph mode sees them: looked up while a graph is traced, and a constant in it."""

    __ms_class__ = True

    def __init__(self) -> None:
        self.size = 1
        self.made: Any = None

    @property
    def active(self) -> bool:
        """True if there are other devices."""
        return self.size > 1

    @property
    def all_reduce(self) -> Any:
        """The sum over the devices, of a tensor with at least one axis."""
        if self.made is None:
            self.made = ms.ops.AllReduce()
        return self.made


group = Group()


@contextlib.contextmanager
def shared(size: int) -> Iterator[None]:
    """The batches of graphs that are traced while the block runs are parts of one, on `size` devices."""
    before, group.size = group.size, size
    try:
        yield
    finally:
        group.size = before


def total(x: ms.Tensor) -> ms.Tensor:
    """The sum of `x`, of any shape, over the devices."""
    if group.active:
        return group.all_reduce(x.reshape(-1)).reshape(x.shape)
    return x


def mean(x: ms.Tensor) -> ms.Tensor:
    """The mean of `x`, of any shape, over the devices."""
    if group.active:
        return total(x) / group.size
    return x
