"""Which code a run was made with, as its `cost.json` and MLflow's column "Version" say it."""

from __future__ import annotations

import functools
import pathlib
import subprocess

import uflow

ROOT = pathlib.Path(__file__).resolve().parents[2]


@functools.cache
def code_version(root: pathlib.Path = ROOT) -> dict[str, str | bool]:
    """`version` of the package and, in a clone, `commit` and whether tracked files were `changed` since.

    Args:
        root: of the project; a package that is installed inside another repository has no commit of its own.
    """
    found: dict[str, str | bool] = {"version": uflow.__version__}
    try:
        if pathlib.Path(_git(root, "rev-parse", "--show-toplevel")) == root:
            commit = _git(root, "rev-parse", "HEAD")
            found |= {"commit": commit, "changed": bool(_git(root, "status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        pass  # no git, or no repository
    return found


def _git(root: pathlib.Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
