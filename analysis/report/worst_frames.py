"""The frames to look at first: where the error is largest, and where the arms disagree most."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence

from analysis.report.gallery import KINDS, SHARED, Album, albums
from analysis.results.load import StudyData
from experiments.records.labels import cell

ORDERS = ("error", "disagreement")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorstFrame:
    """A frame with what every arm made of it.

    Attributes:
        index: in the evaluated set.
        name: of its pictures; empty if no run left any.
        means: mean over the completed seeds of the deciding metric in this frame, by label.
    """

    index: int
    name: str
    means: Mapping[str, float]

    @property
    def error(self) -> float:
        """Mean over the arms."""
        return statistics.fmean(self.means.values())

    @property
    def disagreement(self) -> float:
        """Largest minus smallest value of an arm."""
        return max(self.means.values()) - min(self.means.values())


def worst_frames(data: StudyData, count: int = 10) -> dict[str, tuple[WorstFrame, ...]]:
    """The `count` frames with the largest mean error and with the largest disagreement, by the names of `ORDERS`.

    On the deciding metric, taken to be an error; a frame counts if every arm with completed runs has a value in it.
    Empty if no run has values per frame.
    """
    rows = {label: row for label in data.plan.labels if (row := _means(data, label))}
    shared = set.intersection(*(set(row) for row in rows.values())) if rows else set()
    names = {
        said["index"]: name for album in albums(data).values() for name, said in album.listed.items() if "index" in said
    }
    frames = [
        WorstFrame(index=i, name=names.get(i, ""), means={label: row[i] for label, row in rows.items()})
        for i in sorted(shared)
    ]
    return {
        order: tuple(sorted(frames, key=lambda frame: -getattr(frame, order))[:count]) for order in ORDERS if frames
    }


def as_csv(found: Mapping[str, Sequence[WorstFrame]], labels: Sequence[str]) -> str:
    """The frames as CSV: what they are ranked by, place, index, name, error, disagreement and every arm's mean."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    shown = [label for label in labels if any(label in f.means for frames in found.values() for f in frames)]
    writer.writerow(["by", "place", "frame", "picture", *ORDERS, *map(cell, shown)])
    for order, frames in found.items():
        for place, frame in enumerate(frames, start=1):
            values = [frame.error, frame.disagreement, *(frame.means[label] for label in shown)]
            writer.writerow([order, place, frame.index, cell(frame.name), *(f"{value:.6g}" for value in values)])
    return buffer.getvalue()


def pictures_of(data: StudyData, found: Mapping[str, Sequence[WorstFrame]]) -> dict[str, pathlib.Path]:
    """The files to copy, by new name: `<frame>_<kind>.png` if all arms share it, else `<frame>_<arm>_<kind>.png`."""
    names = {frame.name for frames in found.values() for frame in frames if frame.name}
    files: dict[str, pathlib.Path] = {}
    for number, (label, album) in enumerate(albums(data).items()):
        files |= _of_arm(number, label, album, names)
    return files


def _of_arm(number: int, label: str, album: Album, names: set[str]) -> dict[str, pathlib.Path]:
    arm = f"{number}-{re.sub('[^A-Za-z0-9.]+', '-', label)[:60]}"  # the number tells labels apart that look alike now
    return {
        f"{name}_{kind}.png" if kind in SHARED else f"{name}_{arm}_{kind}.png": path
        for (name, kind), path in album.files.items()
        if name in names and kind in KINDS
    }


def _means(data: StudyData, label: str) -> dict[int, float]:
    """Mean over the completed seeds, by frame, in which every one of these seeds has a value."""
    seeds = data.values(label, data.plan.metric)
    rows = [data.records[label, seed].frames.get(data.plan.metric, ()) for seed in seeds]
    rows = [row for row in rows if row]
    if not rows or len({len(row) for row in rows}) > 1:
        return {}
    return {i: statistics.fmean(column) for i, column in enumerate(zip(*rows, strict=True)) if None not in column}
