"""What holds for all tests; imported before MindSpore is."""

import os
import pathlib

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # several test processes share the cores: one thread each is faster than all of them everywhere
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from mlflow_server import empty_store, mlflow_server, proxy  # noqa: E402, F401  (fixtures for all tests)

from experiments.records import locks  # noqa: E402
from uflow import extensions, registry  # noqa: E402

# a slow or busy machine is no failure
hypothesis.settings.register_profile("anywhere", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("anywhere")

TESTS = pathlib.Path(__file__).parent
# Several processes begin with these, the longest first: one that is begun last leaves the other processes idle.
LONG = (
    "studies/test_every_study.py",
    "experiments/training/test_precision.py",
    "studies/test_study.py",
    "experiments/training/test_initial.py",
    "studies/search/test_tuning.py",
    "experiments/training/test_every_component.py",
    "experiments/test_run.py",
    "uflow/test_losses.py",
    "studies/test_many_machines.py",
    "experiments/training/test_parallel.py",
    "test_guide.py",
    "experiments/faults/test_clock.py",
    "goldens/test_parity.py",
    "experiments/faults/test_truncation.py",
    "experiments/faults/test_bad_data.py",
    "experiments/faults/test_kills.py",
    "experiments/test_convert.py",
)


def pytest_configure(config):
    assert all((TESTS / name).exists() for name in LONG), "LONG names a file that is not there"
    config.option.loadscopereorder = False  # else xdist begins with the files that have most tests


def pytest_collection_modifyitems(items):
    if "PYTEST_XDIST_WORKER" in os.environ:
        rank = {TESTS / name: number for number, name in enumerate(LONG)}
        items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture
def no_extensions(monkeypatch):
    """No extension is loaded, and what the test loads is forgotten afterwards."""
    registry.names("photometric")
    axes = dict(registry.AXES)
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(extensions, "_loaded", {})
    yield
    registry.AXES.clear()  # which others have by its name
    registry.AXES.update(axes)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`once(name, make)` is the folder that `make(folder)` has filled, once for all processes of the session."""
    base = tmp_path_factory.getbasetemp()
    place = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name, make=lambda folder: None):
        with locks.held(place / f"{name}.lock"):
            if not (place / f"{name}.made").exists():
                (place / name).mkdir(exist_ok=True)
                make(place / name)
                (place / f"{name}.made").touch()
        return place / name

    return folder
