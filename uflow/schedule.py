"""How weights and the learning rate change with the training step; plain numbers, no tensors."""

from __future__ import annotations

import math

DECAYS = ("none", "linear", "exponential", "cosine")


def step_at(share: float, steps: int) -> int:
    """The step at which a share of the training is done, a whole number in [0, steps]."""
    return min(steps, max(0, round(share * steps)))


def linear_ramp(step: int, after: int, length: int) -> float:
    """0 before step `after`, 1 from step `after + length` on, linear between; 1 / length at `after` itself.

    Source: UFlow's `weight_selfsup_fn`: clip((step - (after - 1)) / max(length, 1), 0, 1).
    """
    return min(1.0, max(0.0, (step - (after - 1)) / max(length, 1)))


def geometric_ramp(step: int, start: int, end: int, initial: float) -> float:
    """`initial` until step `start`, 1 from step `end` on, and a constant ratio from step to step between."""
    if step >= end:
        return 1.0
    if step <= start:
        return initial
    return initial ** ((end - step) / (end - start))


def learning_rate(step: int, base: float, decay: str, after: int, length: int) -> float:
    """The learning rate of a step.

    Constant for `none` or a length of 0. With s = max(step - after + 1, 0) / length: `linear` base max(1 - s, 0);
    `cosine` base (cos(pi min(s, 1)) + 1) / 2; `exponential` base 0.5^s.

    Source: UFlow's `learning_rate_fn`.
    """
    if decay == "none" or length <= 0:
        return base
    s = max(step - after + 1, 0) / length
    if decay == "linear":
        return base * max(1.0 - s, 0.0)
    if decay == "cosine":
        return base * (math.cos(math.pi * min(s, 1.0)) + 1.0) / 2.0
    return base * 0.5**s
