"""What holds for all tests; imported before MindSpore is."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # several test processes share the cores: one thread each is faster than all of them everywhere
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from mlflow_server import mlflow_server, proxy  # noqa: E402, F401  (fixtures for all tests)
