"""What a reviewer would ask of a component: what it is, by whom, what float16 does to it, and what it costs."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from uflow import backend as ms
from uflow import registry
from uflow.compiled import compiled, differentiated
from uflow.registry import Entry

PAIRS, HEIGHT, WIDTH, CHANNELS = 4, 64, 64, 16
TURNS = 9  # of the component and of what it is compared with
SMALL = 1e-12


class Summed:
    """A normalization as a scalar: the sum of both maps, each weighted."""

    def __init__(self, component: Any):
        self.component = component

    def __call__(self, first: ms.Tensor, second: ms.Tensor, one: ms.Tensor, two: ms.Tensor) -> ms.Tensor:
        """The sum for two maps, each with its weights, of two directions of flow."""
        first, second = self.component(first, second, 2)
        return (first * one).sum() + (second * two).sum()


def lines(entry: Entry) -> Iterator[str]:
    """What is told of a component that does what its axis asks for, one thing a line.

    Of losses, masks and normalizations, also what inputs that were rounded to float16, as those of a network that
    computes in it, change of their value and gradient, and the time of both beside the component of the paper's
    settings: the median of `TURNS` turns. Both at 4 pairs of 64x64.
    """
    yield f"what it is: {entry.summary} Source: {entry.source}."
    yield f"options: {_options(entry) or 'none'}"
    if (given := _given(entry)) is None:
        return
    function, arrays, position = given
    run, by = compiled(function), differentiated(function, position)
    rounded = [array.astype(np.float16).astype(np.float32) for array in arrays]
    change = [_share(part(*rounded), part(*arrays)) for part in (run, by)]
    yield f"float16: such inputs change its value by {100 * change[0]:.2g} %, its gradient by {100 * change[1]:.2g} %"
    usual = registry.entry(*_usual(entry))
    if usual.cls is entry.cls:
        return
    other, others, place = _given(usual)
    own, known = _times([(run, by, arrays), (compiled(other), differentiated(other, place), others)])
    yield (
        f"time: {own:.2f} ms with its gradient for {PAIRS} pairs of {HEIGHT}x{WIDTH}, {own / known:.2f} times what"
        f" {usual.name} takes ({known:.2f} ms)"
    )


def _options(entry: Entry) -> str:
    """The options with their defaults and valid values; what a search may try is said, for nothing else is tuned."""
    found = []
    for field in dataclasses.fields(entry.cls):
        if "valid" in field.metadata:
            searched = field.metadata["search"]
            tried = f", searched in {str(searched).split(' in ')[-1]}" if searched else ", not searched"
            found.append(f"{field.name} = {field.default} ({field.metadata['valid']}{tried})")
    return "; ".join(found)


def _usual(entry: Entry) -> tuple[str, str]:
    """Axis and name of what it is compared with."""
    axis = "smoothness" if registry.AXES[entry.axis].term else entry.axis
    return axis, registry.AXES[axis].default


def _given(entry: Entry) -> tuple[Callable[..., ms.Tensor], list[np.ndarray], int] | None:
    """The component as a scalar function, what it is given, and the place of what it is differentiated by."""
    component, random = entry.cls(), np.random.default_rng(0)
    images = [random.random((PAIRS, 3, HEIGHT, WIDTH)).astype(np.float32) for _ in range(2)]
    flows = [2 * random.standard_normal((PAIRS, 2, HEIGHT, WIDTH)).astype(np.float32) for _ in range(2)]
    ones = np.ones((PAIRS, 1, HEIGHT, WIDTH), np.float32)
    if entry.axis == "photometric":
        return component, [*images, ones], 1
    if entry.axis == "smoothness" or registry.AXES[entry.axis].term:
        return component, [images[0], flows[0]], 1
    if entry.axis == "occlusion":
        return _total(component), [*flows, *([0 * ones] if "true_occlusion" in entry.needs else [])], 0
    if entry.axis == "normalization":
        maps = [random.standard_normal((PAIRS, CHANNELS, HEIGHT, WIDTH)).astype(np.float32) for _ in range(4)]
        return Summed(component), maps, 0
    return None


def _total(component: Any) -> Callable[..., ms.Tensor]:
    def total(*given: ms.Tensor) -> ms.Tensor:
        return component(*given).sum()

    return total


def _share(found: Any, wanted: Any) -> float:
    """The distance of two results as a share of the second."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    return float(np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), SMALL))


def _times(compared: Sequence[tuple[Callable[..., Any], Callable[..., Any], Sequence[np.ndarray]]]) -> list[float]:
    """Milliseconds of a value and its gradient, medians over turns in which each comes once."""
    taken: list[list[float]] = [[] for _ in compared]
    for turn in range(TURNS + 1):
        for own, (run, by, arrays) in zip(taken, compared, strict=True):
            began = time.perf_counter()
            run(*arrays), by(*arrays)
            if turn:  # the first one compiles
                own.append(1000 * (time.perf_counter() - began))
    return [statistics.median(own) for own in taken]
