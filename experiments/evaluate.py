"""Measures a network, or what needs none, on data sets with ground truth, or computes what their benchmarks want.

    python -m experiments.evaluate --eval sintel_clean:MPI-Sintel --checkpoint results/runs/NAME --out evaluation
    python -m experiments.evaluate --eval sintel_clean:MPI-Sintel
    python -m experiments.evaluate --eval sintel_clean:MPI-Sintel --method dis

Errors are measured at the full size of the ground truth. With --out, evaluation.json holds every number with its
protocol and what it was computed from, per_frame.csv the values of every frame. With --confidence there is the area
between sparsification curves (AUSE), and with --out the curves. --submission DIR writes flow files and
archives for Sintel, KITTI and Spring instead. --method measures in the same way what needs no training: zero is no
motion, constant the mean true motion of each frame (an oracle), farneback and dis are OpenCV's.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np

from experiments.cli import flags, terminal
from experiments.data.catalog import check_once, names, open_source, parse
from experiments.data.pairs import SPLITS, DataError, PairSet, check_known
from experiments.evaluation import report_files
from experiments.evaluation.estimation import Estimator
from experiments.evaluation.evaluator import Measured, NotFinite, measure, readable
from experiments.evaluation.predictor import Predictor, add_arguments, interruptible
from experiments.evaluation.protocols import PROTOCOLS, protocol_of
from experiments.evaluation.regions import brought
from experiments.evaluation.submission import CheckFailed, Task, open_task, submit
from experiments.evaluation.yardsticks import METHODS, Yardstick
from experiments.records import json_files
from experiments.records.atomic import check_writable
from experiments.spec_options import PROTOCOL, protocol_at
from uflow import extensions, registry

PROGRAM = "experiments.evaluate"


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog=f"python -m {PROGRAM}",
        description=__doc__,
        epilog="protocols:\n" + "\n".join(f"  {p.name}: {p.about}" for p in PROTOCOLS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.shared(
        "eval",
        help="data, NAME:PATH[;NAME:PATH]; default: what the run of the checkpoint is evaluated on (names:"
        f" {', '.join(names())})",
    )
    made.add_argument("--method", choices=METHODS, help="measure this in place of a network")
    size = "the size at which the run of the checkpoint is evaluated, or that of the frames"
    add_arguments(made, size)
    made.shared("out", help="keep the numbers there; default: only print them")
    made.add_argument("--protocol", default=PROTOCOL, metavar="NAME/VERSION", help="what is counted (%(default)s)")
    made.add_argument("--split", choices=SPLITS, default="test", help="part of the data (%(default)s)")
    made.add_argument("--max-pairs", type=int, metavar="N", help="only the first N pairs of each set")
    made.shared("skip-bad")
    made.add_argument(
        "--submission", type=pathlib.Path, metavar="DIR",
        help="write what the benchmarks of Sintel, KITTI and Spring want into a new directory, and measure nothing",
    )  # fmt: skip
    return made


def asked_data(arguments: argparse.Namespace, predictor: Predictor | Yardstick) -> tuple[tuple[str, str], ...]:
    """Name and path of every data set; raises `ValueError` if none is given or one twice."""
    if arguments.eval is None and predictor.own_data is None:
        asked = f"--method {arguments.method}" if arguments.method else "the checkpoint"
        raise ValueError(f"--eval NAME:PATH is needed: {asked} does not tell what it is evaluated on")
    check_once(arguments.eval or "")
    parts = parse(arguments.eval or predictor.own_data)
    asked = tuple((part.name, part.path) for part in parts)
    twice = {name for name, _ in asked if [n for n, _ in asked].count(name) > 1}
    if twice:
        raise ValueError(f"--eval: {twice.pop()} is given twice, evaluate one after the other")
    return asked


def open_sets(
    asked: Sequence[tuple[str, str]], arguments: argparse.Namespace, predictor: Predictor | Yardstick
) -> list[PairSet]:
    """The data sets to measure on, their headers checked unless faults are tolerated.

    Raises:
        DataError: if one is missing or damaged, has no ground truth, or none that is known in any pixel.
        ValueError: if the protocol is not made for it.
    """
    found = []
    allowed = protocol_of(arguments.protocol)[0].data
    data = predictor.spec.data
    height, width = data.scene_size
    for name, path in asked:
        if allowed and name not in allowed:
            raise ValueError(f"protocol {arguments.protocol} is not made for {name} (for: {', '.join(allowed)})")
        text = f"{name}:{path}" if path else name
        pairs = open_source(text, arguments.split, height=height, width=width, scenes=data.scenes)
        if "flow" not in pairs.provides:
            raise DataError(f"{text}: has no ground truth flow to evaluate on ({arguments.split} split)")
        if not arguments.skip_bad:
            pairs.verify()
        total = len(pairs) if arguments.max_pairs is None else min(arguments.max_pairs, len(pairs))
        check_known(pairs.name, readable(pairs, total, arguments.skip_bad, []))
        found.append(pairs)
    return found


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises `ValueError` for options that cannot be followed; looks at the disk, changes nothing."""
    protocol_of(arguments.protocol)
    if arguments.method:
        names = ("checkpoint", "submission", "height", "width", "occlusion", "confidence")
        if given := [f"--{name}" for name in names if getattr(arguments, name) not in (None, False)]:
            raise ValueError(f"--method {arguments.method} is no network: leave it out, or {' and '.join(given)}")
    if arguments.max_pairs is not None and arguments.max_pairs < 1:
        raise ValueError(f"--max-pairs must be at least 1, got {arguments.max_pairs}")
    if arguments.skip_bad < 0:
        raise ValueError(f"--skip-bad must be at least 0, got {arguments.skip_bad}")
    if arguments.out and arguments.submission:
        raise ValueError("--out keeps numbers, --submission makes flow files: give one of them")
    if arguments.submission and arguments.confidence:
        raise ValueError("--submission measures nothing, and benchmarks take no confidence: leave out --confidence")
    if arguments.out and (arguments.out / report_files.RESULT).exists():
        raise ValueError(f"--out {arguments.out}: holds an evaluation already, give another directory")
    if arguments.submission:
        place = arguments.submission.absolute()
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ValueError(f"--submission {arguments.submission}: must be a new or an empty directory")


class EvaluationProgress:
    """Tells on stderr how far a data set is, every ten seconds."""

    def __init__(self, name: str):
        self.name, self.told = name, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Called after every pair."""
        if time.monotonic() - self.told > 10:
            self.told = time.monotonic()
            print(f"{self.name}: {done} of {total} pairs", file=sys.stderr, flush=True)


def evaluate(
    arguments: argparse.Namespace,
    predictor: Predictor | Yardstick,
    estimator: Estimator | Yardstick,
    sets: Sequence[PairSet],
) -> list[Measured]:
    """Measures all sets, prints and keeps the numbers."""
    protocol, extension = protocol_of(arguments.protocol)
    more = tuple(sorted(brought()))
    protocol = dataclasses.replace(protocol, name=protocol_at(protocol.name, predictor.size), more=more)
    occlusion = registry.entry_of(predictor.occlusion).name if predictor.occlusion else None
    found = []
    print(f"{predictor.title}\nprotocol {protocol.name}: {protocol.about}")
    for pairs in sets:
        found.append(
            measure(
                estimator,
                pairs,
                protocol,
                check=predictor.check,
                count=arguments.max_pairs,
                allowed=arguments.skip_bad,
                progress=EvaluationProgress(pairs.name),
            )
        )
        note = f"\n{pairs.note}" if pairs.note else ""
        print(f"\n{pairs.name}, {arguments.split} split{note}\n{report_files.table(found[-1], occlusion)}", flush=True)
    if arguments.out:
        about = [
            {"split": arguments.split, "digest": p.digest, "pairs": len(p), "measured": len(m.pairs), "note": p.note}
            for p, m in zip(sets, found, strict=True)
        ]
        described = {"protocol_extension": extension.digest} if extension else {}
        described |= predictor.describe()
        report_files.write(arguments.out, protocol, described, list(zip(found, about, strict=True)))
        print(f"\n{arguments.out / report_files.RESULT}\n{arguments.out / report_files.FRAMES}")
    return found


def make_submission(
    arguments: argparse.Namespace, predictor: Predictor, estimator: Estimator, tasks: Sequence[Task]
) -> None:
    """Computes the flow of all tasks, writes and checks the files."""

    def flows(task: Task):
        total = len(task.pairs) if arguments.max_pairs is None else min(arguments.max_pairs, len(task.pairs))
        progress = EvaluationProgress(task.benchmark.data)
        source = (predictor.check(pair) for pair in readable(task.pairs, total, 0, []))
        for done, estimate in enumerate(estimator.estimates(source), 1):
            progress(done, total)
            if not np.isfinite(estimate.flow).all():
                raise NotFinite(f"the flow of pair {estimate.pair.name} of {task.benchmark.data} is not finite")
            yield estimate.pair.name, estimate.flow

    began = time.monotonic()
    out = arguments.submission.absolute()
    written, lacking = submit(tasks, {t.benchmark.data: flows(t) for t in tasks}, out, predictor.describe())
    for name, count in written.items():
        print(f"{name}: {count} files, read back and checked")
    print(f"{time.monotonic() - began:.0f} s; {arguments.submission}: " + ", ".join(sorted(os.listdir(out))))
    for sentence in lacking:
        print(f"not yet a submission: {sentence}")


@contextlib.contextmanager
def kept_if_done(out: pathlib.Path | None) -> Iterator[None]:
    """Makes a directory, and removes it again if it was not there and the block fails and leaves it empty."""
    fresh = out is not None and not out.exists()
    if out is not None:
        check_writable(out)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if fresh:
                out.rmdir()
        raise


def _asked(arguments: argparse.Namespace) -> Predictor | Yardstick:
    """What is to be measured, a network at the size at which its run was evaluated if none is given."""
    if arguments.method:
        return METHODS[arguments.method]
    predictor = Predictor.from_arguments(arguments)
    return dataclasses.replace(predictor, size=predictor.size or predictor.spec.evaluation.size)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 0 done, 2 wrong usage or data, 3 flow not finite or a file reads back wrong, 130 stopped."""
    arguments = parser().parse_args(argv)
    try:
        extensions.load(arguments.extensions)
        check_arguments(arguments)
        predictor = _asked(arguments)
        asked = asked_data(arguments, predictor)
        if arguments.submission:
            opened = [open_task(name, path) for name, path in asked]
            for task in opened:
                task.pairs.verify()
        else:
            opened = open_sets(asked, arguments, predictor)
        from experiments.training import device

        with interruptible(), tempfile.TemporaryDirectory(prefix="uflow-") as scratch:
            if not arguments.method:
                device.prepare(arguments.device, arguments.device_id, scratch)
            estimator = predictor.load()
            with kept_if_done(arguments.out):
                (make_submission if arguments.submission else evaluate)(arguments, predictor, estimator, opened)
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted, nothing was kept", file=sys.stderr)
        return 130
    except (NotFinite, CheckFailed) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 3
    except (ValueError, DataError, json_files.RecordError, OSError) as error:
        print(f"{PROGRAM}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
