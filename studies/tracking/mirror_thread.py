"""The mirror of a worker, in a thread of its own: a server that is slow or away holds up nothing but the mirror."""

from __future__ import annotations

import contextlib
import pathlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.tracking.mlflow_mirror import Arrived, Mirror
from experiments.tracking.run_view import Tracked, tracked
from studies.tracking import backlog

PERIOD = 2.0  # s between looks at a run's files
SHARE = 0.05  # of the time at most is spent on looking, since a learning curve may be long
PATIENCE = 60.0  # s that the end of a worker waits for what is on its way; the end of the study sends the rest


def open_mirror(uri: str, study: str, out: pathlib.Path) -> Mirror:
    """The mirror of a study, whose results are in `out`; not connected yet."""
    return Mirror(uri, study, out / "mlartifacts", out / "mlflow.lock")


class Mirroring:
    """Keeps MLflow up to date with the files of the runs that a worker is at; use as a context.

    Without a `uri` it does nothing; at the end it waits for `patience` s.
    """

    def __init__(self, uri: str | None, study: str, out: pathlib.Path, patience: float = PATIENCE):
        self.folder, self.uri, self.patience = out / study, uri, patience
        self._mirror = open_mirror(uri, study, out) if uri else None
        self._noted: dict[str, Arrived] = {}
        self._changed = threading.Condition()
        self._current: list[Tracked] = []
        self._ended: list[Tracked] = []
        self._closing = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Mirroring:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread:
            self._thread.join(self.patience)
        if self._mirror and self._mirror.failures:
            count, first = len(self._mirror.failures), self._mirror.failures[0]
            print(f"{count} MLflow update{'s' * (count > 1)} failed, first: {first}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def following(self, directory: pathlib.Path, arm: str, seed: int, about: Mapping[str, Any]) -> Iterator[None]:
        """Mirrors a run while the block goes on, and its end afterwards; nothing waits for that."""
        run = tracked(directory, arm, seed, about)
        self._current.append(run)
        if self._mirror and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._current.remove(run)
                self._ended.append(run)
                self._changed.notify()

    def _work(self) -> None:
        pause, closing = 0.0, False
        while not closing:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._ended, pause)
                ended, current, closing = self._ended, list(self._current), self._closing
                self._ended = []
            began = time.monotonic()
            if ended:
                self._mirror.again()  # once more at the end of a run, whatever happened before
            for run in ended:
                self._update(run)
                self._mirror.forget(run)
            for run in current:
                if not self._mirror.waiting:
                    self._update(run)
            pause = max(PERIOD, (time.monotonic() - began) / SHARE)

    def _update(self, run: Tracked) -> None:
        arrived = self._mirror.update(run)
        before = self._noted.get(run.name)
        quiet = arrived.complete and not run.done and (before is None or before.complete)
        if not quiet:
            backlog.noted(self._mirror, backlog.note, self.folder, run, arrived)
        self._noted[run.name] = arrived
