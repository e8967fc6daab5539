"""Methods that need no training, which networks are held against.

A method is a function from a pair to its flow, float32 (2, H, W), px; a new one is a function and a line in `METHODS`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import cv2
import numpy as np

from experiments.data.pairs import DataError, Pair
from experiments.evaluation.estimation import FlowEstimate
from experiments.evaluation.regions import known
from experiments.spec import ExperimentSpec, default_spec

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 5,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.1,
    "flags": 0,
}
DIS = {"preset": "medium"}
SMALLEST_DIS = 12  # px, the longer side


def zero(pair: Pair) -> np.ndarray:
    """No motion at all."""
    return np.zeros((2, *pair.first.shape[:2]), np.float32)


def constant(pair: Pair) -> np.ndarray:
    """The mean of the known true flow everywhere: an oracle, of all constant flows the best one in squares."""
    mask = known(pair)
    flow = zero(pair)
    if mask.any():
        flow += pair.flow[:, mask].mean(axis=1, dtype=np.float64).astype(np.float32)[:, None, None]
    return flow


def farneback(pair: Pair) -> np.ndarray:
    """OpenCV's `calcOpticalFlowFarneback` on gray frames with the parameters of `FARNEBACK`.

    Source: Farneback, SCIA 2003.
    """
    with _one_thread():
        flow = cv2.calcOpticalFlowFarneback(*_gray(pair), None, **FARNEBACK)
    return _planes(flow)


def dis(pair: Pair) -> np.ndarray:
    """OpenCV's `DISOpticalFlow` on gray frames, its preset medium.

    Source: Kroeger et al., ECCV 2016.

    Raises:
        DataError: if the frames are smaller than OpenCV takes.
    """
    if max(pair.first.shape[:2]) < SMALLEST_DIS:
        raise DataError(f"pair {pair.name}: DIS needs frames of {SMALLEST_DIS} px or more, got {pair.first.shape[:2]}")
    with _one_thread():
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*_gray(pair), None)
    return _planes(flow)


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """A method by its name; for an evaluation it is what `Predictor` and `Estimator` are for a network.

    Attributes:
        name: on the command line.
        title: in tables.
        flow: from a pair to its flow, float32 (2, H, W), px.
        parameters: what it computes with.
    """

    name: str
    title: str
    flow: Callable[[Pair], np.ndarray]
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    size: ClassVar[None] = None  # works at that of the frames
    occlusion: ClassVar[None] = None  # says nothing of it
    own_data: ClassVar[None] = None  # was made for none

    @property
    def spec(self) -> ExperimentSpec:
        """Tells what generated scenes are like."""
        return default_spec()

    def check(self, pair: Pair) -> Pair:
        """The pair itself."""
        return pair

    def load(self) -> Yardstick:
        """The method itself, ready to be used."""
        return self

    def estimates(self, pairs: Iterable[Pair]) -> Iterator[FlowEstimate]:
        """The flow of every pair, in order, lazily, at the size of its frames."""
        return (FlowEstimate(pair, self.flow(pair)) for pair in pairs)

    def batch_size(self, frame: np.ndarray) -> int:
        """How many frames are computed together."""
        return 1

    def describe(self) -> dict[str, Any]:
        """Plain data that says what was computed."""
        return {"method": {"name": self.name, "title": self.title, "opencv": cv2.__version__, **self.parameters}}


METHODS: Mapping[str, Yardstick] = {
    method.name: method
    for method in (
        Yardstick("zero", "no motion", zero),
        Yardstick("constant", "best constant motion", constant),
        Yardstick("farneback", "Farneback", farneback, FARNEBACK),
        Yardstick("dis", "DIS", dis, DIS),
    )
}


def _gray(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    return cv2.cvtColor(pair.first, cv2.COLOR_RGB2GRAY), cv2.cvtColor(pair.second, cv2.COLOR_RGB2GRAY)


def _planes(flow: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(flow.transpose(2, 0, 1), np.float32)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of OpenCV's, so that no number can depend on how a frame is divided among several."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
