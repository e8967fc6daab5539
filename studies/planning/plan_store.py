"""The plan of a study on disk: what was planned before, what is new, what is left to do."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.evaluation import regions
from experiments.records import json_files, layout, locks
from experiments.spec import canonical, differing, from_config, to_config
from studies.planning.planner import Plan, PlanError, PlannedRun, in_order
from studies.queue import attempts
from studies.queue.endings import DriftError
from uflow import registry

# what --until-decided or a campaign has written and later commands keep
KEPT = ("alpha", "notes", "sequential", "kind")


def rows(plan: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Label, seed and directory of every run of a `plan.json`: those that others start from, then those of the arms."""
    starts = plan.get("starts", {}).items()
    owners = [*starts, *((arm["label"], arm["runs"]) for arm in plan["arms"])]
    return [(label, int(seed), name) for label, runs in owners for seed, name in runs.items()]


def stored(directory: pathlib.Path) -> dict[str, Any] | None:
    """The `plan.json` of a study, or `None`."""
    path = directory / layout.PLAN
    found = json_files.read_json(path) if path.exists() else None
    if found is not None and not isinstance(found, dict):
        raise json_files.RecordError(f"{path}: not a plan, it must be a JSON object (--fresh plans anew)")
    return found


def merged(plan: Plan, out: pathlib.Path, looking: bool = False) -> dict[str, Any]:
    """What `plan.json` has to hold: the plan, and what an earlier command planned of the same study.

    Args:
        plan: what is to be done now.
        out: directory of all results.
        looking: whether the seeds come from `--until-decided`.

    Raises:
        PlanError: if the earlier plan was made with another preset or other changes, or fixed its seeds beforehand.
        DriftError: if it was made with the same and yet means other runs now, naming the keys that differ.
    """
    new, old = plan.plain(), stored(out / plan.study.name)
    if old is None:
        return new
    if "gate" not in old:  # results may be known: no rule on which of them count is added to them
        new.pop("gate", None)
    check_request(plan, old, out)
    if new.get("gate") != old.get("gate"):
        raise DriftError(
            f"{out / plan.study.name} was planned with the gate {_shown(old['gate'])}, now it is"
            f" {_shown(new.get('gate'))}; use another --out, or --fresh to plan it anew (finished runs are kept)"
        )
    if extra := sorted(set(new["seeds"]) - set(old["seeds"])) if "sequential" in old and not looking else []:
        raise PlanError(
            f"{out / plan.study.name} was planned with --until-decided {max(old['sequential']['looks'])}, which adds"
            f" seeds only where it said so beforehand; seed {', '.join(map(str, extra))} was not planned"
            " (--fresh plans anew; finished runs are kept)"
        )
    arms = {arm["label"]: arm for arm in old["arms"]}
    for arm in new["arms"]:
        earlier = arms.setdefault(arm["label"], arm)
        for seed, directory in earlier["runs"].items():
            if arm["runs"].get(seed, directory) != directory:
                raise DriftError(_drift(plan, arm["label"], int(seed), layout.run_directory(out, directory)))
        arms[arm["label"]] = arm | {"runs": earlier["runs"] | arm["runs"]}
    labels = [arm.label for arm in plan.study.arms]
    ordered = sorted(arms.values(), key=lambda arm: labels.index(arm["label"]) if arm["label"] in labels else 10**6)
    planned = {arm["label"] for arm in ordered}
    starts, of_arms = {}, {name for arm in ordered for name in arm["runs"].values()}
    for label, seed, name in [*rows(old | {"arms": []}), *rows(new | {"arms": []})]:
        if name not in of_arms:
            starts.setdefault(label, {})[str(seed)] = name
    return (
        new
        | {key: old[key] for key in KEPT if key in old}
        | {
            "arms": ordered,
            "seeds": sorted({int(s) for arm in ordered for s in arm["runs"]}),
            "left_out": [label for label in labels if label not in planned],
        }
        | ({"starts": starts} if starts else {})
    )


def check_request(plan: Plan, old: Mapping[str, Any], out: pathlib.Path) -> None:
    """Raises `PlanError` if a stored plan was asked for in another way."""
    new = plan.plain()
    for key, flag in (("preset", "--preset"), ("changes", "--set, --data or --eval")):
        if old.get(key) != new[key]:
            raise PlanError(
                f"{out / plan.study.name} was planned with {flag} {_shown(old.get(key))}, now it is"
                f" {_shown(new[key])}; give another --out, or --fresh to plan it anew (finished runs are kept)"
            )


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{k}={v}" for k, v in sorted(value.items())) or "(none)"
    return "(none)" if value is None else str(value)


def _drift(plan: Plan, label: str, seed: int, directory: pathlib.Path) -> str:
    now = next(run.spec for run in plan.runs if run.arm == label and run.seed == seed)
    then, here = {}, canonical(now)
    try:
        then = json_files.read_json(directory / layout.SPEC)
        then = canonical(from_config(then))
    except ValueError:  # a spec that this version cannot read is compared as it is written
        then, here = then if isinstance(then, dict) else {}, to_config(now)
    listed = differing(then, here) + _changed_files(then, here)
    return (
        f"arm {label!r} seed {seed} is another experiment now than when {plan.study.name!r} was planned: {listed};"
        " use another --out, or --fresh to plan it anew (finished runs are kept)"
    )


def _changed_files(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which files of components and regions have changed between two specs, as the rest of a sentence."""
    old, new = _code(then), _code(now)
    changed = {new[name] for name in old.keys() & new.keys() if old[name] != new[name]}
    brought = [known.extension for known in registry.brought()]
    brought += [extension for _, extension in regions.brought().values()]
    files = sorted({str(extension.file) for extension in brought if extension.digest in changed})
    return f"; {' and '.join(files)} has changed" if files else ""


def _code(config: Mapping[str, Any]) -> dict[tuple[str, str], str | None]:
    """Digests of the files that define the components and regions of a spec."""
    parts = ((axis, config.get(axis, {})) for axis in registry.AXES)
    found = {(axis, part.get("name")): part.get("extension") for axis, part in parts}
    words = (word.partition("@") for word in config.get("evaluation", {}).get("regions", "").split(","))
    return found | {("regions", name): digest for name, _, digest in words}


def write(plan: Plan, out: pathlib.Path, content: Mapping[str, Any], fresh: bool = True) -> None:
    """Writes `spec.json` of every run that is not done, and then `plan.json`.

    Args:
        plan: what is to be done.
        out: directory of all results.
        content: of `plan.json`.
        fresh: whether it replaces what is there; else what another command has written meanwhile is kept too.

    Raises:
        PlanError, DriftError: before anything is written, if another command has planned something else meanwhile.
    """
    folder = out / plan.study.name
    with locks.held(folder / "plan.lock"):
        if not fresh and stored(folder) is not None:
            content = merged(plan, out, looking=True) | {key: content[key] for key in KEPT if key in content}
        write_specs(plan, out)
        json_files.write_json(folder / layout.PLAN, dict(content))


def write_specs(plan: Plan, out: pathlib.Path) -> None:
    """Writes `spec.json` of every run that is not done; one that is there again, for its data may have been moved."""
    for run in plan.all_runs:
        directory = layout.run_directory(out, run.directory)
        if not layout.finished(directory):
            directory.mkdir(parents=True, exist_ok=True)
            json_files.write_json(directory / layout.SPEC, to_config(run.spec))


def pending(plan: Plan, out: pathlib.Path, workers: int = 1, again: bool = False) -> list[PlannedRun]:
    """The runs that have no result yet, in the order in which to do them; a run shared by two arms counts once.

    With `again` also those that failed, as `--retry-failed` would do them.
    """
    places = {run.directory: layout.run_directory(out, run.directory) for run in plan.all_runs}
    todo = {n for n, at in places.items() if not layout.finished(at) or (again and attempts.failed(at))}
    # What is done leads no group: the first run that is left trains what the others share.
    groups = [left for group in plan.groups if (left := [run for run in group if run.directory in todo])]
    seen: dict[str, PlannedRun] = {}
    for run in in_order(groups, workers):
        seen.setdefault(run.directory, run)
    return list(seen.values())
