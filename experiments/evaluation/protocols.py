"""How errors of pixels become the numbers of a data set, under names with versions.

A number is only comparable with another one of the same protocol; so its name is stored with every number. A protocol
is never changed: what would turn the same flow into another number gets another name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from experiments.data.pairs import Pair
from experiments.evaluation import metrics
from experiments.evaluation.regions import by_visibility, in_brought, known, regions
from experiments.spec_options import PROTOCOL

OUTLIERS = (1, 3, 5)  # px
MEASURES = {
    "epe": "end-point error, px",
    **{f"{pixels}px": f"share of pixels with an error above {pixels} px, %" for pixels in OUTLIERS},
    "fl": "share of pixels with an error above 3 px and 5 % of the true motion, %",
}
KITTI = ("kitti2012", "kitti2015")


@dataclasses.dataclass(frozen=True)
class Total:
    """The sum of a measure over the pixels of a region in one frame, and how many pixels that were.

    A pixel that is in the region in part counts so.
    """

    sum: float
    pixels: float

    @property
    def mean(self) -> float | None:
        """`None` in a frame without such pixels."""
        return self.sum / self.pixels if self.pixels else None


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is counted, and how frames are put together.

    Attributes:
        name: with its version, such as `full/1`.
        about: one sentence for whoever chooses.
        mean_of: `frames`, each frame with such pixels counts the same; or `pixels`, each pixel does.
        data: the data sets that it is made for; none means any.
        measures: what is measured, out of `MEASURES`.
        regions: from a pair and its pixels that count, bool (H, W), to those of every region.
        reference: as the reference does it: over all pixels, known or not, of all data sets but KITTI, where it is
            over known ones (`all`), and over known visible ones (`noc`), and the mean error is at most
            `metrics.KITTI_CEILING`.
        more: names of regions of extensions that are measured, too.
    """

    name: str
    about: str
    mean_of: Literal["frames", "pixels"] = "frames"
    data: tuple[str, ...] = ()
    measures: tuple[str, ...] = tuple(MEASURES)
    regions: Callable[[Pair, np.ndarray], Mapping[str, np.ndarray]] = regions
    reference: bool = False
    more: tuple[str, ...] = ()

    def counted(self, name: str, pair: Pair) -> np.ndarray:
        """The pixels of a pair of data set `name` that count, bool (H, W)."""
        if self.reference and name not in KITTI:
            return np.ones(pair.first.shape[:2], bool)
        return known(pair)

    def totals(self, name: str, pair: Pair, flow: np.ndarray) -> dict[str, Total]:
        """The totals of a frame, by `<measure>/<region>`.

        Args:
            name: the data set.
            pair: with flow.
            flow: (2, H, W), px, what is measured.
        """
        counted = self.counted(name, pair)
        masks = dict(self.regions(pair, counted))
        masks |= {region: mask for region in self.more if (mask := in_brought(region, pair, counted)) is not None}
        if self.reference:
            told = ("all", "noc") if name in KITTI else ("all",)
            masks = {region: mask for region, mask in masks.items() if region in told}
        found = {}
        for measure in self.measures:
            values = _per_pixel(measure, flow, pair.flow)
            for region, mask in masks.items():
                inside = mask > 0
                total = (values[inside] * mask[inside]).sum(dtype=np.float64)
                found[f"{measure}/{region}"] = Total(float(total), float(mask.sum(dtype=np.float64)))
        return found

    def number(self, name: str, measure: str, totals: Sequence[Total]) -> float | None:
        """The number of data set `name` from the totals of its frames; `None` if no frame has such pixels."""
        # the reference limits its shares of outliers, too, but those are at most 1
        ceiling = metrics.KITTI_CEILING if self.reference and name in KITTI and measure == "epe" else None
        if self.mean_of == "frames":
            return metrics.mean_over_frames((total.mean for total in totals), ceiling)
        whole = Total(sum(total.sum for total in totals), sum(total.pixels for total in totals))
        return metrics.mean_over_frames([whole.mean], ceiling)


def _per_pixel(measure: str, flow: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A measure of every pixel, (H, W), in the unit of `MEASURES`."""
    if measure == "fl":
        return 100.0 * metrics.outliers(flow, truth)
    error = metrics.end_point_error(flow, truth)
    return error if measure == "epe" else 100.0 * (error > int(measure.removesuffix("px")))


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(PROTOCOL, "known pixels; the mean over frames of their means over pixels, as in studies"),
        Protocol("pixels/1", "known pixels; the mean over all pixels of all frames, as benchmarks do", "pixels"),
        Protocol(
            "uflow/1",
            "as UFlow reports it: the mean over frames, invalid pixels counted except on KITTI, where an end-point"
            f" error is at most {metrics.KITTI_CEILING:g} px",
            data=("flyingchairs", "sintel_clean", "sintel_final", *KITTI),
            measures=("epe", "fl"),
            regions=by_visibility,
            reference=True,
        ),
    )
}
# What studies keep: part of the numbers of their protocol, since they measure again and again while a run trains.
OF_STUDIES = dataclasses.replace(PROTOCOLS[PROTOCOL], measures=("epe",), regions=by_visibility)
