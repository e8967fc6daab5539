"""Labels of arms broken into lines, at their joints and never cut: a cut label could look like another arm's."""

from __future__ import annotations

import re


def fold(label: str, width: int) -> list[str]:
    """The label in lines of at most `width` characters, broken after a space or one of `+ , / _ -` where it can be."""
    lines = [""]
    for piece in re.findall(r"[^\s+,/_-]*[+,/_-]*\s*", label):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:  # one word longer than a line
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines if line.strip()] or [""]
