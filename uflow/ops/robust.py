"""Robust penalties of a difference, by name: they turn an error into what a loss adds up."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import robust_l1

NAMES = ("l1", "robust_l1", "ddflow")


def ddflow(difference: ms.Tensor, epsilon: float = 0.01, exponent: float = 0.4) -> ms.Tensor:
    """(|x| + epsilon)^exponent: grows slower than linearly, so large errors pull little.

    Source: Liu et al., AAAI 2019 (DDFlow), eq. 3; UFlow's `abs_robust_loss`.
    """
    return ms.ops.pow(ms.ops.abs(difference) + epsilon, exponent)


def penalty(name: str, difference: ms.Tensor) -> ms.Tensor:
    """The penalty of `difference`, of the same shape.

    `l1`: |x + 1e-6| (the shift is the reference's); `robust_l1`: sqrt(x^2 + 0.001^2) (Charbonnier);
    `ddflow`: (|x| + 0.01)^0.4.

    Source: UFlow's `l1`, `robust_l1` and `abs_robust_loss`.
    """
    if name == "l1":
        return ms.ops.abs(difference + 1e-6)
    if name == "robust_l1":
        return robust_l1(difference)
    return ddflow(difference)
