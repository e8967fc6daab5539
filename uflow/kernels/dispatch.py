"""Whether the kernels are used, and MindSpore's operators made of them, both found out at first use.

Graph mode asks an object whose class says `__ms_class__` for its attributes in Python while it traces, so the first
trace that meets a kernel builds the library; importing this module does not, nor does it load MindSpore.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from uflow import backend as ms
from uflow.kernels import build, operators

MODES = ("auto", "on", "off")
_log = logging.getLogger(__name__)


def mode() -> str:
    """`$UFLOW_KERNELS`: `auto` (default), `on` (an error if they cannot be had) or `off`."""
    chosen = os.environ.get("UFLOW_KERNELS", "").strip().lower() or "auto"
    if chosen not in MODES:
        raise ValueError(f"UFLOW_KERNELS={chosen!r}; possible: {', '.join(MODES)}")
    return chosen


@functools.cache
def _library() -> tuple[str, str]:
    """The path of the library and nothing, or nothing and why there is none."""
    try:
        return str(build.library()), ""
    except build.BuildError as error:
        return "", str(error)


def lacking() -> str:
    """That kernels are wanted and cannot be had, as a sentence, or nothing; compiles them if need be."""
    reason = _library()[1] if mode() == "auto" else ""
    return f"no CPU kernels, training is several times slower: {reason}" if reason else ""


@functools.cache
def _warn(sentence: str) -> None:
    _log.warning(sentence)


class KernelSwitch:
    """The kernels as graph mode sees them."""

    __ms_class__ = True
    disabled = False  # for a while, see `disabled`

    @property
    def active(self) -> bool:
        """True if the kernels are wanted, can be had and the device is the CPU; says once why they cannot be had.

        Raises:
            RuntimeError: if they cannot be had with `UFLOW_KERNELS=on`.
        """
        if self.disabled or mode() == "off" or ms.get_context("device_target") != "CPU":
            return False
        path, reason = _library()
        if reason and mode() == "on":
            raise RuntimeError(f"UFLOW_KERNELS=on, but there are no kernels: {reason}")
        if reason:
            _warn(lacking())
        return bool(path)

    def __getattr__(self, name: str) -> Any:
        """An operator with its options as a suffix, `convolution_1_1_1_0`, or `options_1_1_1_0`, these as a tensor.

        Operators are the functions of `uflow.kernels.operators.OPERATORS`.
        """
        if not re.fullmatch(r"[a-z_]*[a-z](_\d+)*", name):
            raise AttributeError(name)
        kind = name.rstrip("_0123456789")
        options = [int(number) for number in re.findall(r"\d+", name)]
        if kind == "options":
            made = ms.Tensor(options, ms.int32)
        elif kind in operators.OPERATORS:
            made = operators.OPERATORS[kind](_library()[0], *options)
        else:
            raise AttributeError(name)
        self.__dict__[name] = made
        return made


switch = KernelSwitch()


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """What is traced meanwhile is made of MindSpore's own operators, as a graph must be that leaves this machine.

    Trace a new cell: one that was traced before keeps its graph, kernels included.
    """
    before, switch.disabled = switch.disabled, True
    try:
        yield
    finally:
        switch.disabled = before


def fingerprint() -> str:
    """Names what a graph is compiled to: the library, its content and its place, or `none`.

    A stored graph names the library by its absolute path.

    A cache of compiled graphs (`enable_compile_cache`) sees neither this choice nor whether the library is still there:
    make the name, which builds the library if need be, a part of `compile_cache_path`.
    """
    if not switch.active:
        return "none"
    path = pathlib.Path(_library()[0])
    content = hashlib.sha256(os.fsencode(path) + b"\0" + path.read_bytes()).hexdigest()[:12]
    return f"{path.stem}-{content}"
