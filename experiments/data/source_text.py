"""The parts of a text that names data: `NAME`, `NAME:PATH` or `NAME:PATH*TIMES`, joined by `;`; looks at nothing else.

`TIMES` says how often a part is taken in an epoch of training. A path may hold `;` and `:` itself: what follows a `;`
and begins with no name belongs to the path before it. One whose last characters are an asterisk and a number is written
with a slash after them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PART = re.compile(r"([^:*]*)(?::(.*?))?\s*(?:\*\s*(\d+)\s*)?", re.DOTALL)
GENERATED = ("synthetic", "photos")  # what can be named without a path
_NAMED = re.compile(rf"\s*([\w-]+\s*:|({'|'.join(GENERATED)})\s*(\*\s*\d+\s*)?$)")


class SourcePart(NamedTuple):
    """One data set: its name as recorded, its path or '', and how often an epoch of training takes it."""

    name: str
    path: str = ""
    times: int = 1

    def __str__(self) -> str:
        return self.name + (f":{self.path}" if self.path else "") + (f"*{self.times}" if self.times != 1 else "")


def source_parts(text: str) -> tuple[SourcePart, ...]:
    """The parts of a text, empty ones left out; `sintel-clean` is `sintel_clean`."""
    found = []
    for piece in _pieces(text):
        if match := _PART.fullmatch(piece):
            name, path, times = match.groups()
            found.append(SourcePart(underscored(name), (path or "").strip(), int(times) if times else 1))
        else:
            found.append(SourcePart(piece))
    return tuple(found)


def _pieces(text: str) -> list[str]:
    """The text of every part, stripped."""
    found: list[str] = []
    for piece in text.split(";"):
        if found and ":" in found[-1] and piece.strip() and not _NAMED.match(piece):
            found[-1] += f";{piece}"
        else:
            found.append(piece)
    return [piece.strip() for piece in found if piece.strip()]


def underscored(name: str) -> str:
    """The name of a data set as it is recorded: `sintel_clean` for `sintel-clean`."""
    return name.strip().replace("-", "_")


def unplaced(text: str) -> str:
    """The text without paths, such as `flyingchairs*3;synthetic`: the same wherever the data lie."""
    return ";".join(str(part._replace(path="")) for part in source_parts(text))
