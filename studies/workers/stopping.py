"""How a command and its workers come to an end: asked first, made to after a while, and at once if somebody insists."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from studies.tracking.mirror_thread import PATIENCE
from studies.workers.subprocess_run import KILL_SECONDS

IDLE_SECONDS = PATIENCE + 30.0  # that workers have to end by themselves once nothing is left to do
ANSWER_SECONDS = 15.0  # between asking workers that have nothing to save and killing them
SAVE_SECONDS = KILL_SECONDS + PATIENCE + 30.0  # the same for those that may be saving their runs
LEAVE_SECONDS = 30.0  # between killing workers and not waiting for them any longer


@runtime_checkable
class Workers(Protocol):
    """Workers that were started together."""

    def running(self) -> int:
        """How many are still there."""

    def stop(self) -> None:
        """Asks all of them to save their runs and to end."""

    def kill(self) -> None:
        """Ends all of them at once, and the runs that they are at."""

    def ended(self) -> Sequence[int]:
        """Exit codes of those that have ended."""


class Ending:
    """Sees to it that workers end which should: a process that is stopped or hangs does not do so by itself.

    Args:
        groups: of workers; others may be added.
        say: shows a message.
    """

    def __init__(self, groups: Sequence[Workers], say: Callable[[str], None]):
        self._groups, self._say = groups, say
        self._idle: float | None = None
        self._asked: float | None = None
        self._killed: float | None = None

    def ask(self, why: str) -> None:
        """Asks all workers to end, once, and says why."""
        if self._asked is None:
            self._asked = time.monotonic()
            self._say(why)
            for group in self._groups:
                group.stop()

    def nothing_is_left(self) -> None:
        """From here on there is nothing to do for them."""
        self._idle = self._idle or time.monotonic()

    def kill(self) -> None:
        """Ends all workers at once."""
        for group in self._groups:
            group.kill()

    def over(self) -> bool:
        """True if nobody is there any more, or answers; to be asked again and again."""
        left, now = sum(group.running() for group in self._groups), time.monotonic()
        if left and self._idle and now - self._idle > IDLE_SECONDS:
            self.ask(f"nothing is left to do, and {left} workers are still there; they are asked to end")
        grace = ANSWER_SECONDS if self._idle else SAVE_SECONDS
        if left and self._asked and not self._killed and now - self._asked > grace:
            self._killed = now
            self._say(f"{left} workers do not answer and are killed")
            self.kill()
        if left and self._killed and now - self._killed > LEAVE_SECONDS:
            self._say(f"{left} workers could not be killed and are left behind")
            return True
        return not left


def kill_with_children(pid: int) -> None:
    """Kills a process and all that it has started, which may be stopped and deaf to anything else."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                each.kill()
