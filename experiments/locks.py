"""Advisory locks on files: who holds one is alone, and a dead process holds none."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def held(path: pathlib.Path, give_up: Callable[[], bool] = lambda: False, poll: float = 0.2) -> Iterator[bool]:
    """Holds the lock of a file while the block runs; yields False, without the lock, if `give_up()` came true first.

    The kernel frees the lock when the process ends, however it ends. On file systems without locks it is taken at once:
    the worst that follows is work done twice with the same result.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        taken = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken = True
            except BlockingIOError:
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
    """True if nobody holds the lock of a file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return True
