"""What of a run's files a tracking store is to hold, as values; needs no MLflow."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from experiments.data.source_text import unplaced
from experiments.records import json_files, layout, run_record
from experiments.spec import flatten

FILES = (layout.SPEC, layout.RESULT, layout.COST, layout.METRICS, layout.LOG)
_STATES = {"completed": "FINISHED", "collapsed": "FAILED", "diverged": "FAILED", "failed": "FAILED", "pruned": "KILLED"}

Point = tuple[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracked:
    """A run as a study's tracking store shows it.

    Attributes:
        name: of the run's directory, `<readable name>__<run_id>`; of an earlier attempt with `/attempts/<number>`.
        files: where its learning curve and result are.
        spec: its `spec.json`.
        arm: label of the arm.
        seed: of the run.
        attempt: counted from 1.
        about: what the store is told of every run of the study.
        tags: what else the store is to say of it.
    """

    name: str
    files: pathlib.Path
    spec: pathlib.Path
    arm: str
    seed: int
    attempt: int = 1
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes it one run of a study: run id, arm and attempt."""
        return self.run_id, self.arm, self.attempt

    @property
    def run_id(self) -> str:
        """The hash of the spec."""
        return self.name.split("/")[0].rsplit("__", 1)[1]

    @property
    def done(self) -> bool:
        """True if it has a result."""
        return layout.finished(self.files)

    @property
    def begun(self) -> bool:
        """True if there is anything of it to show."""
        return self.spec.exists() and (self.done or (self.files / layout.METRICS).exists())

    def points(self, lines: Iterable[Mapping[str, Any]] | None = None) -> Iterator[tuple[Point, float]]:
        """Values of the learning curve by name and step, then the final values, at step 0; a point may come twice.

        Args:
            lines: of the learning curve; by default all of them.

        Raises:
            records.RecordError: if there is a result that cannot be read.
        """
        for line in run_record.read_metrics(self.files / layout.METRICS) if lines is None else lines:
            step = int(line["step"])
            for name, value in line.items():
                if name != "step" and isinstance(value, (int, float)) and math.isfinite(value):
                    yield (name, step), float(value)
        if self.done:
            for name, value in sorted(run_record.read_result(self.files, self.run_id).metrics.items()):
                yield (f"final/{name}", 0), float(value)

    def outcome(self) -> tuple[str, dict[str, str]]:
        """The state at the end and the tags that say how it ended.

        Raises:
            records.RecordError: if the result cannot be read.
        """
        record = run_record.read_result(self.files, self.run_id)
        tags = {"status": record.status, "reason": record.reason or "-"}
        for path in sorted((self.files / layout.CHECKPOINTS).glob("step_*.ckpt"))[-1:]:  # kept once, by the run
            tags["uflow.weights"] = f"runs/{self.name}/checkpoints/{path.name}"
        return _STATES[record.status], tags

    def params(self) -> dict[str, str]:
        """The configuration as text, with names of data sets and without their paths."""
        config = flatten(json_files.read_json(self.spec))
        found = {"arm": self.arm, "run_id": self.run_id} | {k: str(v) for k, v in self.about.items()}
        found |= {key: str(value) for key, value in config.items() if not key.endswith("source")}
        for part in ("data", "evaluation"):
            found[f"{part}.source"] = unplaced(str(config.get(f"{part}.source", "")))
        return found

    def data_sets(self) -> list[tuple[str, str, str]]:
        """What it trains and is evaluated on: context, name and digest of the content."""
        config = flatten(json_files.read_json(self.spec))
        found = []
        for part, context in (("data", "training"), ("evaluation", "evaluation")):
            source = str(config.get(f"{part}.source") or config.get("data.source", ""))
            if digest := str(config.get(f"{part}.digest", "")):
                found.append((context, unplaced(source), digest))
        return found

    def source(self) -> dict[str, str]:
        """Tags that say where it comes from: the command, and the commit if its `cost.json` has one."""
        words = [f"studies.run {self.about['study']}"] if "study" in self.about else ["experiments.run"]
        words += [f"--preset {self.about['preset']}"] if "preset" in self.about else []
        found = {"mlflow.source.type": "LOCAL", "mlflow.source.name": " ".join(words)}
        with contextlib.suppress(json_files.RecordError, TypeError, AttributeError):
            code = json_files.read_json(self.files / layout.COST).get("code", {})
            if commit := code.get("commit"):
                found |= {"mlflow.source.git.commit": str(commit)}
                found |= {"mlflow.source.git.dirty": str(bool(code.get("changed"))).lower()}
        return found

    def artifacts(self) -> list[tuple[pathlib.Path, str | None]]:
        """The files that go with the run, and the folder that each goes to."""
        found = [(self.files / name, None) for name in FILES if (self.files / name).exists()]
        if not (self.files / layout.SPEC).exists():
            found.append((self.spec, None))
        pictures = sorted(path for path in (self.files / layout.PICTURES).glob("*") if path.is_file())
        found += [(path, layout.PICTURES) for path in pictures]
        return found

    def seal(self) -> str:
        """A digest of the files; a store that holds it as a tag holds everything."""
        return sealed((path, folder or "") for path, folder in self.artifacts())


def tracked(
    directory: pathlib.Path,
    arm: str,
    seed: int,
    about: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
) -> Tracked:
    """A run in a directory; its present attempt."""
    return Tracked(
        name=directory.name, files=directory, spec=directory / layout.SPEC, arm=arm, seed=seed,
        attempt=len(run_record.earlier_attempts(directory)) + 1, about=about, tags=tags or {},
    )  # fmt: skip


def earlier(run: Tracked) -> list[Tracked]:
    """The attempts before the present one, oldest first."""
    folders = sorted(path.parent for path in (run.files / layout.ATTEMPTS).glob(f"*/{layout.RESULT}"))
    place = f"{run.name}/{layout.ATTEMPTS}"
    return [
        dataclasses.replace(run, name=f"{place}/{folder.name}", files=folder, attempt=number, tags={})
        for number, folder in enumerate(folders, 1)
    ]


def sealed(files: Iterable[tuple[pathlib.Path, str]]) -> str:
    """A digest of files: names and sizes, and the content of those that are small."""
    digest = hashlib.sha256()
    for path, place in files:
        size = path.stat().st_size
        digest.update(f"{place}/{path.name} {size}\n".encode())
        if size < 2**20:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]
