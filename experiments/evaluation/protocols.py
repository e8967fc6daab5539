"""How errors of pixels become the numbers of a data set, under names with versions.

A number is only comparable with another one of the same protocol; so its name is stored with every number. A protocol
is never changed: what would turn the same flow into another number gets another name. Others come from extensions
(`uflow.extensions`), in a table `PROTOCOLS`, a tuple.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from experiments.data.pairs import DataError, Pair
from experiments.evaluation import metrics
from experiments.evaluation.regions import by_visibility, in_brought, known, regions
from experiments.spec_options import PROTOCOL
from uflow import extensions
from uflow.registry import Extension, did_you_mean

OUTLIERS = (1, 3, 5)  # px
KITTI = ("kitti2012", "kitti2015")


@dataclasses.dataclass(frozen=True)
class Measure:
    """What an error is, in every pixel.

    Attributes:
        label: in tables, with its unit.
        unit: of its values.
        per_pixel: from a flow and the truth, (2, H, W), px, to the values, (H, W).
    """

    label: str
    unit: str
    per_pixel: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _above(pixels: int) -> Measure:
    """The share of pixels with an error above so many."""
    return Measure(f">{pixels}px %", "%", lambda *flows: 100.0 * (metrics.end_point_error(*flows) > pixels))


MEASURES: Mapping[str, Measure] = {
    "epe": Measure("EPE px", "px", metrics.end_point_error),
    **{f"{pixels}px": _above(pixels) for pixels in OUTLIERS},
    "fl": Measure("Fl %", "%", lambda *flows: 100.0 * metrics.outliers(*flows)),  # above 3 px and 5 % of the motion
}


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
        measures: what is measured, by name.
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
    measures: Mapping[str, Measure] = dataclasses.field(default_factory=lambda: MEASURES)
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

        Raises:
            DataError: if a region or a measure fails, which may be code of an extension.
        """
        try:
            return self._totals(name, pair, flow)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"protocol {self.name}: pair {pair.name}: {type(error).__name__}: {error}") from error

    def _totals(self, name: str, pair: Pair, flow: np.ndarray) -> dict[str, Total]:
        counted = self.counted(name, pair)
        masks = dict(self.regions(pair, counted))
        masks |= {region: mask for region in self.more if (mask := in_brought(region, pair, counted)) is not None}
        if self.reference:
            told = ("all", "noc") if name in KITTI else ("all",)
            masks = {region: mask for region, mask in masks.items() if region in told}
        found = {}
        for measure, kind in self.measures.items():
            values = kind.per_pixel(flow, pair.flow)
            for region, mask in masks.items():
                inside = mask > 0
                total = float((values[inside] * mask[inside]).sum(dtype=np.float64))
                if not np.isfinite(total):
                    raise ValueError(f"{measure}/{region} is not finite")
                found[f"{measure}/{region}"] = Total(total, float(mask.sum(dtype=np.float64)))
        return found

    def number(self, name: str, measure: str, totals: Sequence[Total]) -> float | None:
        """The number of data set `name` from the totals of its frames; `None` if no frame has such pixels."""
        # the reference limits its shares of outliers, too, but those are at most 1
        ceiling = metrics.KITTI_CEILING if self.reference and name in KITTI and measure == "epe" else None
        if self.mean_of == "frames":
            return metrics.mean_over_frames((total.mean for total in totals), ceiling)
        whole = Total(sum(total.sum for total in totals), sum(total.pixels for total in totals))
        return metrics.mean_over_frames([whole.mean], ceiling)


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
            measures={name: MEASURES[name] for name in ("epe", "fl")},
            regions=by_visibility,
            reference=True,
        ),
    )
}
# What studies keep: part of the numbers of their protocol, since they measure again and again while a run trains.
OF_STUDIES = dataclasses.replace(PROTOCOLS[PROTOCOL], measures={"epe": MEASURES["epe"]}, regions=by_visibility)


def brought() -> Mapping[str, tuple[Protocol, Extension]]:
    """The protocols of extensions by name, with where they come from.

    Raises:
        ValueError: if a table is none of protocols, or one has a name or measures that there cannot be.
    """
    found: dict[str, tuple[Protocol, Extension]] = {}
    for table, extension in extensions.tables("PROTOCOLS"):
        where = f"extension {str(extension.file)!r}: PROTOCOLS"
        if not isinstance(table, (tuple, list)) or not all(isinstance(each, Protocol) for each in table):
            raise ValueError(f"{where} must be a tuple of experiments.evaluation.protocols.Protocol")
        for protocol in table:
            taken = protocol.name in PROTOCOLS or protocol.name in found
            if problem := "is there already" if taken else _problem(protocol):
                raise ValueError(f"{where}: {protocol.name!r} {problem}")
            found[protocol.name] = protocol, extension
    return found


def _problem(protocol: Protocol) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*/[1-9][0-9]*", str(protocol.name)):
        return "has no name with a version, such as mine/1"
    if protocol.mean_of not in ("frames", "pixels"):
        return f"has mean_of {protocol.mean_of!r}; possible: 'frames' and 'pixels'"
    measures = protocol.measures
    if not isinstance(measures, Mapping) or not all(isinstance(kind, Measure) for kind in measures.values()):
        return "must have measures by name, {'name': Measure(...)}"
    for name, kind in measures.items():
        if not re.fullmatch(r"[a-z0-9_]+", str(name)):
            return f"has a measure {name!r}, whose name must be of lower-case letters, digits and _"
        if MEASURES.get(name, kind) != kind:
            return f"has a measure {name!r}, which is another one in this project"
    return ""


def protocol_of(name: str) -> tuple[Protocol, Extension | None]:
    """The protocol of a name, of this project or of an extension, and the extension.

    Raises:
        ValueError: if there is none.
    """
    known = {each: (found, None) for each, found in PROTOCOLS.items()} | dict(brought())
    if name not in known:
        raise ValueError(f"unknown protocol {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})")
    return known[name]
