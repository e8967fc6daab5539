import os
import pathlib

import pytest

from goldens.golden import SMALL
from uflow import backend as ms

REPORT = []


def directory():
    """Where the goldens are: `UFLOW_GOLDENS`, else beside the project, else the few that are part of it."""
    root = pathlib.Path(__file__).parents[2]
    given = pathlib.Path(os.environ.get("UFLOW_GOLDENS", root.parent / "shared" / "goldens"))
    return (given, "") if given.is_dir() else (SMALL, f"{given} does not exist (set UFLOW_GOLDENS)")


@pytest.fixture(autouse=True)
def graph_mode():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=before)


@pytest.fixture
def report():
    return REPORT.append


def pytest_terminal_summary(terminalreporter):
    if not REPORT:
        return
    terminalreporter.section("parity with the reference")
    terminalreporter.write_line(f"{'file':32} {'cases':>6}  worst error / maximum")
    for golden in sorted(REPORT, key=lambda g: g.name):
        failed = f"  FAILED {len(golden.failures)}" if golden.failures else ""
        terminalreporter.write_line(f"{golden.name:32} {golden.cases:6}  {golden.worst:.2e} {golden.worst_key}{failed}")
