"""Names of the swappable components: `(axis, name) -> class`, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import importlib
import pathlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from uflow import interfaces, options

NEEDS = frozenset({"backward_flow", "teacher", "true_occlusion"})
PARTS = ("train", "data", "evaluation", "seed", "initial", "format", "terms")  # of a spec, beside its axes
KEPT = ("name", "revision", "extension")  # what a spec says of a component beside its options

T = TypeVar("T", bound=type)


@dataclasses.dataclass(frozen=True)
class Axis:
    """What can be exchanged by itself.

    Attributes:
        contract: what its components are given and return.
        default: the component of the paper's setting, which is meant where none is named.
        later: whether there were runs before the axis: its default is left out of what names a run, so that their
            names stay.
        term: whether an extension has brought it, and its components are further terms of the loss.
    """

    contract: type
    default: str
    later: bool = False
    term: bool = False


AXES = {  # and those of extensions, see `register_axis`
    "photometric": Axis(interfaces.Photometric, "census"),
    "occlusion": Axis(interfaces.Occlusion, "wang"),
    "smoothness": Axis(interfaces.Smoothness, "first_order"),
    "normalization": Axis(interfaces.Normalization, "center_scale"),
    "selfsup": Axis(interfaces.SelfSupervision, "teacher_student"),
    "network": Axis(interfaces.Network, "pwc", later=True),
    "augmentation": Axis(interfaces.Augmentation, "none", later=True),
}


@dataclasses.dataclass(frozen=True)
class Extension:
    """A file outside of this project that defines components, and the first 12 hex digits of its SHA-256."""

    file: pathlib.Path
    digest: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known of a component before it is built; `extension` is `None` for those of this project."""

    axis: str
    name: str
    cls: type
    source: str
    revision: int
    needs: frozenset[str]
    reference: str | None = None
    extension: Extension | None = None

    @property
    def summary(self) -> str:
        """The first line of the component's docstring."""
        return (self.cls.__doc__ or "").strip().splitlines()[0]


_entries: dict[tuple[str, str], Entry] = {}


def register(
    axis: str,
    name: str,
    *,
    source: str,
    reference: str | None = None,
    revision: int = 1,
    needs: Iterable[str] = (),
) -> Callable[[T], T]:
    """Makes a class a component of `axis`: a frozen dataclass whose fields are its options.

    Args:
        axis: one of `AXES`.
        name: how configs, tables and the command line call it; lower_snake_case.
        source: paper and equation that define it.
        reference: what computes it in the reference implementation, to which its numbers are compared
            (`tests/goldens`); `None` if that has nothing of the kind.
        revision: raise it when the same options would compute something else, so that
            stored runs of the old computation are not taken for the new one.
        needs: extra inputs to prepare, out of `NEEDS`.
    """
    if axis not in AXES:
        raise ValueError(f"unknown axis {axis!r}{did_you_mean(axis, AXES)}; axes are {', '.join(AXES)}")
    if unknown := set(needs) - NEEDS:
        raise ValueError(f"{axis} component {name!r} needs {sorted(unknown)}; possible: {', '.join(sorted(NEEDS))}")

    def decorate(cls: T) -> T:
        if axis != "selfsup" and not any("__call__" in vars(base) for base in cls.__mro__):
            raise ValueError(f"{axis} component {name!r} has no __call__; uflow/interfaces.py says what it is given")
        if (axis, name) in _entries:
            known = _entries[axis, name]
            owner = known.extension.file if known.extension else f"{known.cls.__module__}.{known.cls.__name__}"
            raise ValueError(f"{axis} component {name!r} is already that of {owner}; give it another name")
        cls = options.section(cls)
        if taken := [field.name for field in dataclasses.fields(cls) if field.name in KEPT]:
            raise ValueError(f"{axis} component {name!r} has an option {taken[0]!r}, which means something else")
        _entries[axis, name] = Entry(axis, name, cls, source, revision, frozenset(needs), reference)
        return cls

    return decorate


def register_axis(name: str) -> None:
    """Makes `name` an axis of the extension that calls this: its components are further terms of the loss.

    They are registered on it as on any other, with the contract of `interfaces.Smoothness`; each acts with its weight
    all the time. The axis has a `none` from the beginning, which is meant where no component is named. That is no part
    of a spec, so runs without the axis keep their names.

    Raises:
        ValueError: if the name is taken, or cannot be one.
    """
    _discover()
    if name in AXES or name in PARTS or not name.isidentifier():
        why = "is there already" if name in AXES else "must be a word that means nothing else in a spec"
        raise ValueError(f"axis {name!r} {why}; axes are {', '.join(AXES)}, other words {', '.join(PARTS)}")

    def call(self: Any, image: Any, flow: Any) -> Any:
        return 0.0 * flow.sum()

    caller = sys._getframe(1).f_globals["__name__"]  # as namedtuple does: the class is one of the module that calls
    about = {"__doc__": "Not this term.", "__module__": caller, "weight": 0.0, "level": 2, "__call__": call}
    AXES[name] = Axis(interfaces.Smoothness, "none", later=True, term=True)
    register(name, "none", source="without the axis")(type("NoTerm", (), about))


# A new module in an axis's package is a new component: there is no list to add it to.
@functools.cache
def _discover() -> None:
    for axis in AXES:
        package = importlib.import_module(f"uflow.{axis}")
        for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"uflow.{axis}.{module}")


@contextlib.contextmanager
def extended(extension_of: Callable[[type], Extension]) -> Iterator[None]:
    """Notes of every class that the block makes a component what file it comes from; if it raises, none of them stays.

    Args:
        extension_of: the file that defines a class.
    """
    _discover()
    before, axes = dict(_entries), dict(AXES)
    try:
        yield
        for key in _entries.keys() - before.keys():
            _entries[key] = dataclasses.replace(_entries[key], extension=extension_of(_entries[key].cls))
    except BaseException:
        for table, content in ((_entries, before), (AXES, axes)):
            table.clear()
            table.update(content)
        raise


def withdraw(file: pathlib.Path) -> None:
    """Forgets the components and axes that a file has brought."""
    for axis, name in [key for key, known in _entries.items() if known.extension and known.extension.file == file]:
        del _entries[axis, name]
        if name == "none" and AXES[axis].term:
            del AXES[axis]


def brought() -> tuple[Entry, ...]:
    """The components that come from files outside of this project."""
    return tuple(known for known in _entries.values() if known.extension)


def names(axis: str) -> tuple[str, ...]:
    """Names of the components of `axis`, sorted, with `none` first."""
    _discover()
    return tuple(sorted((n for a, n in _entries if a == axis), key=lambda n: (n != "none", n)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word nearest to `word`, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def entry(axis: str, name: str) -> Entry:
    """The entry of a component; the error for an unknown name lists the known ones."""
    _discover()
    try:
        return _entries[axis, name]
    except KeyError:
        known = names(axis)
        raise ValueError(
            f"unknown {axis} component {name!r}{did_you_mean(str(name), known)} (known: {', '.join(known)})"
        ) from None


def entry_of(component: Any) -> Entry:
    """The entry of a component that was built."""
    return next(e for e in _entries.values() if e.cls is type(component))


def build(axis: str, name: str, given: Mapping[str, Any] | None = None) -> Any:
    """Builds a component from plain data, as read from a config file or command line.

    Raises:
        ValueError: for an unknown component or option, or a value outside its valid range.
    """
    fields = {f.name: f for f in dataclasses.fields(entry(axis, name).cls)}
    for key in given or {}:
        if key not in fields:
            raise ValueError(
                f"{axis} component {name!r} has no option {key!r}{did_you_mean(key, fields)}"
                f" (options: {', '.join(fields) or 'none'})"
            )
    values = {key: options.coerce(value, fields[key]) for key, value in (given or {}).items()}
    return options.made(entry(axis, name).cls, values, axis)
