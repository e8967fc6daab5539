"""A study as a value: a question, the arms that answer it, and what they change; needs no MindSpore."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from uflow import registry


@dataclasses.dataclass(frozen=True)
class Arm:
    """A row of the study's table: a label and what it changes in the baseline spec, by dotted key."""

    label: str
    changes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A question, the arms that answer it and the metric that decides.

    Attributes:
        name: how the command line calls it.
        question: one sentence.
        arms: rows of the table, in its order.
        baseline: label of the arm that the others are compared with.
        metric: kind of end-point error that decides: `all`, `noc` or `occ`.
        changes: what all arms change in the preset's spec, by dotted key.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    baseline: str
    metric: str = "all"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `ValueError` naming everything that is wrong with the study."""
        labels = [arm.label for arm in self.arms]
        found = [
            f"label {label!r} is used by more than one arm" for label in sorted(set(labels)) if labels.count(label) > 1
        ]
        if self.baseline not in labels:
            hint = registry.did_you_mean(self.baseline, labels)
            found.append(f"baseline {self.baseline!r} is not an arm{hint} (arms: {', '.join(labels)})")
        if self.metric not in ("all", "noc", "occ"):
            found.append(f"metric {self.metric!r} must be one of 'all', 'noc', 'occ'")
        if found:
            raise ValueError(f"study {self.name!r}: " + "; ".join(found))

    def arm(self, label: str) -> Arm:
        """The arm of a label; the error for an unknown one lists the known ones."""
        for arm in self.arms:
            if arm.label == label:
                return arm
        labels = [arm.label for arm in self.arms]
        hint = registry.did_you_mean(label, labels)
        raise ValueError(f"study {self.name!r} has no arm {label!r}{hint} (arms: {', '.join(labels)})")


def vary(axis: str, names: Iterable[str]) -> tuple[Arm, ...]:
    """One arm for each component of an axis, labelled by its name."""
    return tuple(Arm(name, {f"{axis}.name": registry.entry(axis, name).name}) for name in names)
