"""How weights and the learning rate change with the training step; plain numbers, no tensors."""

from __future__ import annotations

import math

DECAYS = ("none", "linear", "exponential", "cosine", "one_cycle")
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 250_000  # shares of the highest learning rate


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


def one_cycle(step: int, steps: int, rise: int) -> float:
    """A share of the highest learning rate: linearly from 1/25 to 1 at step `rise`, then to 1/250,000 at the last step.

    Source: Smith and Topin, SPIE 2019 (super-convergence), in the linear form of PyTorch's `OneCycleLR` with its usual
    divisors, with which Teed and Deng train RAFT (ECCV 2020); there the highest rate is one step earlier.
    """
    if step < rise:
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * step / rise
    return 1 - (1 - ONE_CYCLE_END) * min(1.0, (step - rise) / max(steps - 1 - rise, 1))


def learning_rate(step: int, base: float, decay: str, after: int, length: int, rise: int = 0, steps: int = 1) -> float:
    """The learning rate of a step.

    Constant for `none` or a length of 0. With s = max(step - after + 1, 0) / length: `linear` base max(1 - s, 0);
    `cosine` base (cos(pi min(s, 1)) + 1) / 2; `exponential` base 0.5^s. All of this is multiplied by
    (step + 1) / rise in the first `rise` steps, a linear warm-up (Goyal et al., 2017, section 2.2). `one_cycle` is
    base times `one_cycle`, without regard to `after` and `length`.

    Source: UFlow's `learning_rate_fn`, but for warm-up and `one_cycle`.
    """
    if decay == "one_cycle":
        return base * one_cycle(step, steps, rise)
    base *= linear_ramp(step, 0, rise)
    if decay == "none" or length <= 0:
        return base
    s = max(step - after + 1, 0) / length
    if decay == "linear":
        return base * max(1.0 - s, 0.0)
    if decay == "cosine":
        return base * (math.cos(math.pi * min(s, 1.0)) + 1.0) / 2.0
    return base * 0.5**s
