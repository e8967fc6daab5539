"""What a training keeps on the disk: where its files are, what a checkpoint remembers, and the learning curve."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

from experiments.records import faults, json_files, layout, run_record
from experiments.records.run_settings import RunSettings
from experiments.training import checkpoints
from experiments.training.process_group import ProcessGroup


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run keeps its files, and what it may share; nothing here changes the result.

    Attributes:
        directory: of the run.
        settings: how the run is executed.
        group: the processes that train together; only one of them writes.
    """

    directory: pathlib.Path
    settings: RunSettings
    group: ProcessGroup = ProcessGroup()

    @property
    def prefixes(self) -> pathlib.Path:
        """Where training that several runs have in common is kept."""
        return self.settings.out / layout.PREFIXES

    @property
    def checkpoints(self) -> pathlib.Path:
        """Where the run's checkpoints are."""
        return self.directory / layout.CHECKPOINTS

    @property
    def metrics(self) -> pathlib.Path:
        """The learning curve."""
        return self.directory / layout.METRICS


@dataclasses.dataclass
class State:
    """Where training is; all but the parameters, which live in the network and the optimizer.

    Attributes:
        step: steps done.
        window: losses of the steps since the last line of the learning curve.
        extent: of the flows of the same steps, the values of `uflow.losses.extent.EXTENT`.
        low_visible: lines in a row with too few visible pixels or a flow out of the frame.
        metrics_bytes: size of the learning curve.
        metrics_crc: its CRC-32; `None` if nobody wrote it down.
        best: least end-point error on validation pairs.
        collapsed: why training has ended here, if it has collapsed.
    """

    step: int = 0
    window: list[list[float]] = dataclasses.field(default_factory=list)
    extent: list[list[float]] = dataclasses.field(default_factory=list)
    low_visible: int = 0
    metrics_bytes: int = 0
    metrics_crc: int | None = 0
    best: float | None = None
    collapsed: str | None = None

    def memory(self) -> dict[str, Any]:
        """What a checkpoint has to remember beside parameters and step."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "step"}
        return {name: value for name, value in known.items() if value is not None}

    @classmethod
    def of(cls, checkpoint: checkpoints.Checkpoint) -> State:
        """The state that a checkpoint remembers."""
        return cls(checkpoint.step, **{"metrics_crc": None} | dict(checkpoint.memory))

    def curve(self, text: bytes) -> bytes | None:
        """The learning curve out of what its file holds; `None` if that is cut off or damaged."""
        known = text[: self.metrics_bytes]
        whole = len(known) == self.metrics_bytes and self.metrics_crc in (None, zlib.crc32(known))
        return known if whole else None


class CurveFile:
    """The file `metrics.jsonl`, continued from where a checkpoint was written.

    Args:
        path: the file; `None` writes nothing, for a process that does not track.
        state: what the checkpoint knows of it; told the size and checksum of what is written.
    """

    def __init__(self, path: pathlib.Path | None, state: State):
        self.path, self.state = path or pathlib.Path(os.devnull), state
        self.kept = path is not None
        with faults.naming(self.path):
            if self.kept:
                self._continue()
            self.file = open(self.path, "ab")

    def _continue(self) -> None:
        """Cuts the file to what the checkpoint knows of, and says what is lost of it: nothing can bring that back."""
        there = self.path.read_bytes() if self.path.exists() else b""
        curve = self.state.curve(there)
        if curve is None:
            lines = [line for line in run_record.whole_lines(there) if line["step"] <= self.state.step]
            curve = b"".join(map(_as_line, lines))
            print(
                f"warning: {self.path}: cut off or damaged before step {self.state.step}; {len(lines)} whole lines are"
                " kept, the others are lost (the result does not depend on them)",
                flush=True,
            )
        if curve != there:
            json_files.atomic_write(self.path, curve)
        self.state.metrics_bytes, self.state.metrics_crc = len(curve), zlib.crc32(curve)

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds a line; raises `OSError` naming the file if there is no room."""
        text = _as_line(line)
        with faults.naming(self.path):
            self.file.write(text)
            self.file.flush()
        self.state.metrics_bytes += len(text)
        self.state.metrics_crc = zlib.crc32(text, self.state.metrics_crc or 0)

    def sync(self) -> None:
        """Brings the lines to the disk; done before a checkpoint that counts on them."""
        if self.kept:
            with faults.naming(self.path):
                os.fsync(self.file.fileno())

    def close(self) -> None:
        """Closes the file."""
        with faults.naming(self.path):
            self.file.close()


def _as_line(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, sort_keys=True, allow_nan=False).encode() + b"\n"
