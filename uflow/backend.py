"""MindSpore, loaded at first use, on the chosen device, with the environment that it needs.

Every module of the project takes MindSpore from here (`from uflow import backend as ms`), for two reasons:

* Planning, listing and reporting never touch a tensor and answer at once; loading MindSpore takes seconds.
* `ONEDNN_MAX_CPU_ISA` has to be set before the library is loaded. MindSpore 2.10 hands oneDNN plain NCHW
  tensors, and for those oneDNN picks a reference kernel on CPUs with AVX-512: a 3x3 convolution of 32 to 32
  channels took 515 ms there and 6.5 ms under the AVX2 cap. A value set by the user is left alone.
"""

from __future__ import annotations

import gc
import os
import pathlib
from typing import Any

_ENVIRONMENT = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # threads that wait asleep: spinning ones took a step from 109 to 3541 ms on a machine with other work
    "OMP_WAIT_POLICY": "PASSIVE",
    "GLOG_v": "3",  # errors only: MindSpore warns about every fallback of every operator
}


def _cpu_has_avx512(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """True if the CPU announces AVX-512; False where that cannot be read (no Linux, no x86)."""
    try:
        return "avx512f" in pathlib.Path(cpuinfo).read_text()
    except OSError:
        return False


def environment() -> dict[str, str]:
    """The variables that must be set before MindSpore is loaded and that the user has not set."""
    wanted = dict(_ENVIRONMENT)
    if not _cpu_has_avx512():
        del wanted["ONEDNN_MAX_CPU_ISA"]
    return {key: value for key, value in wanted.items() if key not in os.environ}


os.environ.update(environment())


def __getattr__(name: str) -> Any:
    """Loads MindSpore and takes over its public names (its graph parser reads the module's dictionary)."""
    if name.startswith("__"):
        raise AttributeError(name)
    import mindspore

    globals().update({key: value for key, value in vars(mindspore).items() if not key.startswith("_")})
    # what is loaded stays: MindSpore looks through all of it for garbage with every graph that it compiles
    gc.freeze()
    return getattr(mindspore, name)
