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
        conditioned = tuple(golden.conditioned)
        row = (golden.name, golden.cases, float(golden.worst), str(golden.worst_key), len(golden.failures), conditioned)
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
    # a tuple that came from another process is a list
    rows = {(*value[:5], tuple(value[5])) for name, value in properties if name == "parity"}
    if not rows:
        return
    given, absent = directory()
    terminalreporter.section("parity with the reference")
    terminalreporter.write_line(f"only the small set in {given}: {absent}" if absent else f"files of {given}")
    terminalreporter.write_line(f"{'file':32} {'cases':>6}  worst error / maximum")
    for name, cases, worst, key, failures, conditioned in sorted(rows):
        failed = f"  FAILED {failures}" if failures else ""
        terminalreporter.write_line(f"{name:32} {cases:6}  {worst:.2e} {key}{failed}")
        for line in conditioned:
            terminalreporter.write_line(f"{'':40} ill-conditioned: {line}")
    if path := os.environ.get("UFLOW_PARITY"):
        if exitstatus == 0:
            parity.update(path, [value for name, value in properties if name == "components"])
        terminalreporter.write_line(f"{path} is {'written' if exitstatus == 0 else 'left as it was'}")
