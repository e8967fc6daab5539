"""The flow pictures of a study's runs, arranged to be compared frame by frame."""

from __future__ import annotations

import base64
import dataclasses
import pathlib
from collections.abc import Mapping

from analysis.load import StudyData

SHARED = ("first", "truth")  # the same for every arm
OWN = ("flow", "error", "visible")
KINDS = (*SHARED, *OWN)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Frame:
    """The pictures of one frame as data URIs.

    Attributes:
        name: of the frame.
        shared: the first image and the true flow, by kind.
        arms: what each arm made of it: pictures by kind, by label; an arm without pictures is not in it.
    """

    name: str
    shared: Mapping[str, str]
    arms: Mapping[str, Mapping[str, str]]


def collect(data: StudyData, most_frames: int = 6, most_bytes: int = 16_000_000) -> tuple[tuple[Frame, ...], str]:
    """Frames in the order of their names, and a sentence on what was left out (empty if nothing was).

    Reads `pictures/<frame>_<kind>.png` from the directory of the first seed of each arm that has any; the kinds are
    those of `KINDS`, other files are passed over. Files that are no PNG are passed over too.

    Args:
        data: the study.
        most_frames: how many frames are shown.
        most_bytes: how many bytes of PNG are taken in, so that the report stays a file that can be mailed.
    """
    found = {label: files for label in data.plan.labels if (files := _of_arm(data, label))}
    names = sorted({name for files in found.values() for name, _ in files})
    left_out, used, frames = max(0, len(names) - most_frames), 0, []
    for place, name in enumerate(names[:most_frames]):
        paths = {
            (label, kind): files[name, kind]
            for label, files in found.items()
            for kind in KINDS
            if (name, kind) in files
        }
        size = sum(path.stat().st_size for path in paths.values())
        if used + size > most_bytes:
            left_out += len(names[:most_frames]) - place
            break
        used += size
        uris = {key: uri for key, path in paths.items() if (uri := _data_uri(path))}
        shared = {kind: uri for kind in SHARED for (_, k), uri in reversed(uris.items()) if k == kind}
        arms = {label: {k: uris[label, k] for k in OWN if (label, k) in uris} for label in found}
        frames.append(Frame(name, shared, {label: row for label, row in arms.items() if row}))
    note = f"{left_out} of {len(names)} frames are not shown; they are under the runs' pictures/" if left_out else ""
    return tuple(frame for frame in frames if frame.shared or frame.arms), note


def _of_arm(data: StudyData, label: str) -> dict[tuple[str, str], pathlib.Path]:
    for seed in data.plan.arm(label).runs:
        if (label, seed) not in data.records:
            continue
        directory = data.run_directory(label, seed) / "pictures"
        files = {}
        for path in sorted(directory.glob("*.png")):
            frame, _, kind = path.stem.rpartition("_")
            if frame and kind in KINDS:
                files[frame, kind] = path
        if files:
            return files
    return {}


def _data_uri(path: pathlib.Path) -> str:
    content = path.read_bytes()
    if not content.startswith(_SIGNATURE):
        return ""
    return "data:image/png;base64," + base64.b64encode(content).decode()
