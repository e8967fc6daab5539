"""How work on a study can end: the exit codes of commands and workers, and the errors behind them."""

from __future__ import annotations

from experiments.cli.signals import INTERRUPTED
from experiments.records import faults

DONE, USAGE, FAILED, DRIFT = 0, 2, 3, 4
ENVIRONMENT = faults.EXIT_CODE  # like INTERRUPTED it says nothing of the experiment
__all__ = ["DONE", "DRIFT", "ENVIRONMENT", "FAILED", "INTERRUPTED", "USAGE", "CannotRun", "DriftError", "StorageError"]


class CannotRun(RuntimeError):
    """A run cannot be done on this machine, or not now; the message says why. It says nothing about the experiment."""


class DriftError(ValueError):
    """A run is another experiment here and now than when it was planned: the code or the data has changed."""


class StorageError(ValueError):
    """The queue cannot be used; the message says where it is and what is wrong, without the password."""
