"""The text that names data, taken apart: `NAME:PATH[;NAME:PATH]`, where a path may hold `;` and `:` itself."""

from __future__ import annotations

import re

_NAMED = re.compile(r"\s*([\w-]+\s*:|synthetic\s*$)")


def pieces(text: str) -> list[str]:
    """The text of every set, stripped; what follows a `;` and begins with no name belongs to the path before it."""
    found: list[str] = []
    for piece in text.split(";"):
        if found and ":" in found[-1] and piece.strip() and not _NAMED.match(piece):
            found[-1] += f";{piece}"
        else:
            found.append(piece)
    return [piece.strip() for piece in found if piece.strip()]


def set_names(text: str) -> list[str]:
    """The name of every set as it is written."""
    return [piece.partition(":")[0].strip() for piece in pieces(text)]
