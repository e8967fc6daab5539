"""What holds for all tests; imported before MindSpore is."""

import os

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # several test processes share the cores: one thread each is faster than all of them everywhere
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from mlflow_server import empty_store, mlflow_server, proxy  # noqa: E402, F401  (fixtures for all tests)

from experiments import locks  # noqa: E402

# a slow or busy machine is no failure
hypothesis.settings.register_profile("anywhere", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("anywhere")


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
