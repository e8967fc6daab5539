"""The files of a run and of a study, which are the truth behind every table; standard library only.

A study's output directory holds
    <study>/plan.json                        the arms, their seeds and the run ids behind them
    runs/<readable name>__<run_id>/
        spec.json                            the whole experiment, every default written out
        metrics.jsonl                        one JSON object a line: step and training metrics
        result.json                          written last: what the run found, with a checksum; the same for the same
                                             spec on one machine
        cost.json                            seconds, memory, attempts, host: what differs from time to time
        attempts/<number>/                   files of earlier attempts that failed, if the run was done again
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.records import layout
from experiments.records.json_files import DamagedError, RecordError, read_json, write_json

FORMAT = 2  # of a result; one of format 1 has no checksum
STATUSES = ("completed", "diverged", "collapsed", "failed", "pruned")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run found.

    Attributes:
        run_id: hash of `spec`.
        status: `completed`; `diverged` (a loss or parameter was not finite); `collapsed` (nearly every pixel was
            declared occluded, or the flow left the frame); `failed` (an exception); `pruned` (a search gave it up
            early).
        reason: one sentence for every status but `completed`, and for that if nothing was evaluated.
        step: number of training steps done.
        spec: the experiment, as `experiments.spec.to_config` writes it.
        metrics: final values by name, such as `epe/synthetic/occ` in px; empty unless `completed` or `collapsed`, and
            if there was no ground truth to evaluate on.
        validation: the same on the validation split.
        frames: per-frame values of the evaluation set, by the same names, in the order of the set; `None` in a frame
            where the metric has no pixels.
        protocol: name and version of the evaluation.
    """

    run_id: str
    status: str
    reason: str = ""
    step: int = 0
    spec: Mapping[str, Any]
    metrics: Mapping[str, float]
    validation: Mapping[str, float]
    frames: Mapping[str, tuple[float | None, ...]] = dataclasses.field(default_factory=dict)
    protocol: str


def write_result(directory: str | os.PathLike, record: RunRecord) -> None:
    """Writes `result.json`, the last file of a run: its existence means that the run is done."""
    write_json(pathlib.Path(directory) / layout.RESULT, as_plain(record))


def as_plain(record: RunRecord) -> dict[str, Any]:
    """The content of a `result.json`, with its checksum."""
    return sealed({"format": FORMAT, **dataclasses.asdict(record)})


def sealed(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a result with the checksum of all the rest of it; one that it has already is replaced.

    It is made of the values, so that white space and the order of keys do not count.
    """
    content = {key: value for key, value in plain.items() if key != "checksum"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return content | {"checksum": hashlib.sha256(text.encode()).hexdigest()}


def check_seal(plain: Any, where: str) -> None:
    """Raises `DamagedError` if a result is not what was written; one of format 1 cannot be told.

    A single fault never makes a result of today look like one of format 1: besides its number, which differs in two
    bits, its checksum would have to go.
    """
    if not isinstance(plain, dict) or (plain.get("format") == 1 and "checksum" not in plain):
        return
    try:
        whole = sealed(plain) == plain
    except (ValueError, RecursionError):  # NaN or infinity, which are never written
        whole = False
    if not whole:
        raise DamagedError(f"{where}: damaged, its content is not what was written (checksum differs)")


def read_result(directory: str | os.PathLike, run_id: str | None = None) -> RunRecord:
    """The record of a finished run.

    Args:
        directory: of the run.
        run_id: whose record it must be; by default that of the run that the directory is named after.

    Raises:
        RecordError: if `result.json` is missing, cut off, of another format, or not the record of the directory.
    """
    path = pathlib.Path(directory) / layout.RESULT
    return check_result(read_json(path), str(path), run_id or path.parent.name.rpartition("__")[2])


def check_result(plain: Any, where: str, run_id: str) -> RunRecord:
    """The record of a run out of the content of a `result.json`.

    Args:
        plain: the content.
        where: what the message calls it.
        run_id: whose record it must be.

    Raises:
        DamagedError: if its checksum says that it is not what was written.
        RecordError: if it is not that record.
    """
    check_seal(plain, where)
    if not isinstance(plain, dict) or type(plain.get("format")) is not int or plain["format"] not in (1, FORMAT):
        raise RecordError(f"{where}: not a run record of format {FORMAT}")
    values = {key: value for key, value in plain.items() if key not in ("format", "checksum")}
    fields = {f.name for f in dataclasses.fields(RunRecord)}
    if set(values) != fields:
        odd = sorted(fields.symmetric_difference(values))
        raise RecordError(f"{where}: missing or unknown entries: {', '.join(odd)}")
    if not isinstance(values["run_id"], str) or not values["run_id"] or not isinstance(values["spec"], dict):
        raise RecordError(f"{where}: run_id must be text and spec an object")
    if values["status"] not in STATUSES:
        raise RecordError(f"{where}: unknown status {values['status']!r} (known: {', '.join(STATUSES)})")
    for group in ("metrics", "validation"):
        if not isinstance(values[group], dict) or not all(_is_number(v) for v in values[group].values()):
            raise RecordError(f"{where}: {group} must map names to finite numbers")
    if not isinstance(values["frames"], dict) or not all(
        isinstance(row, list) and all(v is None or _is_number(v) for v in row) for row in values["frames"].values()
    ):
        raise RecordError(f"{where}: frames must map names to lists of finite numbers or null")
    if values["run_id"] != run_id:
        raise RecordError(f"{where}: holds run {values['run_id']}, not the run of its directory")
    values["frames"] = {key: tuple(row) for key, row in values["frames"].items()}
    return RunRecord(**values)


def earlier_attempts(directory: str | os.PathLike) -> tuple[str, ...]:
    """How earlier attempts at a run ended, oldest first: `status: reason`, or what is wrong with their record."""
    found = []
    for path in sorted((pathlib.Path(directory) / layout.ATTEMPTS).glob(f"*/{layout.RESULT}")):
        try:
            plain = read_json(path)
            check_seal(plain, str(path))
            found.append(f"{plain['status']}: {plain['reason']}")
        except (RecordError, KeyError, TypeError):
            found.append("unreadable result")
    return tuple(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read_metrics(path: str | os.PathLike) -> Iterator[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, by ascending step.

    A line that a crash or a damaged disk has cut off is left out; of several lines of one step the last one counts.
    """
    try:
        text = pathlib.Path(path).read_bytes()
    except FileNotFoundError:
        return
    yield from whole_lines(text)


def whole_lines(text: bytes) -> Iterator[dict[str, Any]]:
    """The lines of a learning curve that are whole, each step once and ascending."""
    found: dict[int, dict[str, Any]] = {}
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line.decode())
            if isinstance(value, dict) and isinstance(value.get("step"), int):
                found[value["step"]] = value
    yield from (found[step] for step in sorted(found))
