"""How a command writes to where it was started: whatever becomes of that, the command goes on to its end.

Whoever reads may stop (`| head -n 1`), the stream may be closed from the start (`>&-`), or its encoding may lack a
character. None of these is a reason to stop a study or to end with a traceback.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import TextIO


def ended(main: Callable[[], int]) -> int:
    """The exit code of a command's `main`, whose output goes to nobody once nobody reads it."""
    sys.stdout, sys.stderr = _patient(sys.stdout, 1), _patient(sys.stderr, 2)
    return main()


class _Patient(io.FileIO):
    """A file that takes everything, and drops it once its reader has gone."""

    def write(self, content: bytes | memoryview) -> int | None:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # a pipe, or a terminal that is no more
                raise
            return len(content)


def _patient(stream: TextIO | None, number: int) -> TextIO:
    """A stream of the same kind on the same file; one to nowhere in place of a closed one.

    Characters that it cannot show are escaped.
    """
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=number == 2 or stream.line_buffering,
        write_through=stream.write_through,
    )
