"""Options of a component or a section: default, valid values, search space, unit and meaning, declared once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Range:
    """A closed interval of numbers; whole numbers when both ends are `int`. NaN and infinity lie in none."""

    low: float
    high: float
    log: bool = False

    @property
    def integral(self) -> bool:
        """True if only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        return (not self.integral or isinstance(value, int)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a {'whole ' if self.integral else ''}number in [{self.low:g}, {self.high:g}]"


@dataclasses.dataclass(frozen=True)
class Choices:
    """A finite set of values, in the order in which they are tabulated."""

    values: tuple[Any, ...]

    def __contains__(self, value: Any) -> bool:
        return any(value == v and type(value) is type(v) for v in self.values)

    def __str__(self) -> str:
        return f"one of {', '.join(str(v).lower() if isinstance(v, bool) else repr(v) for v in self.values)}"


@dataclasses.dataclass(frozen=True)
class Text:
    """Any text; what it must look like is said in `form` and checked where it is used."""

    form: str

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, str)

    def __str__(self) -> str:
        return self.form


FLAG = Choices((False, True))


def option(
    default: Any,
    valid: Range | Choices | Text,
    *,
    search: Range | Choices | None = None,
    unit: str = "1",
    help: str,
    later: bool = False,
) -> Any:
    """Declares one option, as a dataclass field.

    Args:
        default: the value used by the paper that the component cites.
        valid: every value for which the component is defined.
        search: the values a sweep may try, a subset of `valid`; `None` keeps it fixed.
        unit: physical unit (`px`, `px^2`, `intensity`, ...); "1" when dimensionless.
        help: one line, shown in the README table and by `--help`.
        later: whether it was added when there were runs already. Its default then changes nothing, and is not part of
            the name of a run, so that their names stay.
    """
    meta = {"valid": valid, "search": search, "unit": unit, "help": help, "later": later}
    return dataclasses.field(default=default, metadata=meta)


def problems(value: Any) -> list[str]:
    """One line for every option of a component or section that is outside its valid values.

    When each option is valid by itself, the lines of the class's own `conflicts()`, if it has one, say which options
    do not go together.
    """
    found = [
        f"{f.name} must be {f.metadata['valid']}, got {given!r}"
        for f in dataclasses.fields(value)
        if "valid" in f.metadata and (given := getattr(value, f.name)) not in f.metadata["valid"]
    ]
    return found or list(getattr(value, "conflicts", list)())


def check(value: Any) -> None:
    """Raises `ValueError` naming every option of `value` that is outside its valid values, or every conflict."""
    if found := problems(value):
        raise ValueError("\n".join([f"invalid options of {type(value).__name__}:", *(f"  {p}" for p in found)]))


def defaulted_later(value: Any) -> list[str]:
    """Options of a component or section that were added `later` and have their default."""
    return [
        f.name for f in dataclasses.fields(value) if f.metadata.get("later") and getattr(value, f.name) == f.default
    ]


def made(cls: type, values: Mapping[str, Any], key: str) -> Any:
    """A component or section with these values; the lines of its `ValueError` name options by their dotted keys."""
    try:
        return cls(**values)
    except ValueError as error:
        lines = str(error).splitlines()[1:] or [str(error)]
        raise ValueError("\n".join(f"{key}.{line.strip()}" for line in lines)) from None


def section(cls: type) -> type:
    """Makes a class of options a frozen, checked, keyword-only dataclass."""
    cls.__post_init__ = check
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def coerce(value: Any, field: dataclasses.Field) -> Any:
    """`value` in the type that `field` declares.

    Sacred, JSON and the command line lose types: `1` given for a number is `1.0`, `2.0` given for a whole number is
    `2`, and text is read as the declared type. What cannot be read is returned as it is, for `check` to name. `-0.0` is
    `0.0`, so that one experiment has one name.
    """
    default = field.default
    if isinstance(default, bool):
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return words.get(value.strip().lower(), value) if isinstance(value, str) else value
    if isinstance(default, (int, float)) and not isinstance(value, bool):
        whole = isinstance(default, int)
        try:
            number = float(value) if isinstance(value, (int, float, str)) else None
        except ValueError:
            return value
        if number is None or not math.isfinite(number):
            return value
        if not whole:
            return number + 0.0  # makes 0.0 of -0.0
        if not number.is_integer():
            return value if isinstance(value, str) else number
        return int(value) if not isinstance(value, str) or value.strip().lstrip("+-").isdigit() else int(number)
    return value
