"""Optuna's journal in a file: every line is sealed, and one that a crash or a disk has damaged is made anew.

What counts are the files of the runs: from them a queue finds again what is left to do, and a search, whose choices
follow from results alone, makes the same ones. So a damaged journal is put aside and nothing is lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from experiments.records import faults, locks
from studies.queue.endings import StorageError

SEAL = b',"seal":'
PATIENCE = 30.0  # s for which another process that is writing is waited for; it takes milliseconds


class JournalError(StorageError):
    """A journal is not what was written; the message names it and the line."""


def opened(path: pathlib.Path, created: Callable[[Any], Any]) -> Any:
    """Optuna's study in a journal, which is made if it is missing and made anew if it cannot be read.

    Args:
        path: of the journal; nobody else may open it at the same moment, but others may be working with it.
        created: makes or loads the study in a storage.
    """
    from optuna.storages import JournalStorage

    try:
        return created(JournalStorage(Journal(path)))
    except OSError:
        raise
    except Exception as error:  # a journal without seals, of an earlier version, may be damaged in any way
        _put_aside(path, error)
        return created(JournalStorage(Journal(path)))


class Journal(BaseJournalBackend):
    """The operations of Optuna in a file, one JSON object a line.

    The last entry of a line, `seal`, is the CRC-32 of everything before it in the file: it shows a line that was
    changed, lost or put in. Lines without one, of earlier versions, may come first. A last line that was cut off has
    never been read by anybody, and the next one takes its place.

    Args:
        path: of the file.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._size, self._sum, self._sealed = 0, 0, False  # of what was read
        self._number, self._logs = 0, []  # operations that Optuna may still ask for, and the number of the first

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The operations from a number on.

        Raises:
            JournalError: if the file is damaged.
        """
        if log_number_from < self._number:
            self._begin()
        self._advance()
        del self._logs[: log_number_from - self._number]
        self._number = log_number_from
        yield from list(self._logs)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Adds operations, or none of them.

        Raises:
            JournalError: if the file is damaged.
            OSError: naming the file, if it cannot be written to, or if another process has been writing for long.
        """
        with self._alone(), faults.naming(self.path), open(self.path, "ab") as file:
            self._advance()
            known, text = self._sum, b""
            for log in logs:
                line = json.dumps(log, separators=(",", ":")).encode()[:-1]
                known = zlib.crc32(line, known)
                line += SEAL + b"%d}\n" % known
                known, text = zlib.crc32(line[line.rindex(SEAL) :], known), text + line
            file.truncate(self._size)  # drops a line that was cut off
            try:
                _write(file.fileno(), text)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(self._size)
                raise

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock, until = self.path.with_name(f"{self.path.name}.lock"), time.monotonic() + PATIENCE
        with locks.held(lock, give_up=lambda: time.monotonic() > until, poll=0.005) as alone:
            if not alone:
                raise TimeoutError(
                    f"{lock}: another process has held this lock for {PATIENCE:g} s; is it stopped? (fuser {lock})"
                )
            yield

    def _advance(self) -> None:
        """Reads the lines that are new."""
        try:
            with open(self.path, "rb") as file:
                if os.fstat(file.fileno()).st_size < self._size:
                    raise JournalError(f"{self.path}: is shorter than it was")
                file.seek(self._size)
                text = file.read()
        except FileNotFoundError:
            if self._size:
                raise JournalError(f"{self.path}: is gone") from None
            return
        for line in text.split(b"\n")[:-1]:
            self._logs.append(self._read(line + b"\n"))
            self._size += len(line) + 1

    def _read(self, line: bytes) -> dict[str, Any]:
        """The operation in the next line."""
        place = f"{self.path}: line {self._number + len(self._logs) + 1}"
        body, seal, given = line.rpartition(SEAL)
        if seal:
            self._sum = zlib.crc32(body, self._sum)
            if given != b"%d}\n" % self._sum:
                raise JournalError(f"{place} is not what was written")
            self._sum, self._sealed, line = zlib.crc32(seal + given, self._sum), True, body + b"}"
        elif self._sealed:
            raise JournalError(f"{place} has no seal")
        else:
            self._sum = zlib.crc32(line, self._sum)
        try:
            log = json.loads(line)
        except ValueError:
            log = None
        if not isinstance(log, dict):
            raise JournalError(f"{place} is no operation of Optuna")
        return log


def _write(descriptor: int, data: bytes) -> None:
    """Writes all of it, to the disk."""
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _put_aside(path: pathlib.Path, error: Exception) -> None:
    """Renames a journal that cannot be read."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged_{number}")).exists():
        number += 1
    path.rename(aside)
    why = " ".join(str(error).split()) or type(error).__name__
    print(f"{why}; the journal is made anew, what it was is in {aside.name}", file=sys.stderr, flush=True)
