"""What a study set out to run: the content of its `plan.json`, checked."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.records import layout
from experiments.records.json_files import RecordError, read_json
from experiments.records.labels import printable

FORMAT = 1


class StudyError(ValueError):
    """A study that cannot be read or compared; the message names what is wrong and what is possible."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """What a seed must have reached to count.

    Attributes:
        metric: name of a value of the validation pairs, such as `epe/synthetic/all`; less is better.
        step: the validation after this step is looked at.
        limit: the largest value that passes.
    """

    metric: str
    step: int
    limit: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedArm:
    """A row of the study.

    Attributes:
        label: name of the row.
        changes: what the arm changes in the study's starting spec, by dotted key such as `occlusion.name`.
        runs: name of the run's directory under `<out>/runs`, by seed.
        seed_offset: what the seeds of its runs are ahead of the study's, for an arm that repeats with other seeds.
        against: label of the arm that it is compared with, if that is not the study's baseline.
    """

    label: str
    changes: Mapping[str, Any]
    runs: Mapping[int, str]
    seed_offset: int = 0
    against: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """The question, the arms in their order, the seeds and the metrics of a study.

    Attributes:
        metrics: names of the tabulated metrics, such as `epe/synthetic/occ`.
        metric: the one of them that decides.
        baseline: label of the arm against which every other is compared.
        protocol: name and version of the evaluation, such as `full/1`.
        left_out: labels of arms of the study that were not asked for.
        alpha: level of the tests after adjustment; less than 0.05 where it is shared out over several looks.
        notes: sentences for the footnotes of every table.
        gate: what a seed must have reached to count, if the study has such a rule.
        kind: the kind of data that the arms train on, by its name.
    """

    study: str
    question: str
    preset: str
    metrics: tuple[str, ...]
    metric: str
    baseline: str
    protocol: str
    seeds: tuple[int, ...]
    arms: tuple[PlannedArm, ...]
    left_out: tuple[str, ...] = ()
    alpha: float = 0.05
    notes: tuple[str, ...] = ()
    gate: Gate | None = None
    kind: str = ""

    @property
    def references(self) -> dict[str, str]:
        """Label of the arm that each arm is compared with, by label; a reference is compared with itself."""
        return {arm.label: arm.against or self.baseline for arm in self.arms}

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the arms, in the study's order."""
        return tuple(arm.label for arm in self.arms)

    @property
    def pairs(self) -> tuple[tuple[str, int], ...]:
        """Every planned (arm, seed), arms outermost."""
        return tuple((arm.label, seed) for arm in self.arms for seed in arm.runs)

    def arm(self, label: str) -> PlannedArm:
        """The arm of that label; raises `StudyError` naming the known ones."""
        for arm in self.arms:
            if arm.label == label:
                return arm
        raise StudyError(f"study {self.study!r} has no arm {label!r} (arms: {', '.join(self.labels)})")


def read_plan(directory: str | pathlib.Path) -> StudyPlan:
    """The plan of the study in `directory`.

    Raises:
        StudyError: if there is no such study, or if its plan is not one; all reasons at once.
    """
    path = pathlib.Path(directory) / layout.PLAN
    if not path.is_file():
        raise StudyError(f"{directory}: not a study: there is no plan.json in it (give OUT/STUDY)")
    try:
        plain = printable(read_json(path))
    except RecordError as error:
        raise StudyError(str(error)) from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        found = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
        raise StudyError(f"{path}: not a plan of format {FORMAT} (found {found!r})")
    if wrong := _problems(plain):
        raise StudyError(f"{path}: {'; '.join(wrong)}")
    arms = tuple(
        PlannedArm(
            label=a["label"],
            changes=a["changes"],
            runs={int(s): run for s, run in a["runs"].items()},
            seed_offset=a.get("seed_offset", 0),
            against=a.get("against", ""),
        )
        for a in plain["arms"]
    )
    names = ("study", "question", "preset", "metric", "baseline", "protocol")
    return StudyPlan(
        **{name: plain[name] for name in names},
        metrics=tuple(plain["metrics"]),
        seeds=tuple(plain["seeds"]),
        arms=arms,
        left_out=tuple(plain.get("left_out", ())),
        alpha=plain.get("alpha", 0.05),
        notes=tuple(plain.get("notes", ())),
        gate=gate_from(plain["gate"]) if "gate" in plain else None,
        kind=_kind(plain),
    )


def _kind(plain: Mapping[str, Any]) -> str:
    """The kind of data; where a plan does not say it, what was asked for, else what the deciding metric is of."""
    changes = plain.get("changes")
    asked = changes.get("data.source") if isinstance(changes, dict) else None
    return str(plain.get("kind") or asked or (*plain["metric"].split("/"), "")[1])


def studies_in(out: pathlib.Path) -> list[pathlib.Path]:
    """The folders of all studies of a directory, by name; raises `StudyError` if there is none."""
    folders = sorted(path.parent for path in out.glob(f"*/{layout.PLAN}"))
    if not folders:
        raise StudyError(f"{out}: no study in it (give the --out of studies.run, which holds STUDY/plan.json)")
    return folders


def gate_from(plain: Any) -> Gate:
    """The gate in a `plan.json`.

    Raises:
        ValueError: if it is none.
    """
    try:
        gate = Gate(metric=plain["metric"], step=int(plain["step"]), limit=float(plain["limit"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        gate = None
    if gate is None or not isinstance(gate.metric, str) or gate.step < 0 or not math.isfinite(gate.limit):
        raise ValueError(f"gate must have a metric, a step and a limit, got {plain!r}")
    return gate


def _problems(plain: Mapping[str, Any]) -> list[str]:
    texts = ("study", "question", "preset", "metric", "baseline", "protocol")
    wrong = [f"{name} must be text, got {plain.get(name)!r}" for name in texts if not isinstance(plain.get(name), str)]
    metrics, seeds, arms = (plain.get(name) for name in ("metrics", "seeds", "arms"))
    if not _is_list(metrics, str):
        wrong.append(f"metrics must be a list of names, got {metrics!r}")
    elif plain.get("metric") not in metrics:
        wrong.append(f"the deciding metric {plain.get('metric')!r} is not one of {', '.join(metrics)}")
    if not _is_list(seeds, int):
        wrong.append(f"seeds must be a list of whole numbers, got {seeds!r}")
    if not _is_list(arms, dict) or not arms:
        return [*wrong, "arms must be a list of at least one arm"]
    for position, arm in enumerate(arms):
        label, changes, runs = (arm.get(name) for name in ("label", "changes", "runs"))
        if not isinstance(label, str) or not isinstance(changes, dict) or not isinstance(runs, dict):
            wrong.append(f"arm {position} must have a label, changes and runs")
        elif odd := [f"{s}: {run!r}" for s, run in runs.items() if not (_is_seed(s) and _is_name(run))]:
            wrong.append(f"runs of arm {label!r} must map seeds to names of run directories, got {', '.join(odd)}")
        elif not isinstance(arm.get("seed_offset", 0), int) or isinstance(arm.get("seed_offset"), bool):
            wrong.append(f"seed_offset of arm {label!r} must be a whole number, got {arm['seed_offset']!r}")
    labels = [arm.get("label") for arm in arms]
    wrong += [
        f"arm {arm.get('label')!r} is compared with {arm['against']!r}, which is not an arm"
        for arm in arms
        if arm.get("against", "") not in ("", *labels)
    ]
    for name in ("left_out", "notes"):
        if not _is_list(plain.get(name, []), str):
            wrong.append(f"{name} must be a list of text, got {plain[name]!r}")
    if "gate" in plain:
        try:
            gate_from(plain["gate"])
        except ValueError as error:
            wrong.append(str(error))
    alpha = plain.get("alpha", 0.05)
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
        wrong.append(f"alpha must be a number between 0 and 1, got {alpha!r}")
    if repeated := sorted({str(label) for label in labels if labels.count(label) > 1}):
        wrong.append(f"two arms have one label: {', '.join(repeated)}")
    if plain.get("baseline") not in labels:
        wrong.append(f"the baseline {plain.get('baseline')!r} is not an arm ({', '.join(map(str, labels))})")
    return wrong


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in value)


def _is_seed(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_name(value: Any) -> bool:
    # A name with a separator in it would lead out of the directory of the runs.
    return isinstance(value, str) and value not in ("", ".", "..") and pathlib.PurePath(value).name == value
