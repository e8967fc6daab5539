"""What a trained network makes of a few test frames, as pictures that can be laid beside those of other runs.

`pictures/` in a run's directory holds `<frame>_<kind>.png` for each frame shown, two legends, `wheel.png` and
`error_scale.png`, and `frames.json`, written last, which says what they show. The kinds:

    first    the first image
    truth    the true flow, black where it is unknown
    seen     the true visibility, if it is known: white is visible in the second frame, black is hidden or out of it
    flow     the network's flow
    error    the end-point error, gray where the true flow is unknown
    visible  what training with these flows would count: white is visible, black is hidden or leads out of the frame

The frames are those that moved most, the same for every run on the data, and those in which this run was worst. Flows
of a frame are colored on one scale, the longest true motion of the frame, so pictures of different runs compare.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from experiments.data.pairs import Pair, PairSet
from experiments.evaluation import metrics
from experiments.records import json_files, layout
from experiments.visualization import flow_colors
from uflow import backend as ms
from uflow import kernels, registry
from uflow.ops.geometry import inside_frame

N_LARGEST_MOTION = 4  # frames shown because they moved most
N_LARGEST_ERROR = 2  # frames shown because the run was worst there
MOST_LOOKED_AT = 256  # frames of which the motion is measured, spread evenly over the set
ERROR_TICKS = (0, 1, 3, 7, 15)  # px, evenly spaced on the error scale, which ends at the last
UNKNOWN = 128  # gray level
UPSCALE_TO, DOWNSCALE_TO = 256, 512  # px: small pictures are enlarged up to the first, large ones reduced to the second


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A frame to show.

    Attributes:
        index: in its set.
        reason: why it is shown.
    """

    index: int
    reason: str


def write(
    directory: pathlib.Path, network: Any, occlusion: Any, pairs: PairSet, errors: Sequence[float | None] = ()
) -> None:
    """Writes `pictures/` into the directory of a run.

    Args:
        directory: of the run.
        network: what estimates flows (`uflow.models.inference.Inference`), as it was evaluated.
        occlusion: component of the occlusion axis.
        pairs: what was evaluated on, every pair with its true flow.
        errors: end-point error of every pair, from which the run's worst frames are taken.
    """
    from experiments.evaluation.estimation import estimates

    shown = choose(pairs, errors)
    indices = [frame.index for frame in shown]
    forward = estimates(network, (pairs[index] for index in indices))
    # The other direction goes through the same compiled graph: nothing is compiled for the pictures.
    backward = estimates(network, (reversed_pair(pairs[index]) for index in indices))
    folder = directory / layout.PICTURES
    folder.mkdir(exist_ok=True)
    listed = []
    for frame, there, back in zip(shown, forward, backward, strict=True):
        pair, flow = there.pair, there.flow
        name = f"{frame.index:04d}-{re.sub('[^A-Za-z0-9.]+', '-', pair.name)[:80]}"
        longest = flow_colors.longest_motion(pair.flow, pair.valid)
        for kind, picture in draw(pair, flow, visibility(occlusion, flow, back.flow, pair), longest).items():
            json_files.atomic_write(folder / f"{name}_{kind}.png", png(sized(picture)))
        listed.append({"frame": name, "index": frame.index, "longest": longest, "reason": frame.reason})
    json_files.atomic_write(folder / "wheel.png", png(flow_colors.wheel()))
    json_files.atomic_write(folder / "error_scale.png", png(error_scale()))
    json_files.write_json(folder / "frames.json", {"frames": listed, "error_ticks": list(ERROR_TICKS)})


def reversed_pair(pair: Pair) -> Pair:
    """The frames of a pair in the other order, without ground truth."""
    return Pair(pair.name, pair.second, pair.first)


def choose(pairs: PairSet, errors: Sequence[float | None] = ()) -> list[Chosen]:
    """The frames with the largest mean true motion, the largest first, then those with the largest errors.

    Equal ones are taken in the order of the set. Only frames of which the motion is known, in `MOST_LOOKED_AT` frames
    of the set, are candidates for the first part.
    """
    places = np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_LOOKED_AT)).round().astype(int)
    motion = {int(i): mean_motion(pairs[int(i)]) for i in places}
    found = {i: "moved most" for i in _largest(motion, N_LARGEST_MOTION)}
    if len(errors) == len(pairs):
        known = {i: error for i, error in enumerate(errors) if error is not None}
        for i in _largest(known, N_LARGEST_ERROR):
            found[i] = f"{found[i]}, largest error" if i in found else "largest error"
    return [Chosen(i, reason) for i, reason in found.items()]


def _largest(values: Mapping[int, float], count: int) -> list[int]:
    return sorted(values, key=lambda i: (-values[i], i))[:count]


def mean_motion(pair: Pair) -> float:
    """Mean length of the known true motion of a pair, px; 0 if none is known."""
    if pair.flow is None:
        return 0.0
    length = np.hypot(*pair.flow.astype(np.float64))
    return metrics.masked_mean(length, pair.valid) or 0.0


def visibility(occlusion: Any, forward: np.ndarray, backward: np.ndarray, pair: Pair) -> np.ndarray | None:
    """Which pixels of the first frame training would count, (H, W), in [0, 1]; `None` if it needs unknown truth.

    As in `uflow.losses.terms`: what the component says of the flows at full size, without what leads out of the frame.

    Args:
        occlusion: component of the occlusion axis.
        forward: flow (2, H, W), px.
        backward: flow from the second frame to the first, like `forward`.
        pair: the frames, for a component that needs the true occlusion.
    """
    given = [ms.Tensor(np.ascontiguousarray(flow[None], np.float32)) for flow in (forward, backward)]
    if "true_occlusion" in registry.entry_of(occlusion).needs:
        if pair.occluded is None:
            return None
        given.append(ms.Tensor(pair.occluded[None, None].astype(np.float32)))
    with kernels.disabled():  # outside of a graph they keep the options of their first call: no range maps of two sizes
        return (occlusion(*given) * inside_frame(given[0])).asnumpy()[0, 0]


def draw(pair: Pair, flow: np.ndarray, visible: np.ndarray | None, longest: float) -> dict[str, np.ndarray]:
    """The pictures of a frame by kind, uint8 (H, W, 3), RGB; `longest` is the scale of the flows, px."""
    pictures = {
        "first": pair.first,
        "truth": flow_colors.colors(pair.flow, longest, pair.valid),
        "flow": flow_colors.colors(flow, longest),
        "error": error_colors(metrics.end_point_error(flow, pair.flow), pair.valid),
    }
    shares = {"seen": None if pair.occluded is None else ~pair.occluded, "visible": visible}
    for kind, share in shares.items():
        if share is not None:
            level = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
            pictures[kind] = np.repeat(level[..., None], 3, axis=2)
    return pictures


def error_colors(error: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """The picture of end-point errors (H, W), px, uint8 (H, W, 3), RGB: black is none, pale yellow 15 px and more.

    The scale is the same in every picture, logarithmic, log2(1 + error) / 4, so that 1, 3, 7 and 15 px are at its
    quarters; 3 px, beyond which KITTI calls a pixel an outlier, is in the middle. The colors are matplotlib's inferno,
    whose brightness rises evenly. What is not known is gray.
    """
    place = np.log2(1 + np.maximum(error.astype(np.float64), 0)) / np.log2(1 + ERROR_TICKS[-1])
    level = np.rint(255 * np.clip(np.nan_to_num(place), 0, 1)).astype(np.uint8)
    picture = np.ascontiguousarray(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1])
    known = np.isfinite(error) & (True if valid is None else valid)
    return np.where(known[..., None], picture, np.uint8(UNKNOWN))


def error_scale(height: int = 12, width: int = 256) -> np.ndarray:
    """The legend of `error_colors`, uint8 (height, width, 3): `ERROR_TICKS` are evenly spaced from left to right."""
    row = (1 + ERROR_TICKS[-1]) ** np.linspace(0, 1, width) - 1
    return error_colors(np.repeat(row[None], height, axis=0))


def sized(picture: np.ndarray) -> np.ndarray:
    """A picture of a readable size: small ones with every pixel as a block of pixels, large ones reduced."""
    longer = max(picture.shape[:2])
    if longer > DOWNSCALE_TO:
        height, width = (max(1, round(side * DOWNSCALE_TO / longer)) for side in picture.shape[:2])
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    times = max(1, UPSCALE_TO // longer)
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3), RGB, as the content of a PNG file."""
    # Equal blocks of pixels are what the general strategy packs well: a fifth of the bytes of OpenCV's default.
    packing = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
    done, content = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]), packing)
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as PNG")
    return content.tobytes()
