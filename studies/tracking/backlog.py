"""What a study's tracking store lacks, kept as `mirror.json` of the study, so that a gap is seen by everybody."""

from __future__ import annotations

import contextlib
import pathlib
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from experiments.records import json_files, layout, locks
from experiments.tracking import mlflow_page
from experiments.tracking.mlflow_mirror import Arrived, Mirror
from experiments.tracking.redaction import describe, sqlite_address
from experiments.tracking.run_view import Tracked

FORMAT = 1
EMPTY = {"format": FORMAT, "address": "", "default": True, "reason": ""}


def noted(mirror: Mirror, note: Callable[..., None], folder: pathlib.Path, *what: Any) -> None:
    """Writes what is known of a mirror; that it cannot be written is one more failure of the mirror and no more."""
    try:
        note(folder, mirror.uri, *what)
    except OSError as error:
        mirror.failures.append(f"{layout.MIRROR}: {error}")


def note(folder: pathlib.Path, uri: str, run: Tracked, arrived: Arrived) -> None:
    """Keeps what is known of a run; nothing of another store stays."""
    seal = run.seal() if arrived.complete and run.done else ""
    reason = "" if arrived.complete else arrived.reason or "it was not asked"
    entry = {"arm": run.arm, "seed": run.seed, "files": seal, "reason": reason}
    with _changed(folder, uri) as content:
        # a process that could not ask knows less than the one that sent
        known = 0 if arrived.complete else content["runs"].get(run.name, {}).get("there", 0)
        entry["there"] = max(known, arrived.there)
        entry["missing"] = max(0, arrived.there + arrived.missing - entry["there"])
        content["runs"][run.name] = entry


def note_study(folder: pathlib.Path, uri: str, reason: str, experiment: str = "") -> None:
    """Keeps why the study's own run lacks its report, an empty reason if it does not, and the store's id of the study.

    The id is that of the page of the study, so it counts only if all arrived.
    """
    with _changed(folder, uri) as content:
        content["reason"] = reason
        if experiment and not reason:
            content["experiment"] = experiment


def page(folder: pathlib.Path, uri: str) -> str | None:
    """The address of the page that shows the study, as seen from the machine of the store; `None` if it has none."""
    content = _read(folder)
    if content["address"] != _address(folder, uri) or not content.get("experiment"):
        return None
    return mlflow_page.address(describe(uri) if uri.startswith("http") else mlflow_page.DEFAULT, content["experiment"])


def known(folder: pathlib.Path, uri: str, run: Tracked) -> bool:
    """True if all that the files of a finished run hold now was seen to arrive in the store."""
    content = _read(folder)
    entry = content["runs"].get(run.name, {}) if content.get("address") == _address(folder, uri) else {}
    return run.done and entry.get("files", "") == run.seal()


def gap(folder: pathlib.Path) -> dict[str, Any] | None:
    """What the store lacks, as plain data, or `None` if nothing is known to be missing.

    `address` of the store, without credentials; names of `runs` that lack something and how many `points` of their
    curves and final values are not known to be there; whether the study's own run lacks its `report`; the first
    `reason`; the `command` that sends it all; and all that in a `sentence`.

    Args:
        folder: of the study.
    """
    content, out = _read(folder), folder.parent
    lacking = {name: entry for name, entry in content["runs"].items() if entry["reason"]}
    reasons = [f"{entry['arm']} seed {entry['seed']}: {entry['reason']}" for entry in lacking.values()]
    reasons += [f"the report: {content['reason']}"] if content["reason"] else []
    if not reasons:
        return None
    points = sum(entry["missing"] for entry in lacking.values())
    address = describe(sqlite_address(out / layout.MLFLOW)) if content["default"] else content["address"]
    command = shlex.join(
        ["python", "-m", "studies.sync", str(out), *([] if content["default"] else ["--tracking-uri", address])]
    )
    parts = [f"{points} points of {len(lacking)} run{'s' * (len(lacking) > 1)}"] if lacking else []
    parts += ["the report"] if content["reason"] else []
    return {
        "address": address,
        "runs": list(lacking),
        "report": bool(content["reason"]),
        "points": points,
        "reason": reasons[0],
        "command": command,
        "sentence": f"MLflow ({address}) lacks {' and '.join(parts)} (first: {reasons[0]}); to send them: {command}",
    }


def sacred_problems(directories: Iterable[pathlib.Path]) -> dict[str, Any]:
    """How many errors Sacred has swallowed in how many runs, and the first, as plain data.

    Args:
        directories: of the runs.
    """
    found = []
    for directory in directories:
        with contextlib.suppress(json_files.RecordError, TypeError, KeyError):
            content = json_files.read_json(directory / layout.SACRED_PROBLEMS)
            found.append((directory.name, int(content["count"]), str(content["first"])))
    return {
        "count": sum(count for _, count, _ in found),
        "runs": [name for name, _, _ in found],
        "first": found[0][2] if found else "",
    }


def sentences(gap: Mapping[str, Any] | None, problems: Mapping[str, Any]) -> list[str]:
    """What is missing, for a terminal; nothing if nothing is.

    Args:
        gap: as `gap` gives it.
        problems: as `sacred_problems` gives them.
    """
    found = [gap["sentence"]] if gap else []
    if not problems["count"]:
        return found
    return [
        *found,
        f"Sacred could not record {problems['count']} events of {len(problems['runs'])} runs in their sacred.json"
        f" (first: {problems['runs'][0]}: {problems['first']}); their results are not touched by that",
    ]


def _address(folder: pathlib.Path, uri: str) -> str:
    """What the file calls a store: the one beside it by name only, for the folder may be moved."""
    return layout.MLFLOW if uri == sqlite_address(folder.parent / layout.MLFLOW) else describe(uri)


def _read(folder: pathlib.Path) -> dict[str, Any]:
    """The file, or an empty one: it only tells what can be asked again, so a damaged one is nothing to stop for."""
    with contextlib.suppress(json_files.RecordError):
        content = json_files.read_json(folder / layout.MIRROR)
        if isinstance(content, dict) and content.get("format") == FORMAT:
            return content
    return EMPTY | {"runs": {}}


@contextlib.contextmanager
def _changed(folder: pathlib.Path, uri: str) -> Iterator[dict[str, Any]]:
    """The content, to be changed by one process at a time and written if it was."""
    with locks.held(folder / "mirror.lock"):
        content, address = _read(folder), _address(folder, uri)
        before = json_files.dump_json(content)
        if content["address"] != address:
            content |= EMPTY | {"address": address, "default": address == layout.MLFLOW, "experiment": "", "runs": {}}
        yield content
        if json_files.dump_json(content) != before:
            json_files.write_json(folder / layout.MIRROR, content)
