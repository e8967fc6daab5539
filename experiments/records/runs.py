"""The runs of a study as a report reads them: from their directories, or from the one file that keeps the results.

`runs.jsonl.gz` in the folder of a study has a line of JSON for every run that ended: its whole record with the spec and
every value per frame, what it cost, how earlier attempts ended, and of its learning curve the values of the validation
pairs. Every number is kept as it was written, so all tables come out the same. Training curves, pictures, logs,
checkpoints and the name of the machine are not kept.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from experiments.records import layout, run_record
from experiments.records.json_files import DamagedError, RecordError, atomic_write, read_json
from experiments.records.run_record import RunRecord

_PLACES = ("host",)  # of a cost: says where a run was made, and nothing about it


class Runs(Protocol):
    """What is known of runs, by the names of their directories."""

    def finished(self, name: str) -> bool:
        """True if the run has a result, of whatever kind."""

    def result(self, name: str) -> RunRecord:
        """The record of a finished run; raises `RecordError` if it is not one."""

    def cost(self, name: str) -> Any:
        """The content of its `cost.json`; raises `RecordError` if there is none."""

    def spec(self, name: str) -> Any:
        """The content of the `spec.json` of a planned run; raises `RecordError` if there is none."""

    def curve(self, name: str) -> Iterator[dict[str, Any]]:
        """The lines of its learning curve, by ascending step."""

    def earlier_attempts(self, name: str) -> tuple[str, ...]:
        """How earlier attempts at it ended, oldest first."""


@dataclasses.dataclass(frozen=True)
class RunFolders:
    """Runs with a directory each under `<out>/runs`."""

    out: pathlib.Path

    def _directory(self, name: str) -> pathlib.Path:
        return layout.run_directory(self.out, name)

    def finished(self, name: str) -> bool:
        """True if its `result.json` is there."""
        return layout.finished(self._directory(name))

    def result(self, name: str) -> RunRecord:
        """What its `result.json` says."""
        return run_record.read_result(self._directory(name))

    def cost(self, name: str) -> Any:
        """What its `cost.json` says."""
        return read_json(self._directory(name) / layout.COST)

    def spec(self, name: str) -> Any:
        """What its `spec.json` says."""
        return read_json(self._directory(name) / layout.SPEC)

    def curve(self, name: str) -> Iterator[dict[str, Any]]:
        """The lines of its `metrics.jsonl`."""
        return run_record.read_metrics(self._directory(name) / layout.METRICS)

    def earlier_attempts(self, name: str) -> tuple[str, ...]:
        """What the results in its `attempts` say."""
        return run_record.earlier_attempts(self._directory(name))


@dataclasses.dataclass(frozen=True)
class KeptRuns:
    """Runs of a study whose results were kept in one file.

    Attributes:
        path: of the file.
        lines: what it says of each run, by the name of the run's directory.
    """

    path: pathlib.Path
    lines: Mapping[str, Mapping[str, Any]]

    def _line(self, name: str, what: str) -> Any:
        if what not in self.lines.get(name, {}):
            raise RecordError(f"{self.path}: has no {what} of run {name}")
        return self.lines[name][what]

    def finished(self, name: str) -> bool:
        """True if a line of it was kept."""
        return name in self.lines

    def result(self, name: str) -> RunRecord:
        """The kept record, checked like its file."""
        plain = self._line(name, "result")
        return run_record.check_result(plain, f"{self.path}, run {name}", name.rpartition("__")[2])

    def cost(self, name: str) -> Any:
        """The kept cost."""
        return self._line(name, "cost")

    def spec(self, name: str) -> Any:
        """Raises `RecordError`: what has no result is not kept."""
        return self._line(name, "spec")

    def curve(self, name: str) -> Iterator[dict[str, Any]]:
        """The kept lines, of validations only."""
        return iter(self.lines.get(name, {}).get("curve", ()))

    def earlier_attempts(self, name: str) -> tuple[str, ...]:
        """The kept sentences."""
        return tuple(self.lines.get(name, {}).get("attempts", ()))


def runs_of(study: pathlib.Path) -> Runs:
    """The runs of the study in a directory: those that were kept there, else those beside it.

    Raises:
        RecordError: if the file with the kept runs is not one.
    """
    path = study / layout.KEPT_RUNS
    return KeptRuns(path, _read(path, path.stat().st_mtime_ns)) if path.exists() else RunFolders(study.parent)


def keep(names: Sequence[str], runs: Runs, path: pathlib.Path) -> int:
    """Writes the finished ones of these runs into one file, each once and in this order; returns how many.

    The same runs give the same bytes.

    Raises:
        RecordError: if a result cannot be read: what is kept is meant to be all there is.
        OSError: if the file cannot be written.
    """
    lines = [json.dumps(_told(name, runs), sort_keys=True, allow_nan=False) for name in _finished(names, runs)]
    text = "".join(f"{line}\n" for line in lines)
    atomic_write(path, gzip.compress(text.encode(), mtime=0))
    return len(lines)


def _finished(names: Sequence[str], runs: Runs) -> list[str]:
    return [name for name in dict.fromkeys(names) if runs.finished(name)]


def _told(name: str, runs: Runs) -> dict[str, Any]:
    told: dict[str, Any] = {"run": name, "result": run_record.as_plain(runs.result(name))}
    try:
        cost = runs.cost(name)
        told["cost"] = {k: v for k, v in cost.items() if k not in _PLACES} if isinstance(cost, dict) else cost
    except RecordError:  # a result stands without, in a report too
        pass
    kept = ({k: v for k, v in line.items() if k == "step" or k.startswith("validation/")} for line in runs.curve(name))
    told["curve"] = [line for line in kept if len(line) > 1]
    told["attempts"] = list(runs.earlier_attempts(name))
    return told


@functools.lru_cache(maxsize=4)  # a report and a ledger read the same file
def _read(path: pathlib.Path, changed: int) -> dict[str, dict[str, Any]]:
    try:
        text = gzip.decompress(path.read_bytes()).decode()
        found = [json.loads(line) for line in text.splitlines()]
        return {line["run"]: line for line in found}
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
        raise DamagedError(f"{path}: not the kept runs of a study ({type(error).__name__}: {error})") from None
