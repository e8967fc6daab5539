"""Advisory locks on files: who holds one is alone, and a dead process holds none."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import struct
import time
from collections.abc import Callable, Iterator

# Locks of the open file description: like those of `flock` they end with the process that opened the file, and unlike
# them they can be asked about without being taken, so that a look is never in the way of who wants one.
_LOCK = struct.Struct("hhqqi4x")  # `struct flock` of 64-bit Linux: kind, whence, first byte, bytes (0: all), process


@contextlib.contextmanager
def held(path: pathlib.Path, give_up: Callable[[], bool] = lambda: False, poll: float = 0.2) -> Iterator[bool]:
    """Holds the lock of a file while the block runs; yields False, without the lock, if `give_up()` came true first.

    The kernel frees the lock when the process ends, however it ends. On file systems without locks it is taken at once;
    `work_in` tells.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        taken = False
        while True:
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole(fcntl.F_WRLCK))
                taken = True
            except (BlockingIOError, PermissionError):
                if not give_up():
                    time.sleep(poll)
                    continue
            except OSError:
                taken = True
            break
        yield taken
    finally:
        os.close(descriptor)


def is_free(path: pathlib.Path) -> bool:
    """True if nobody holds the lock of a file; only looks, so whoever may read the file can ask at any time."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    except PermissionError:  # nobody can tell
        return False
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole(fcntl.F_WRLCK))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return _LOCK.unpack(answer)[0] == fcntl.F_UNLCK


@contextlib.contextmanager
def waiting(directory: pathlib.Path) -> Iterator[None]:
    """Says of a run in a directory that it waits for another one, while the block runs; see `is_waiting`."""
    path = directory / "waiting.lock"
    with held(path, give_up=lambda: True):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_waiting(directory: pathlib.Path) -> bool:
    """True if the run in a directory waits for another one, which is no time of its own."""
    return not is_free(directory / "waiting.lock")


def work_in(folder: pathlib.Path) -> bool:
    """True if files in a folder can be locked; False on file systems without locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole(fcntl.F_RDLCK))
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _whole(kind: int) -> bytes:
    """What `fcntl` is told of a lock on a whole file."""
    return _LOCK.pack(kind, os.SEEK_SET, 0, 0, 0)
