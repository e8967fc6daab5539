"""The choices that a loss is made of, and when and how strongly each of them acts; needs no MindSpore."""

from __future__ import annotations

import dataclasses

import numpy as np

from uflow import registry, schedule
from uflow.interfaces import Normalization, Occlusion, Photometric, SelfSupervision, Smoothness

TERMS = ("photometric", "smoothness", "selfsup")
# Options that act from outside of a component, as weights and switches given to the compiled graph; a component must
# not read them in `__call__`.
SCHEDULED = ("weight", "initial", "ramp_start", "ramp_end", "start", "ramp", "level_dropout")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Components:
    """One component per axis but the network's, whose flows they are given.

    Attributes:
        more: those of axes that extensions have brought, further terms of the loss.
    """

    photometric: Photometric
    occlusion: Occlusion
    smoothness: Smoothness
    normalization: Normalization
    selfsup: SelfSupervision
    more: tuple[Smoothness, ...] = ()

    @classmethod
    def axes(cls) -> tuple[str, ...]:
        """Names of the axes of this project."""
        return tuple(field.name for field in dataclasses.fields(cls) if field.name != "more")

    def active_at(self, step: int, steps: int) -> Components:
        """The components that act at a step.

        Those that have not started yet are replaced by `none`; a photometric component with a share `change` of
        training is replaced from then on by what its `changed` returns.
        """
        chosen = {}
        change = getattr(self.photometric, "change", 1.0)
        if change < 1 and step >= schedule.step_at(change, steps):
            chosen["photometric"] = self.photometric.changed()
        for axis in ("occlusion", "selfsup"):
            component = getattr(self, axis)
            if step < schedule.step_at(getattr(component, "start", 0.0), steps):
                chosen[axis] = registry.build(axis, "none")
        return dataclasses.replace(self, **chosen)

    def starts(self, steps: int) -> tuple[int, ...]:
        """Steps at which a component begins to act or changes, ascending, without 0 and those after the end."""
        shares = [getattr(getattr(self, axis), "start", 0.0) for axis in ("occlusion", "selfsup")]
        shares.append(getattr(self.photometric, "change", 1.0))
        return tuple(sorted({s for share in shares if 0 < (s := schedule.step_at(share, steps)) < steps}))

    def weights_at(self, step: int, steps: int) -> np.ndarray:
        """Weights of `TERMS` at a step, float32."""
        # a term without weight may have no schedule at all, as `none`
        smooth = self.smoothness
        growth = 1.0
        if smooth.weight:
            begin, end = (schedule.step_at(share, steps) for share in (smooth.ramp_start, smooth.ramp_end))
            growth = schedule.geometric_ramp(step, begin, end, smooth.initial)
        selfsup = self.selfsup
        ramp = 0.0
        if selfsup.weight:
            after = schedule.step_at(selfsup.start, steps)
            ramp = schedule.linear_ramp(step, after, schedule.step_at(selfsup.ramp, steps))
        return np.array([self.photometric.weight, smooth.weight * growth, selfsup.weight * ramp], np.float32)
