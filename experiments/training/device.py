"""Which device MindSpore runs on, and where it keeps its files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pathlib

from experiments.training import process_group
from uflow import backend as ms


def available() -> str:
    """The best device that this machine offers: Ascend, then GPU, then CPU."""
    if pathlib.Path("/dev/davinci_manager").exists():
        return "Ascend"
    if pathlib.Path("/dev/nvidiactl").exists():
        return "GPU"
    return "CPU"


def check_precision(amp: str, target: str) -> None:
    """Raises `ValueError` if a device does not compute in a precision out of `uflow.ops.precision.LEVELS`."""
    chosen = available() if target == "auto" else target
    if amp != "O0" and chosen == "CPU":
        raise ValueError(
            f"train.amp={amp} (--amp) needs a GPU or Ascend: on the CPU float16 is slower than float32; leave it at O0"
        )


def prepare(target: str = "auto", device_id: int = 0, scratch: str | os.PathLike | None = None) -> str:
    """Selects the device and graph mode, and returns the name of the device that was taken.

    Args:
        target: one of `experiments.cli.flags.TARGETS`.
        device_id: which card, for GPU and Ascend.
        scratch: a directory for the files that MindSpore writes when a graph cannot be compiled; without it they land
            in the working directory.
    """
    chosen = available() if target == "auto" else target
    ms.set_context(mode=ms.GRAPH_MODE)
    if scratch is not None:
        ms.set_context(save_graphs_path=str(scratch))
    if chosen == "CPU":
        ms.set_device("CPU")
    elif process_group.group_size() > 1:
        ms.set_device(chosen)  # `msrun` gives each process its card
    else:
        ms.set_device(chosen, device_id)
    return chosen


def source_digest() -> str:
    """Digest of the package's own source: a compiled graph is only good for the code that it was compiled from."""
    root = pathlib.Path(__file__).parents[2]
    found = hashlib.sha256()
    for package in ("uflow", "experiments"):
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".cc", ".h"):
                found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def use_compile_cache(directory: pathlib.Path) -> None:
    """Keeps compiled graphs in a directory, which must be one process's sequence of graphs and no other's.

    MindSpore names a stored graph by its number in the process and does not compare options, so two sequences in one
    directory would be taken for each other.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ms.set_context(enable_compile_cache=True, compile_cache_path=str(directory))


def leave_compile_cache() -> None:
    """Ends `use_compile_cache`: whatever is compiled from here on is neither stored nor taken from the store."""
    ms.set_context(enable_compile_cache=False)


def mindspore_version() -> str:
    """The installed MindSpore."""
    return importlib.metadata.version("mindspore")
