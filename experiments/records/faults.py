"""Faults of the machine, which are no result: a full disk, a disk that fails, a place that can be written no more.

A run that meets one is left unfinished. What was whole on disk stays whole, and the same command goes on from the last
checkpoint once the fault is gone. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

EXIT_CODE = 5

# What may pass without anybody changing the command.
_PASSING = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk failed",
    errno.ESTALE: "the file server lost the file",
}


class MachineFault(Exception):
    """A run could not go on for a reason that lies outside of it; the message names the file and the reason."""


def cause(error: BaseException | None) -> OSError | None:
    """The error of the operating system that an exception is or comes from; `None` if there is none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def passing(error: BaseException) -> bool:
    """True if an exception comes from a fault that may pass, as a full disk and unlike a path that is no folder."""
    found = cause(error)
    return found is not None and found.errno in _PASSING


def of(error: Exception) -> MachineFault | None:
    """The fault behind an exception, with a sentence for people; `None` if it is the run's own."""
    if isinstance(error, ImportError):
        return MachineFault(f"the installation is broken: {error}")
    found = cause(error)
    if found is None:
        return None
    if found is not error and not isinstance(error, OSError):
        return MachineFault(" ".join(str(error).split()))
    reason = found.strerror or str(found)
    told = f"{_PASSING[found.errno]} ({reason})" if found.errno in _PASSING else reason
    return MachineFault(f"{found.filename}: {told}" if found.filename is not None else told)


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Makes every `OSError` of the block name a file: the one that was to be there, not a temporary one or none."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        del error.filename2  # set to None it would be told as well, as " -> None"
        raise


def tell(message: str) -> None:
    """Prints to standard error, as far as that can be written to: a log may lie on the very disk that is full.

    Whatever cannot be written any more is dropped, because Python would change the exit code when it fails at exit.
    """
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
