"""Labels of arms as they are shown: nothing in them acts on a terminal, a page or a spreadsheet, and none is cut.

New studies refuse labels that could; plans of earlier versions, or of other people, may hold any.
"""

from __future__ import annotations

import re
from typing import Any

from experiments.records import plain_name


def printable(plain: Any) -> Any:
    r"""JSON data whose texts have escapes (`\x1b`) in place of control, format and unpaired characters, keys too."""
    if isinstance(plain, str):
        return plain_name.printable(plain)
    if isinstance(plain, list):
        return [printable(value) for value in plain]
    if isinstance(plain, dict):
        return {printable(key): printable(value) for key, value in plain.items()}
    return plain


def cell(value: Any) -> Any:
    """A value of a CSV file: text that a spreadsheet would take for a formula has an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")) else value


def fold(label: str, width: int) -> list[str]:
    """The label in lines of at most `width` characters, broken after a space or one of `+ , / _ -` where it can be.

    It is never cut: a cut label could look like another arm's.
    """
    lines = [""]
    for piece in re.findall(r"[^\s+,/_-]*[+,/_-]*\s*", label):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:  # one word longer than a line
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines if line.strip()] or [""]
