"""What a run has cost so far: the file `cost.json`."""

from __future__ import annotations

import contextlib
import pathlib
import platform
import resource
import time
from collections.abc import Mapping
from typing import Any

from experiments.records import json_files, layout
from experiments.records.code_version import code_version


class Cost:
    """What a run has cost so far, over all attempts: `cost.json`, which differs from time to time.

    Without a directory nothing is written, for a process that does not track.
    """

    def __init__(self, directory: pathlib.Path | None):
        self.path = directory and directory / layout.COST
        self.before: dict[str, Any] = {}
        with contextlib.suppress(json_files.RecordError):
            before = json_files.read_json(self.path) if self.path else {}
            self.before = before if isinstance(before, dict) else {}
        self.began = time.monotonic()
        self.device = ""
        self.start = 0
        self.ms_per_step: float | None = None
        self.waited = 0.0
        self.write()

    def progress(self, line: Mapping[str, Any], pace: Any) -> None:
        """Prints a line of the learning curve to the run's log."""
        shown = " ".join(f"{key}={value:.5g}" for key, value in line.items() if key != "step")
        with contextlib.suppress(OSError):  # the line is in metrics.jsonl, whose failure counts
            print(f"step {line['step']}  {time.monotonic() - self.began:.1f} s  {shown}", flush=True)

    def write(self) -> None:
        """Writes the file anew."""
        if self.path is None:
            return
        ours = time.monotonic() - self.began
        plain = {
            "seconds": self.before.get("seconds", 0.0) + ours,
            "attempts": self.before.get("attempts", 0) + 1,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "ms_per_step": self.ms_per_step if self.ms_per_step is not None else self.before.get("ms_per_step"),
            "data_wait_seconds": self.before.get("data_wait_seconds", 0.0) + self.waited,
            "started_at_step": self.start,
            "device": self.device,
            "host": platform.node(),
            "code": code_version(),
        }
        json_files.write_json(self.path, plain)
