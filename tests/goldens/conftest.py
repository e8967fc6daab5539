import os
import pathlib

import pytest

from goldens import parity
from goldens.golden import SMALL
from uflow import backend as ms


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
def report(request):
    """Keeps what was compared with the test's own report, which also comes home from other processes (pytest-xdist)."""
    compared = []
    yield compared.append
    for golden in compared:
        row = (golden.name, golden.cases, float(golden.worst), str(golden.worst_key), len(golden.failures))
        request.node.user_properties.append(("parity", row))
        about = golden.name, parity.digest(golden), parity.summary(golden)
        request.node.user_properties.append(("components", about))


def pytest_terminal_summary(terminalreporter, exitstatus):
    properties = [
        named
        for group in terminalreporter.stats.values()
        for found in group
        for named in getattr(found, "user_properties", ())
    ]
    rows = {tuple(value) for name, value in properties if name == "parity"}
    if not rows:
        return
    terminalreporter.section("parity with the reference")
    terminalreporter.write_line(f"{'file':32} {'cases':>6}  worst error / maximum")
    for name, cases, worst, key, failures in sorted(rows):
        failed = f"  FAILED {failures}" if failures else ""
        terminalreporter.write_line(f"{name:32} {cases:6}  {worst:.2e} {key}{failed}")
    if path := os.environ.get("UFLOW_PARITY"):
        if exitstatus == 0:
            parity.update(path, [value for name, value in properties if name == "components"])
        terminalreporter.write_line(f"{path} is {'written' if exitstatus == 0 else 'left as it was'}")
