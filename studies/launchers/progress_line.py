"""What the runs of a study are doing, read from their files and shown in one line."""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

from experiments.records import json_files, layout, locks, run_record
from experiments.records.following import Following

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal


class Progress:
    """A line that follows the runs.

    Args:
        runs: directory of all runs.
        steps: training steps of the runs that are to be done, by directory.
    """

    def __init__(self, runs: pathlib.Path, steps: Mapping[str, int]):
        self.runs, self.steps = runs, steps
        self.began = time.monotonic()
        self.shown = self.began - PLAIN_EVERY + 2.0
        self.first_work: float | None = None
        self.elsewhere = 0  # runs that workers on other machines are at
        self.terminal = sys.stdout.isatty()
        self._curves: dict[str, tuple[Following, dict[str, Any]]] = {}  # and the newest value of each name
        self._ended: dict[str, int] = {}  # whether a run has failed: a result is read once, for there may be hundreds

    def show(self) -> None:
        """Shows the line, not more often than is useful."""
        now = time.monotonic()
        if now - self.shown < (1.0 if self.terminal else PLAIN_EVERY):
            return
        self.shown = now
        line = self.line()
        print(f"\r\033[K{line[:118]}" if self.terminal else line, end="" if self.terminal else "\n", flush=True)

    def say(self, text: str) -> None:
        """Shows a message of its own."""
        print(f"\r\033[K{text}" if self.terminal else text, flush=True)

    def end(self) -> None:
        """Leaves the line."""
        if self.terminal:
            print("\r\033[K", end="", flush=True)

    def line(self) -> str:
        """Finished and running runs, time to go, and step, loss and end-point error of the runs under way."""
        done, failed, work, current = 0, 0, 0.0, []
        for name in self.steps:
            directory = self.runs / name
            if layout.finished(directory):
                self._curves.pop(name, None)
                if name not in self._ended:
                    self._ended[name] = _failed(directory)
                done += 1
                work += 1.0
                failed += self._ended[name]
            elif not locks.is_free(directory / layout.WORKER_LOCK):
                following, last = self._curves.setdefault(name, (Following(directory / layout.METRICS), {}))
                lines, anew = following.look()
                if anew:
                    last.clear()
                for line in lines:
                    last.update(line)
                share = last.get("step", 0) / self.steps[name]
                work += share
                current.append(_describe(name, last, self.steps[name]))
        if work and self.first_work is None:
            self.first_work = work
            self.began = time.monotonic()
        left = ""
        if self.first_work is not None and work > self.first_work:
            seconds = (time.monotonic() - self.began) * (len(self.steps) - work) / (work - self.first_work)
            left = f"  ETA {_clock(seconds)}"
        wrong = f"  {failed} failed" if failed else ""
        others = f" here, {self.elsewhere} elsewhere" if self.elsewhere else ""
        return f"{done}/{len(self.steps)} runs  {len(current)} running{others}{wrong}{left}  " + "  ".join(current)


def _failed(directory: pathlib.Path) -> int:
    try:
        return int(run_record.read_result(directory).status not in ("completed", "pruned"))
    except json_files.RecordError:
        return 1


def _describe(name: str, last: Mapping[str, Any], steps: int) -> str:
    label = name.split("__")[0].split("-", 1)[-1]
    parts = label.split("-")
    short = f"{parts[0]}{'_' + label.rsplit('_', 1)[1] if '_' in label else ''}"
    text = f"[{short} {last.get('step', 0)}/{steps}"
    if isinstance(last.get("total"), float):
        text += f" loss {last['total']:.3f}"
    epe = next((v for k, v in last.items() if k.endswith("/all")), None)
    if epe is not None:
        text += f" epe {epe:.2f}"
    return text + "]"


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return (
        f"{int(seconds)}s" if minutes < 1 else f"{minutes}m" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}"
    )
