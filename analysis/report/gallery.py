"""The flow pictures of a study's runs, arranged to be compared frame by frame."""

from __future__ import annotations

import base64
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from analysis.results.load import StudyData
from experiments.records import layout
from experiments.records.json_files import RecordError, read_json

SHARED = ("first", "truth", "seen")  # the same for every arm
OWN = ("flow", "error", "visible")
KINDS = (*SHARED, *OWN)
LEGENDS = ("wheel", "error_scale")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Frame:
    """The pictures of one frame as data URIs.

    Attributes:
        name: of the frame.
        shared: the first image, the true flow and the true visibility, by kind.
        arms: what each arm made of it: pictures by kind, by label; an arm without pictures is not in it.
        longest: longest true motion, px, on which the flows are scaled; `None` if the runs did not say.
        errors: value of the deciding metric in this frame by label, of the run whose pictures are shown.
    """

    name: str
    shared: Mapping[str, str]
    arms: Mapping[str, Mapping[str, str]]
    longest: float | None = None
    errors: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Album:
    """The pictures of one run.

    Attributes:
        seed: of the run.
        files: by frame and kind.
        listed: what the run says of its frames, by name: `index` in the evaluated set and `longest` motion in px.
        legends: by the names of `LEGENDS`.
        ticks: px at evenly spaced places of the error scale.
    """

    seed: int
    files: Mapping[tuple[str, str], pathlib.Path]
    listed: Mapping[str, Mapping[str, Any]]
    legends: Mapping[str, pathlib.Path]
    ticks: tuple[float, ...]


def albums(data: StudyData) -> dict[str, Album]:
    """The pictures of the first seed of each arm that has any, by label."""
    found = {}
    for label in data.plan.labels:
        for seed in data.of(label):
            album = _album(data.run_directory(label, seed) / layout.PICTURES, seed)
            if album.files:
                found[label] = album
                break
    return found


def collect(data: StudyData, most_frames: int = 6, most_bytes: int = 16_000_000) -> tuple[tuple[Frame, ...], str]:
    """The frames that most arms have, by name, and a sentence on what was left out (empty if nothing was).

    Reads `pictures/<frame>_<kind>.png` from the directory of the first seed of each arm that has any; the kinds are
    those of `KINDS`, other files are passed over. Files that are no PNG are passed over too.

    Args:
        data: the study.
        most_frames: how many frames are shown.
        most_bytes: how many bytes of PNG are taken in, so that the report stays a file that can be mailed.
    """
    found = albums(data)
    holders = {name: set() for album in found.values() for name, _ in album.files}
    for label, album in found.items():
        for name, _ in album.files:
            holders[name].add(label)
    names = sorted(holders, key=lambda name: (-len(holders[name]), name))
    left_out, used, frames = max(0, len(names) - most_frames), 0, []
    for place, name in enumerate(names[:most_frames]):
        paths = {
            (label, kind): album.files[name, kind]
            for label, album in found.items()
            for kind in KINDS
            if (name, kind) in album.files
        }
        size = sum(path.stat().st_size for path in paths.values())
        if used + size > most_bytes:
            left_out += len(names[:most_frames]) - place
            break
        used += size
        uris = {key: uri for key, path in paths.items() if (uri := data_uri(path))}
        shared = {kind: uri for kind in SHARED for (_, k), uri in reversed(uris.items()) if k == kind}
        arms = {label: {k: uris[label, k] for k in OWN if (label, k) in uris} for label in found}
        said = next((album.listed[name] for album in found.values() if name in album.listed), {})
        errors = {label: _error(data, label, album, name) for label, album in found.items()}
        errors = {label: error for label, error in errors.items() if error is not None}
        frames.append(Frame(name, shared, {k: row for k, row in arms.items() if row}, said.get("longest"), errors))
    note = f"{left_out} of {len(names)} frames are not shown; they are under the runs' pictures/" if left_out else ""
    return tuple(frame for frame in frames if frame.shared or frame.arms), note


def legends(data: StudyData) -> tuple[dict[str, str], tuple[float, ...]]:
    """The legends as data URIs by the names of `LEGENDS`, as far as there are, and the ticks of the error scale."""
    for album in albums(data).values():
        uris = {name: uri for name, path in album.legends.items() if (uri := data_uri(path))}
        if uris:
            return uris, album.ticks
    return {}, ()


def data_uri(path: pathlib.Path) -> str:
    """A PNG file as a data URI; empty for any other file."""
    content = path.read_bytes()
    if not content.startswith(_SIGNATURE):
        return ""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _album(directory: pathlib.Path, seed: int) -> Album:
    files, shown = {}, {}
    for path in sorted(directory.glob("*.png")):
        frame, _, kind = path.stem.rpartition("_")
        if path.stem in LEGENDS:
            shown[path.stem] = path
        elif frame and kind in KINDS:
            files[frame, kind] = path
    listed, ticks = _said(directory / "frames.json")
    return Album(seed, files, listed, shown, ticks)


def _said(path: pathlib.Path) -> tuple[dict[str, dict[str, Any]], tuple[float, ...]]:
    """What a run wrote about its pictures, as far as it can be read: without it they can still be looked at."""
    try:
        plain = read_json(path)
    except RecordError:
        return {}, ()
    plain = plain if isinstance(plain, dict) else {}
    frames, ticks = plain.get("frames"), plain.get("error_ticks")
    listed = {}
    for entry in frames if isinstance(frames, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("frame"), str):
            kinds = {"index": int, "longest": (int, float)}
            listed[entry["frame"]] = {k: entry[k] for k, kind in kinds.items() if isinstance(entry.get(k), kind)}
    numbers = isinstance(ticks, list) and all(isinstance(tick, (int, float)) for tick in ticks)
    return listed, tuple(ticks) if numbers else ()


def _error(data: StudyData, label: str, album: Album, name: str) -> float | None:
    row = data.records[label, album.seed].frames.get(data.plan.metric, ())
    index = album.listed.get(name, {}).get("index", -1)
    return row[index] if 0 <= index < len(row) else None
