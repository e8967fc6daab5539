"""How a command is asked to stop: by a signal, which is noted and asked about between two steps."""

from __future__ import annotations

import signal
from collections.abc import Callable

INTERRUPTED = 130  # the exit code of a command that was asked to stop, as shells have it


def stop_on_signals(insist: bool = False) -> Callable[[], bool]:
    """A function that is True once SIGINT or SIGTERM has arrived (MindSpore turns Ctrl-C into SIGTERM).

    Args:
        insist: whether a SIGINT after that raises `KeyboardInterrupt`, wherever the process is.
    """
    asked: list[int] = []

    def handle(received: int, frame: object) -> None:
        if insist and asked and received == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(received)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return lambda: bool(asked)
