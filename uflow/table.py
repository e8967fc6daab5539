"""The components and their options as a Markdown table: `python -m uflow.table [README.md | EXTENSION.py ...]`."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from uflow import extensions, registry

BEGIN, END = "<!-- components: python -m uflow.table README.md -->", "<!-- end of components -->"


PARITY = pathlib.Path(__file__).with_name("parity.json")  # written by the parity test, see tests/goldens/parity.py


@functools.cache
def _parity() -> dict[str, dict[str, tuple[int, float]]]:
    return json.loads(PARITY.read_text(encoding="utf-8"))["components"]


def parity_text(axis: str, name: str) -> str:
    """Worst error against the reference, as a share of the largest value of its array, and number of arrays compared.

    `-` for a component that computes nothing which the reference could be compared with.
    """
    compared = _parity().get(f"{axis}/{name}", {}).values()
    if not compared:
        return "-"
    worst, arrays = max(error for _, error in compared), sum(count for count, _ in compared)
    return f"{worst:.1e} ({arrays})" if worst else f"0 ({arrays})"


def option_text(field: dataclasses.Field) -> str:
    """An option in one cell: name, default, unit and valid values."""
    unit = field.metadata["unit"]
    default = str(field.default).lower() if isinstance(field.default, bool) else f"{field.default:g}" if isinstance(
        field.default, (int, float)) else field.default  # fmt: skip
    valid = str(field.metadata["valid"]).removeprefix("a ").replace("whole number in ", "").replace("number in ", "")
    return f"`{field.name}` = {default}{'' if unit == '1' else ' ' + unit} ({valid})"


def rows() -> list[tuple[str, ...]]:
    """Axis, component, what it is, options, source and parity with the reference of every component."""
    found = []
    for axis in registry.AXES:
        for name in registry.names(axis):
            entry = registry.entry(axis, name)
            fields = [f for f in dataclasses.fields(entry.cls) if "valid" in f.metadata]
            given = "<br>".join(map(option_text, fields)) or "-"
            cells = (axis, f"`{name}`", entry.summary, given, entry.source, parity_text(axis, name))
            found.append(tuple(_escaped(cell) for cell in cells))
    return found


def _escaped(text: Any) -> str:
    return str(text).replace("|", "\\|")


def markdown() -> str:
    """The table."""
    head = ("axis", "component", "what it is", "options (default, valid values)", "source")
    head += ("reference parity: worst error / largest value (arrays compared)",)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows()]
    return "\n".join(lines) + "\n"


def updated(text: str) -> str:
    """A text with the table between its two marks made anew; raises `ValueError` if it has not both marks."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the marks {BEGIN!r} and {END!r} are not there")
    return f"{head}{BEGIN}\n{markdown()}{END}{tail}"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table, with what extensions bring that are named, or puts it into the page that is named."""
    words = list(sys.argv[1:] if argv is None else argv)
    path = pathlib.Path(words[0]) if words else None
    try:
        if path is None or path.suffix == ".py":
            extensions.load(words)
            print(markdown(), end="")
            return 0
        path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"uflow.table: {path}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
