"""What Sacred knows of a run, kept as a file of the run; used by `experiments.run` only."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
from typing import Any

from sacred.observers import RunObserver

from experiments.records import json_files, layout

PROBLEMS = layout.SACRED_PROBLEMS


class RunFilesObserver(RunObserver):
    """Writes configuration, host, times and status to a JSON file, and what could not be written to another.

    Sacred swallows what its observers raise, so that nothing may be raised here that is not counted before.
    `sacred_problems.json` beside the file has how many events were lost, in all processes that worked on the run, and
    why the first was; there is none if none was lost.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.content: dict[str, Any] = {}
        self.problems: list[str] = []
        self._written = 0
        self._before = {"count": 0, "first": ""}
        with contextlib.suppress(json_files.RecordError, KeyError, TypeError, ValueError):
            found = json_files.read_json(path.with_name(PROBLEMS))
            self._before = {"count": int(found["count"]), "first": str(found["first"])}

    def _keep(self, **changes: Any) -> None:
        try:
            self.content |= {key: _plain(value) for key, value in changes.items()}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            json_files.write_json(self.path, self.content)
        except Exception as error:
            self.problems.append(str(error) or type(error).__name__)
        self.count()

    def count(self) -> None:
        """Writes how many events were lost, if that can be written and is not."""
        if len(self.problems) == self._written:
            return
        first = self._before["first"] or self.problems[0]
        with contextlib.suppress(OSError):
            json_files.write_json(
                self.path.with_name(PROBLEMS), {"count": self._before["count"] + len(self.problems), "first": first}
            )
            self._written = len(self.problems)

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
        """A run begins."""
        about = {key: value for key, value in ex_info.items() if key in ("name", "dependencies", "repositories")}
        self._keep(experiment=about, host=host_info, start_time=start_time, config=config, status="RUNNING")
        return _id

    def heartbeat_event(self, info, captured_out, beat_time, result):
        """A run is alive."""
        self._keep(info=info, heartbeat=beat_time)

    def completed_event(self, stop_time, result):
        """A run has come to its end, which may be that it diverged."""
        self._keep(stop_time=stop_time, status="COMPLETED", result=result)

    def interrupted_event(self, interrupt_time, status):
        """A run was interrupted."""
        self._keep(stop_time=interrupt_time, status=status)

    def failed_event(self, fail_time, fail_trace):
        """A run ended with an exception."""
        self._keep(stop_time=fail_time, status="FAILED", trace=fail_trace)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
