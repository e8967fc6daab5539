"""What comes from outside of this project: components and more, where from, and how it is loaded; no MindSpore.

An extension is a Python file that registers components (`uflow.registry.register`) or has one of `TABLES`, or a module
of an installed package that does, which the package names as an entry point of the group `uflow.extensions`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import linecache
import os
import pathlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from uflow import registry
from uflow.registry import Extension

GROUP = "uflow.extensions"
# functions by name, and what each is called in messages; what they are given is said where they are used
FUNCTIONS = {"SOURCES": "data set", "REGIONS": "region", "LAUNCHERS": "launcher"}
TABLES = (*FUNCTIONS, "CLAIMS", "PROTOCOLS")
ROOT = pathlib.Path(__file__).parents[1]

_loaded: dict[Any, tuple[Extension, types.ModuleType]] = {}  # by file, or by entry point


def load(places: Iterable[str | pathlib.Path] = ()) -> tuple[pathlib.Path, ...]:
    """Loads what installed packages bring, then files, each once; all files that brought something so far, absolute.

    Args:
        places: files, or folders of which every file `*.py` is taken whose name does not begin with `_`.

    Raises:
        ValueError: if a file is missing, cannot be loaded, or brings nothing.
    """
    for point in importlib.metadata.entry_points(group=GROUP):
        _load_installed(point)
    for place in places:
        for file in _files(pathlib.Path(place)):
            load_file(file)
            if file.resolve() not in files():
                raise ValueError(f"extension {str(file)!r}: registers no component and has none of {', '.join(TABLES)}")
    return files()


def files() -> tuple[pathlib.Path, ...]:
    """The files that have brought something: what another process has to load to have the same."""
    own = {known.extension.file for known in registry.brought()}
    return tuple(
        place
        for place, (_, module) in _loaded.items()
        if isinstance(place, pathlib.Path) and (place in own or any(getattr(module, name, None) for name in TABLES))
    )


def tables(name: str) -> tuple[tuple[Any, Extension], ...]:
    """One of `TABLES` of every extension that has it, with where it comes from."""
    return tuple((found, extension) for extension, module in _loaded.values() if (found := getattr(module, name, None)))


def functions(name: str, taken: Iterable[str] = ()) -> Mapping[str, tuple[Callable[..., Any], Extension]]:
    """What one of `FUNCTIONS` holds in every extension that has it, by name, with where it comes from.

    Args:
        name: of the table.
        taken: names that the project has itself.

    Raises:
        ValueError: if two have one name.
    """
    found: dict[str, tuple[Callable[..., Any], Extension]] = {}
    for table, extension in tables(name):
        for key, function in table.items():
            if key in found or key in taken:
                owner = f" in {found[key][1].file}" if key in found else ""
                raise ValueError(
                    f"extension {extension.file}: a {FUNCTIONS[name]} {key!r} is there already{owner}; give it another"
                    " name"
                )
            found[key] = function, extension
    return found


def load_file(file: str | pathlib.Path, kind: str = "extension") -> types.ModuleType:
    """The module of a file, which is executed once; one whose content has changed since takes the place of the old one.

    Args:
        file: its path.
        kind: what messages call it.

    Raises:
        ValueError: if it is not there, raises, or brings what cannot be had elsewhere; then nothing of it stays.
    """
    place = pathlib.Path(file).resolve()
    try:
        content = place.read_bytes()
    except OSError as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ValueError(f"{kind} {str(file)!r} {why}") from None
    extension = Extension(place, hashlib.sha256(content).hexdigest()[:12])
    if place in _loaded and _loaded[place][0] == extension:
        return _loaded[place][1]
    registry.withdraw(place)
    _loaded.pop(place, None)
    module = types.ModuleType(f"uflow_extension_{place.stem}_{extension.digest}")
    module.__file__ = str(place)

    def extension_of(cls: type) -> Extension:
        if cls.__module__ != module.__name__:
            where = getattr(sys.modules.get(cls.__module__), "__file__", cls.__module__)
            raise ValueError(
                f"registers a component of {where}, which no run would find: give that file with --extensions, or"
                f" install its package with an entry point of the group {GROUP}"
            )
        return extension

    sys.modules[module.__name__] = module
    with _told(f"{kind} {str(file)!r}"), registry.extended(extension_of), _as_in_a_run():
        exec(compile(content, str(place), "exec"), module.__dict__)
        _check_functions(module)
        # MindSpore compiles what `inspect` reads: that is what was loaded, also when the file is edited meanwhile
        lines = importlib.util.decode_source(content).splitlines(keepends=True)
        linecache.cache[str(place)] = (len(content), None, lines, str(place))
    _loaded[place] = extension, module
    return module


def _files(place: pathlib.Path) -> list[pathlib.Path]:
    if not place.is_dir():
        return [place]
    found = sorted(file for file in place.glob("*.py") if not file.name.startswith("_"))
    if not found:
        raise ValueError(f"extension {str(place)!r}: the folder has no file *.py")
    return found


def _load_installed(point: importlib.metadata.EntryPoint) -> None:
    if (point.name, point.value) in _loaded:
        return

    def extension_of(cls: type) -> Extension:
        place = pathlib.Path(sys.modules[cls.__module__].__file__)
        return Extension(place, hashlib.sha256(place.read_bytes()).hexdigest()[:12])

    with _told(f"extension {point.name!r} of an installed package ({point.value})"), registry.extended(extension_of):
        module = point.load()
        _check_functions(module)
    place = pathlib.Path(module.__file__)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()[:12]
    _loaded[point.name, point.value] = Extension(place, digest), module


def _check_functions(module: types.ModuleType) -> None:
    """Raises `ValueError` for a table that is none of functions by name."""
    for name in FUNCTIONS:
        table = getattr(module, name, {})
        plain = isinstance(table, Mapping) and all(isinstance(key, str) for key in table)
        if not plain or not all(map(callable, table.values())):
            raise ValueError(f"{name} must be functions by name, {{'name': function}}, got {table!r}")


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Makes one sentence of all that code of others can raise."""
    try:
        yield
    except SystemExit as error:
        raise ValueError(f"{what}: ends the process (exit {error.code}) while it is being read") from None
    except KeyboardInterrupt:
        raise ValueError(f"{what}: interrupted while it was being read") from None
    except Exception as error:
        raise ValueError(f"{what}: {type(error).__name__}: {error}") from None


@contextlib.contextmanager
def _as_in_a_run() -> Iterator[None]:
    """Imports without the working directory, for that of a run is another: what is found only there is refused here."""
    before = list(sys.path)
    kept = before[1:] if before[:1] in ([""], [os.getcwd()]) else before
    sys.path[:] = [*kept, str(ROOT)]
    try:
        yield
    finally:
        sys.path[:] = before
