"""Studies and campaigns as values: questions, the arms that answer them, and what they change; needs no MindSpore."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from uflow import registry

EVERY = "all"  # the word of the command line for every arm of a study, so no arm can be called so


@dataclasses.dataclass(frozen=True)
class Arm:
    """A row of the study's table: a label and what it changes in the baseline spec, by dotted key.

    Attributes:
        label: how tables and the command line call it.
        changes: values by dotted key, such as `occlusion.name`.
        seed_offset: added to the seeds of the study, for an arm that repeats another one with other seeds.
        against: label of the arm that it is compared with, where that is not the study's baseline; an arm that is
            compared with itself is a reference for others.
    """

    label: str
    changes: Mapping[str, Any]
    seed_offset: int = 0
    against: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateRule:
    """What a seed must have reached to count, while its arms are one network still.

    Attributes:
        at: share of the training that is done then.
        limit: largest end-point error on the validation pairs, px.
    """

    at: float
    limit: float

    def __post_init__(self) -> None:
        """Raises `ValueError` if a value is out of its range."""
        if not (0 < self.at <= 1 and 0 < self.limit < float("inf")):
            raise ValueError(f"a gate needs a share of the training in (0, 1] and a limit above 0 px, got {self}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A question, the arms that answer it and the metric that decides.

    Attributes:
        name: how the command line calls it.
        question: one sentence.
        arms: rows of the table, in its order.
        baseline: label of the arm that the others are compared with.
        metric: kind of end-point error that decides: `all`, `noc` or `occ`, or a region of an extension.
        changes: what all arms change in the preset's spec, by dotted key; an option of a component is for the arms
            whose component has it.
        preset_changes: the same for single presets, by the name of the preset; goes before `changes`.
        gates: by the name of the preset, which seeds count; only where all arms share what is trained until then, and
            only in the preset as it is, for a limit says nothing of other data, networks or schedules; other test pairs
            change nothing of it.
        searched: labels of the arms whose best setting is searched before they are run.
        trials: settings that are tried for each of them; 0 without a search.
        tuned: labels of the arms whose best setting has been found; it may be another arm's, or the arm's own.
        seeds: how many seeds a study takes by default, by the name of the preset, where that many are needed to tell.
        core: labels of the arms that run unless others are asked for, in presets that are made to be quick; empty if
            all do.
        kind: of data, by its name in the campaign that the study is part of; empty without one.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    baseline: str
    metric: str = "all"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preset_changes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    gates: Mapping[str, GateRule] = dataclasses.field(default_factory=dict)
    seeds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    core: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    trials: int = 0
    tuned: tuple[str, ...] = ()
    kind: str = ""

    def __post_init__(self) -> None:
        """Raises `ValueError` naming everything that is wrong with the study."""
        labels = self.labels
        found = [
            f"label {label!r} is used by more than one arm" for label in sorted(set(labels)) if labels.count(label) > 1
        ]
        found += [
            f"label {label!r} must not be {EVERY!r} or empty, hold a comma, a quote or a control character, or begin"
            " with =, +, - or @, which a spreadsheet takes for a formula"
            for label in dict.fromkeys(labels)
            if label in ("", EVERY)
            or set(label) & set(",'\"")
            or not label.isprintable()
            or label != label.strip()
            or label[0] in "=+-@"
        ]
        found += self._unknown("baseline", [self.baseline])
        found += self._unknown("core arm", self.core)
        found += self._unknown("searched arm", self.searched)
        if bool(self.searched) != (self.trials > 0):
            found.append(f"a search needs searched arms and at least 1 trial, got {self.searched} and {self.trials}")
        found += self._unknown("the arm to compare with,", [arm.against for arm in self.arms if arm.against])
        if self.core and self.baseline not in self.core:
            found.append(f"the baseline {self.baseline!r} must be one of the core arms ({', '.join(self.core)})")
        if not _is_name(self.metric):
            found.append(f"metric {self.metric!r} must be 'all', 'noc', 'occ' or the name of a region of an extension")
        if found:
            raise ValueError(f"study {self.name!r}: " + "; ".join(found))

    def _unknown(self, what: str, wanted: Iterable[str]) -> list[str]:
        labels = self.labels
        return [
            f"{what} {label!r} is not an arm{registry.did_you_mean(label, labels)} (arms: {', '.join(labels)})"
            for label in dict.fromkeys(wanted)
            if label not in labels
        ]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the arms, in their order."""
        return tuple(arm.label for arm in self.arms)

    def arm(self, label: str) -> Arm:
        """The arm of a label; the error for an unknown one lists the known ones."""
        return self.chosen([label])[0]

    def chosen(self, labels: Iterable[str]) -> tuple[Arm, ...]:
        """The arms of some labels in the study's order, with what they are compared with.

        Raises:
            ValueError: for unknown labels, naming all of them.
        """
        labels = list(labels)
        known = self.labels
        if unknown := [label for label in dict.fromkeys(labels) if label not in known]:
            raise ValueError(
                "\n".join(
                    f"study {self.name!r} has no arm {label!r}{registry.did_you_mean(label, known)}"
                    f" (arms: {', '.join(known)})"
                    for label in unknown
                )
            )
        return tuple(arm for arm in self.arms if arm.label in labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Campaign:
    """Several studies, each on several kinds of data, under one out directory.

    Attributes:
        name: how the command line calls it.
        question: one sentence.
        studies: their names.
        kinds: what all arms change for a kind of data, by dotted key, by its name; on the kind that changes nothing a
            study is what it is without the campaign.
    """

    name: str
    question: str
    studies: tuple[str, ...]
    kinds: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        """Raises `ValueError` naming everything that is wrong with the campaign."""
        found = [f"there are no {what} in it" for what in ("studies", "kinds") if not getattr(self, what)]
        found += [f"study {s!r} is named twice" for s in sorted(set(self.studies)) if self.studies.count(s) > 1]
        found += [f"kind {kind!r} must be an identifier, such as photos" for kind in self.kinds if not _is_name(kind)]
        folders = [folder for *_, folder in self.parts]
        found += [f"two of its parts are called {f!r}" for f in sorted(set(folders)) if folders.count(f) > 1]
        found += [
            f"kind {kind!r} is the same as {other!r}"
            for (other, changes), (kind, same) in itertools.combinations(self.kinds.items(), 2)
            if changes == same
        ]
        if found:
            raise ValueError(f"campaign {self.name!r}: {'; '.join(found)}")

    @property
    def parts(self) -> tuple[tuple[str, str, str], ...]:
        """Study, kind of data, and the name of the folder of both; the kinds of a study beside each other."""
        return tuple(
            (study, kind, f"{study}_{kind}" if changes else study)
            for study in self.studies
            for kind, changes in self.kinds.items()
        )


def _is_name(text: str) -> bool:
    return text.isidentifier() and text.isascii()


def vary(axis: str, names: Iterable[str]) -> tuple[Arm, ...]:
    """One arm for each component of an axis, labelled by its name; the error names every unknown component."""
    arms, problems = [], []
    for name in names:
        try:
            arms.append(Arm(name, {f"{axis}.name": registry.entry(axis, name).name}))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(arms)


def cross(arms: Sequence[Arm], settings: Sequence[Arm], within: bool = False) -> tuple[Arm, ...]:
    """Every arm in every setting, settings outermost, labelled `arm+setting`; an empty label adds nothing.

    Args:
        arms: such as the components of an axis.
        settings: such as kinds of data.
        within: compare the arms of a setting with the first arm of the same setting, for settings whose results
            cannot be compared with each other because they are measured on other data.
    """
    result = []
    for setting in settings:
        reference = _joined(arms[0].label, setting.label) if within else ""
        result += [
            Arm(_joined(arm.label, setting.label), dict(arm.changes) | dict(setting.changes), against=reference)
            for arm in arms
        ]
    return tuple(result)


def _joined(*labels: str) -> str:
    return "+".join(filter(None, labels))


def drop_each(full: Arm, parts: Mapping[str, Mapping[str, Any]]) -> tuple[Arm, ...]:
    """The full arm, and for each part an arm without it: `no <part>`, with the changes that take the part away."""
    return (full, *(Arm(f"no {name}", dict(full.changes) | dict(change)) for name, change in parts.items()))


def add_each(plain: Arm, parts: Mapping[str, Mapping[str, Any]]) -> tuple[Arm, ...]:
    """The plain arm, and for each part an arm with it, labelled by the part, with the changes that bring it in."""
    return (plain, *(Arm(name, dict(plain.changes) | dict(change)) for name, change in parts.items()))


def factorial(factors: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> tuple[Arm, ...]:
    """All 2^k ways to switch k factors on or off, from everything on to everything off.

    The labels are `full`, `no a` and `no a+b` where at most half of the factors are off, else `only a` and
    `only a+b`, and `nothing`. What was taken away is compared with the study's baseline, which should be `full`; what
    was brought in is compared with `nothing`, for `only a` against `full` would say how much all the others help.
    Every arm says the setting of every factor, so the table can be read as a factorial.

    Args:
        factors: the changes for off and for on, by the name of the factor.

    Raises:
        ValueError: with fewer than two factors.
    """
    names = list(factors)
    if len(names) < 2:
        raise ValueError(f"a factorial needs at least two factors, got {len(names)}")
    arms = []
    for count in range(len(names) + 1):
        for off in itertools.combinations(names, count):
            changes = {k: v for name in names for k, v in factors[name][name not in off].items()}
            label = _cell_label(names, off)
            arms.append(Arm(label, changes, against="nothing" if label.startswith("only ") else ""))
    return tuple(arms)


def _cell_label(names: Sequence[str], off: Sequence[str]) -> str:
    on = [name for name in names if name not in off]
    if not off:
        return "full"
    if not on:
        return "nothing"
    return f"no {'+'.join(off)}" if 2 * len(off) <= len(names) else f"only {'+'.join(on)}"
