"""Files that are there whole or not at all, with the mode that the umask gives them; standard library only.

`tempfile` makes files that only their owner may read, MindSpore leaves such, and a mode set by hand would shut out the
group of a shared folder (umask 002) or let in everybody (umask 077).
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import stat
from collections.abc import Iterator

from experiments.records import faults


@contextlib.contextmanager
def replacing(path: pathlib.Path, suffix: str = ".tmp") -> Iterator[pathlib.Path]:
    """Yields an empty file beside `path`, to be written under its own name; afterwards it is flushed and renamed.

    Nothing is left of it if the block raises, and what was at `path` stays.

    Args:
        path: the file to make.
        suffix: of the temporary name, for libraries that go by it.

    Raises:
        OSError: naming `path`, if there is no room or the folder cannot be written to.
    """
    temporary = beside(path, suffix)
    with faults.naming(path):
        mode = _made(temporary)
        try:
            yield temporary
            os.chmod(temporary, mode)  # for libraries that make the file anew
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def settle(made: pathlib.Path, path: pathlib.Path) -> None:
    """Brings a file that a library has made, on the same file system, to its place."""
    with faults.naming(path):
        trial = beside(made, ".tmp")
        mode = _made(trial)
        trial.unlink()
        made.chmod(mode)
        with open(made, "rb") as file:
            os.fsync(file.fileno())
        os.replace(made, path)


def _made(path: pathlib.Path) -> int:
    """Makes an empty file and returns the mode that the umask, or the folder's access control list, gives it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def beside(path: pathlib.Path, suffix: str) -> pathlib.Path:
    """A temporary name in the same folder; hidden, and different in every process."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{suffix}")


def check_writable(out: pathlib.Path, option: str = "--out") -> None:
    """Raises `OSError` with one sentence if files cannot be made in a directory, which is made if it is missing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".writable.{os.getpid()}"
        try:
            probe.write_bytes(b"\n")  # a full disk may still take a file that is empty
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{option} {out}: cannot be written to ({error.strerror})") from error
