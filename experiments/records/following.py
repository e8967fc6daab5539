"""A learning curve while its run goes on: each look reads what was added since the last one."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from experiments.records import run_record

END_BYTES = 64  # that are compared, to notice a file that was written anew in its place


class Following:
    """The lines of a `metrics.jsonl` that is being written.

    Args:
        path: of the file, which may not be there yet.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._file, self._size, self._end = 0, 0, b""  # the file that was read, how far, and the end of that

    def look(self) -> tuple[list[dict[str, Any]], bool]:
        """The lines that are new, and whether they are all there are: at first, and of a curve that was begun again.

        A run that goes on from a checkpoint cuts its curve, by putting another file in its place. A line that is not
        whole yet is left for the next look.
        """
        try:
            with open(self._path, "rb") as file:
                number = os.fstat(file.fileno()).st_ino
                file.seek(self._size - len(self._end))
                anew = number != self._file or file.read(len(self._end)) != self._end
                if anew:
                    self._file, self._size = number, file.seek(0)
                text = file.read()
        except FileNotFoundError:
            anew, self._file, self._size, self._end = bool(self._file), 0, 0, b""
            return [], anew
        text = text[: text.rfind(b"\n") + 1]
        self._size += len(text)
        self._end = text[-END_BYTES:] if text or anew else self._end
        return list(run_record.whole_lines(text)), anew
