"""Which studies and campaigns there are: modules of this package with a `STUDY` or `CAMPAIGN`, files of one's own."""

from __future__ import annotations

import ast
import importlib
import pathlib

import studies
from studies.design import Campaign, Study
from uflow import extensions
from uflow.registry import did_you_mean


def names() -> tuple[str, ...]:
    """Names of the studies of this package, sorted; found without importing them."""
    return _having("STUDY")


def campaigns() -> tuple[str, ...]:
    """Names of the campaigns of this package, sorted; found without importing them."""
    return _having("CAMPAIGN")


def _having(name: str) -> tuple[str, ...]:
    """Modules of this package that assign a value to `name`."""
    found = []
    for path in sorted(pathlib.Path(studies.__path__[0]).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assigned = {
            t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
        }
        if name in assigned:
            found.append(path.stem)
    return tuple(found)


def load(name: str) -> Study | Campaign:
    """The study or campaign of a name, or of a Python file given by its path.

    Raises:
        ValueError: if there is none, or what is there is not one.
    """
    if name.endswith(".py"):
        module = extensions.load_file(name, "study file")
    else:
        known = (*names(), *campaigns())
        if name not in known:
            raise ValueError(f"unknown study {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})")
        module = importlib.import_module(f"studies.{name}")
    study = getattr(module, "STUDY", getattr(module, "CAMPAIGN", None))
    if not isinstance(study, (Study, Campaign)):
        raise ValueError(
            f"study {name!r} defines no STUDY of type studies.design.Study, and no CAMPAIGN of studies.design.Campaign"
        )
    if not name.endswith(".py") and study.name != name:
        raise ValueError(f"study {name!r}: its name is {study.name!r}, it must be that of its file")
    if study.name == "runs":
        raise ValueError(f"study {name!r}: must not be named 'runs', which is the folder of all runs")
    if not study.name.isidentifier():
        raise ValueError(f"study {name!r}: its name {study.name!r} must be an identifier, such as occlusion_ablation")
    return study
