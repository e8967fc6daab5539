"""The parts of a text that names data: `NAME`, `NAME:PATH` or `NAME:PATH*TIMES`, joined by `;`; looks at nothing else.

`TIMES` says how often a part is taken in an epoch of training, `NAME:PATH?stride=1,2,4` how many frames apart the two
of a pair are. A path may hold `;` and `:` itself: what follows a `;` and begins with no name belongs to the path before
it. One whose last characters are an asterisk and a number, or which ends with such a stride, is written with a slash
after them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PART = re.compile(r"([^:*?]*)(?::(.*?))?\s*(?:\?stride=([^/*]*?)\s*)?(?:\*\s*(\d+)\s*)?", re.DOTALL)
GENERATED = ("synthetic", "photos")  # what can be named without a path
_NAMED = re.compile(rf"\s*([\w-]+\s*:|({'|'.join(GENERATED)})\s*(\*\s*\d+\s*)?$)")


class SourcePart(NamedTuple):
    """One data set: its name as recorded, path or '', how often an epoch of training takes it, strides or ''."""

    name: str
    path: str = ""
    times: int = 1
    stride: str = ""

    def __str__(self) -> str:
        path = f":{self.path}" if self.path else ""
        stride = f"?stride={self.stride}" if self.stride else ""
        return self.name + path + stride + (f"*{self.times}" if self.times != 1 else "")


def source_parts(text: str) -> tuple[SourcePart, ...]:
    """The parts of a text, empty ones left out; `sintel-clean` is `sintel_clean`."""
    found = []
    for piece in _pieces(text):
        if match := _PART.fullmatch(piece):
            name, path, stride, times = match.groups()
            stride = "" if stride is None else stride or "''"
            found.append(SourcePart(underscored(name), (path or "").strip(), int(times) if times else 1, stride))
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
