"""Writes a component, a study or a data set of your own to begin with: a file that runs, and a test beside it.

    python -m experiments.new component NAME --axis photometric
    python -m experiments.new study NAME
    python -m experiments.new dataset NAME

NAME.py and test_NAME.py go into the working directory, or into --out. Nothing of the project is changed: components and
data sets are used with --extensions NAME.py, a study by its path (docs/extensions.md).
"""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import pathlib
import re
import sys
from collections.abc import Sequence

from experiments.cli import flags, terminal
from experiments.data import catalog
from experiments.records.atomic import check_writable
from experiments.records.json_files import atomic_write
from uflow import registry

KINDS = ("component", "study", "dataset")
TEMPLATES = pathlib.Path(__file__).with_name("cli") / "templates"
STUDIES = pathlib.Path(__file__).parents[1] / "studies"
NEXT = {  # what to do with each, after its test
    "component": (
        "python -m uflow.check {file}",
        "python -m experiments.run --extensions {file} with {axis}.name={name}",
    ),
    "study": ("python -m studies.run {file} --preset smoke --plan", "python -m studies.run {file} --preset smoke"),
    "dataset": ("python -m experiments.evaluate --eval {name}:FOLDER --extensions {file} --method dis",),
}


def _template(which: str) -> str:
    return (TEMPLATES / f"{which}.py.txt").read_text(encoding="utf-8")


def problem(kind: str, name: str, axis: str) -> str:
    """Why something cannot be called so, or nothing."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        return f"{name!r} is no name: give small letters, digits and underscores, as in my_{kind}"
    if kind == "component" and name in registry.names(axis):
        return f"{axis} component {name!r} is there already, give another name"
    if kind == "dataset" and name in catalog.names():
        return f"data set {name!r} is there already, give another name"
    if kind == "dataset" and re.search(rf"\b{name}\b", _template("dataset")):  # its reader is a function of the name
        return f"{name!r} is a word of the file that would be written, give another name"
    if kind == "study" and (name == "runs" or (STUDIES / f"{name}.py").exists()):
        return f"study {name!r} is there already, or the folder of all runs is called so, give another name"
    found = importlib.util.find_spec(name)
    if found and found.origin and pathlib.Path(found.origin).parent != pathlib.Path.cwd():
        return f"{name!r} is a module of Python, which a file of this name would hide, give another name"
    return ""


def files(kind: str, name: str, axis: str) -> dict[str, str]:
    """The contents of the two files by their names, the test first."""
    template = axis if kind == "component" else kind
    cls = "".join(word.capitalize() for word in name.split("_"))

    def filled(which: str) -> str:
        return _template(which).replace("template_name", name).replace("TemplateName", cls)

    return {f"test_{name}.py": filled(f"{template}_test"), f"{name}.py": filled(template)}


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m experiments.new", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("kind", choices=KINDS, metavar="KIND", help="component, study or dataset")
    made.add_argument("name", metavar="NAME", help="what it is called, lower_snake_case")
    made.add_argument("--axis", choices=registry.AXES, help="of a component (photometric)")
    made.shared("out", default=pathlib.Path(), help="folder of both files (the working directory)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Writes both files; 0 done, 2 wrong usage or a name or file that is there already."""
    made = parser()
    given = made.parse_args(argv)
    if given.axis and given.kind != "component":
        made.error(f"--axis is for components, a {given.kind} has none")
    axis = given.axis or "photometric"
    out = given.out.expanduser()
    try:
        if found := problem(given.kind, given.name, axis):
            raise ValueError(found)
        written = files(given.kind, given.name, axis)
        if there := next((out / name for name in written if (out / name).exists()), None):
            raise ValueError(f"{there} is there already, give another name or --out")
        check_writable(out)
        for name, text in written.items():
            atomic_write(out / name, text)
    except (ValueError, OSError) as error:
        print(f"experiments.new: {error}", file=sys.stderr)
        return 2
    file, test = (f"{out}/{name}.py" for name in (given.name, f"test_{given.name}"))
    print(f"wrote {file} and {test}: an example that works; what to do with it:")
    for command in (f"python -m pytest {test}", *NEXT[given.kind]):
        print(f"  {command.format(file=file, name=given.name, axis=axis)}")
    return 0


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
