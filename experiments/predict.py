"""Computes the flow of frames or of a video, without ground truth, as files and as pictures.

    python -m experiments.predict a.png b.png --out DIR
    python -m experiments.predict frames/ --out DIR
    python -m experiments.predict frames/img_%05d.png --out DIR
    python -m experiments.predict video.mp4 --out DIR
    python -m experiments.predict --checkpoint CKPT video.mp4 --out DIR

Without --checkpoint it is a small network that comes with the project. It was trained on moving parts of photographs.
DIR then holds, for every pair of neighbors, named like its first frame:

    flow/NAME.flo       the flow, px, at the size of the frames
    color/NAME.png      its picture: the hue says where to, the saturation how far; legend.png says how much
    visible/NAME.png    white where the pixel is seen in the second frame, black where it is hidden
    confidence/NAME.png with --confidence: white where forward and backward flow cancel, gray (0.37) for a gap of 1 px
    panels/NAME.png     frame, flow and visibility side by side, with the legend
    panels.mp4          these as a video, if there are three frames or more
    prediction.json     what was computed from what; written last

A folder of folders of images is several sequences: names of pairs then begin with the folder, as in
flow/SEQUENCE/NAME.flo and panels/SEQUENCE.mp4. Images and videos are turned upright as viewers do, and what is computed
belongs to that frame.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from experiments.cli import flags, terminal
from experiments.data.files.flow import read_flo, write_flo
from experiments.data.files.folders import SUFFIXES
from experiments.data.files.image import read_image
from experiments.data.pairs import DataError, PairSet
from experiments.data.readers.frames import LEGEND, PREDICTION, frames, neighbors
from experiments.data.readers.video import Video, opened
from experiments.evaluation.estimation import Estimator
from experiments.evaluation.predictor import Predictor, add_arguments, interruptible
from experiments.records import json_files
from experiments.records.atomic import check_writable
from experiments.visualization.flow_colors import colors
from experiments.visualization.panels import legend, panels, visibility_picture
from experiments.visualization.video_writer import VideoFile

PROGRAM = "experiments.predict"
FPS = 24.0
COLOR_SCALE_PERCENTILE = 99.0  # of the motion of a frame; with the maximum a few wrong pixels would pale all others


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog=f"python -m {PROGRAM}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "input", nargs="+", type=pathlib.Path, metavar="INPUT",
        help="two or more images, a pattern of their names, a folder, or a video",
    )  # fmt: skip
    add_arguments(made)
    made.shared("out", required=True)
    made.add_argument(
        "--longest", type=float, metavar="PX",
        help="motion of full color in all pictures;"
        f" default: what {COLOR_SCALE_PERCENTILE:g} %% of every frame stays below",
    )  # fmt: skip
    made.add_argument("--fps", type=float, help=f"frames per second of panels.mp4; default: the video's, or {FPS:g}")
    return made


def open_input(paths: Sequence[pathlib.Path]) -> tuple[PairSet, float]:
    """The pairs of neighbors in what was given, and how many frames a second they have.

    Raises:
        DataError: if it is neither images nor a folder nor a video, or cannot be read.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return frames(paths[0], "test"), FPS
    if len(paths) == 1 and paths[0].suffix.lower() not in SUFFIXES:
        rate = opened(paths[0]).get(cv2.CAP_PROP_FPS) if paths[0].is_file() else 0.0
        return Video(paths[0]), rate if 0 < rate < 1000 else FPS
    if len(paths) == 1 and "%" in paths[0].name and not paths[0].exists():
        return frames(paths[0], "test"), FPS
    if len(paths) == 1:
        raise DataError(f"{paths[0]}: is one image, a pair needs two")
    if odd := next((path for path in paths if path.suffix.lower() not in SUFFIXES), None):
        raise DataError(f"{odd}: several inputs must be images ({', '.join(SUFFIXES)})")
    return neighbors(paths), FPS


@dataclasses.dataclass(frozen=True)
class Output:
    """The places of all files of a prediction."""

    directory: pathlib.Path

    def file(self, kind: str, name: str) -> pathlib.Path:
        """Of one pair; `kind` is flow, color, visible, confidence or panels."""
        return self.directory / kind / (name + (".flo" if kind == "flow" else ".png"))

    def video(self, sequence: str) -> pathlib.Path:
        """Of the panels of a sequence; '' is the only one of its input."""
        return self.directory / (f"panels/{sequence}.mp4" if sequence else "panels.mp4")

    def new(self, kind: str, name: str) -> pathlib.Path:
        """Like `file`, in a folder that is made if it is not there."""
        path = self.file(kind, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def compute(
    predictor: Predictor, estimator: Estimator, pairs: PairSet, output: Output
) -> tuple[list[str], float, bool]:
    """Writes flow and visibility of every pair; one pair at a time is in memory.

    Returns:
        The names of the pairs; the motion, px, that all but few pixels of every pair stay below; whether there is
        visibility.

    Raises:
        DataError: if a frame cannot be read, or is too small.
    """
    source = (predictor.check(pairs[index]) for index in range(len(pairs)))
    names, longest, told = [], 0.0, time.monotonic()
    for estimate in estimator.estimates(source, always=True):
        name = estimate.pair.name
        if not np.isfinite(estimate.flow).all():
            print(f"{name}: the flow has values that are not finite; they are black in the pictures", file=sys.stderr)
        write_flo(output.new("flow", name), estimate.flow)
        if estimate.visible is not None:
            write_png(output.new("visible", name), visibility_picture(estimate.visible))
        if estimate.confidence is not None:
            write_png(output.new("confidence", name), visibility_picture(estimate.confidence))
        lengths = np.hypot(*estimate.flow)
        if lengths.size:
            longest = max(longest, float(np.percentile(lengths[np.isfinite(lengths)], COLOR_SCALE_PERCENTILE)))
        names.append(name)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{len(names)} of {len(pairs)} pairs", file=sys.stderr, flush=True)
    return names, longest, estimator.hidden is not None


def draw(pairs: PairSet, output: Output, names: Sequence[str], longest: float, hidden: bool) -> Iterator[np.ndarray]:
    """Draws the pictures of every pair from the files, with one scale for all, and yields its panels."""
    for index, name in enumerate(names):
        flow = read_flo(output.file("flow", name))
        write_png(output.new("color", name), colors(flow, longest))
        visible = None
        if hidden:
            visible = read_image(output.file("visible", name))[..., 0] / np.float32(255)
        picture = panels(pairs[index].first, flow, visible, longest)
        write_png(output.new("panels", name), picture)
        yield picture


def write_png(path: pathlib.Path, picture: np.ndarray) -> None:
    """Writes uint8 (H, W) or (H, W, 3), RGB, as a PNG that is there whole or not at all."""
    picture = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise OSError(f"{path}: the picture cannot be encoded")
    json_files.atomic_write(path, encoded.tobytes())


def predict(
    arguments: argparse.Namespace, predictor: Predictor, estimator: Estimator, pairs: PairSet, rate: float
) -> None:
    """Computes and draws everything; says where it is."""
    output = Output(arguments.out)
    began = time.monotonic()
    names, usual, hidden = compute(predictor, estimator, pairs, output)
    spent = time.monotonic() - began
    longest = arguments.longest or usual or 1.0
    pictures = zip(names, draw(pairs, output, names, longest, hidden), strict=True)
    for sequence, drawn in itertools.groupby(pictures, key=lambda named: named[0].rpartition("/")[0]):
        begun = list(itertools.islice(drawn, 2))
        if len(begun) > 1:
            with VideoFile(output.video(sequence), arguments.fps or rate) as video:
                for _, picture in itertools.chain(begun, drawn):
                    video.add(picture)
    write_png(arguments.out / LEGEND, legend(longest))
    about = {"pairs": len(names), "longest_px": longest, "note": pairs.note, "input": [p.name for p in arguments.input]}
    json_files.write_json(arguments.out / PREDICTION, {"format": 1, **predictor.describe(), **about})
    if pairs.note:
        print(pairs.note)
    print(f"{len(names)} pairs in {spent:.1f} s with compiling; full color is {longest:.3g} px")
    print("\n".join(str(path) for path in sorted(arguments.out.iterdir())))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 0 done, 2 wrong usage or unreadable input, 130 stopped."""
    arguments = parser().parse_args(argv)
    try:
        for option in ("longest", "fps"):
            value = getattr(arguments, option)
            if value is not None and not 0 < value < 1e6:
                raise ValueError(f"--{option} must be above 0, got {value:g}")
        if (arguments.out / PREDICTION).exists():
            raise ValueError(f"--out {arguments.out}: holds a prediction already, give another directory")
        predictor = Predictor.from_arguments(arguments)
        pairs, rate = open_input(arguments.input)
        pairs.verify()
        from experiments.training import device

        with interruptible(), tempfile.TemporaryDirectory(prefix="uflow-") as scratch:
            device.prepare(arguments.device, arguments.device_id, scratch)
            estimator = predictor.load()
            check_writable(arguments.out)
            predict(arguments, predictor, estimator, pairs, rate)
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped; the files in {arguments.out} are whole, but not all there", file=sys.stderr)
        return 130
    except (ValueError, DataError, json_files.RecordError, OSError) as error:
        print(f"{PROGRAM}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
