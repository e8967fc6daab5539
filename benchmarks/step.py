"""Times training steps and inference against PyTorch: `python -m benchmarks.step [--sizes 64x64,...] [--json FILE]`.

The peer (`benchmarks.peer`) is the same network and losses in PyTorch. Before anything is timed both sides start from
the same parameters and are held against what the peer computes in double precision, in units of the largest value: the
loss, the flow of inference and all gradients must agree to 1e-4, or where PyTorch itself is further away in single
precision, to five times that. (Biases of the coarsest features are: of their gradients the normalization leaves a small
difference of large sums.) Then the two processes take turns, so that what else the machine does hits both alike; the
ratio is the median of the ratios of the turns. Inference is timed against ONNX Runtime and OpenVINO too (`--peers`),
which run the graph that `experiments.export` writes. Needs the extra `bench`: pip install -e '.[bench]'.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import roofline
from benchmarks.cases import CASES, MODES, Case
from experiments.cli.flags import Parser
from experiments.records import json_files
from uflow.backend import environment

AGREEMENT = 1e-4  # of the largest value: how far from double precision
FACTOR = 5.0  # or this much further than PyTorch in single precision
KINDS = ("loss", "flow")  # everything else is a gradient
RUNTIMES = ("onnxruntime", "openvino")  # peers of inference only, by the names of their packages
PEERS = ("eager", "compile", *RUNTIMES)


class SideError(RuntimeError):
    """A side that cannot be timed."""


class Side:
    """A process that runs one side and answers commands."""

    def __init__(self, side: str, case: Case, mode: str, directory: pathlib.Path, threads: int):
        self.name = side
        self.log = directory / f"{side}.log"
        command = [sys.executable, "-m", "benchmarks.side", side, case.name, mode, str(directory), str(threads)]
        variables = dict(os.environ) | environment() | {"OMP_NUM_THREADS": str(threads)}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def ask(self, **command: Any) -> Any:
        """The answer to a command."""
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line.startswith(("[", "{")) or line[:1].isdigit():  # libraries print there too
                    return json.loads(line)
        except BrokenPipeError:
            pass
        last = (self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise SideError(f"{self.name} ended with exit code {self.process.wait()}: {last}")

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table.

    Attributes:
        size: of the images.
        mode: `step`, `selfsup` or `inference`.
        peer: one of `PEERS`.
        ms: median of this project, ms.
        peer_ms: median of the peer, ms.
        ratio: median over the turns of the ratio of their medians, this project over the peer.
        low: the smallest of these ratios.
        high: the largest.
        apart: largest difference of loss, gradients or flow from the peer's in double precision, in units of the
            largest value of its kind.
        peer_apart: the same of the peer as it is timed.
        memory: largest resident size of this project's process, bytes.
        peer_memory: of the peer's.
        first: seconds from the start to the end of the first step, of which most is compilation.
        peer_first: of the peer's.
        roofline_ms: what arithmetic takes at the speed of a matrix product, or traffic at that of a copy, whichever is
            longer, ms; `None` for inference.
        of_peak: share of the CPU's peak at which this project does the convolutions and cost volumes, if its whole time
            went into them; `None` if the peak is not known.
        peer_of_peak: the same of the peer.
    """

    size: str
    mode: str
    peer: str
    ms: float
    peer_ms: float
    ratio: float
    low: float
    high: float
    apart: float
    peer_apart: float
    memory: int
    peer_memory: int
    first: float
    peer_first: float
    roofline_ms: float | None
    of_peak: float | None = None
    peer_of_peak: float | None = None


def distances(directory: pathlib.Path, side: str) -> dict[str, float]:
    """How far a side is from `exact`: `loss` in units of itself, `gradients` or `flow` in units of their largest value.

    Raises:
        SideError: if they have computed different things.
    """
    ours, theirs = np.load(directory / f"{side}.npz"), np.load(directory / "exact.npz")
    # a parameter that nothing depends on has no gradient there and a zero here
    if odd := [n for n in set(ours.files) ^ set(theirs.files) if n not in ours.files or np.abs(ours[n]).max() > 0]:
        raise SideError(f"one side only has {', '.join(sorted(odd)[:3])}")
    kinds: dict[str, list[str]] = {}
    for name in set(ours.files) & set(theirs.files):
        kinds.setdefault(name if name in KINDS else "gradients", []).append(name)
    return {
        # numpy's maximum keeps NaN, Python's may lose it
        kind: float(np.max([np.abs(ours[n] - theirs[n]).max() for n in names]))
        / float(np.max([np.abs(theirs[n]).max() for n in names]))
        for kind, names in kinds.items()
    }


def checked(directory: pathlib.Path, peer: str) -> tuple[float, float]:
    """How far this project and the peer are from `exact`, at worst of loss, gradients and flow.

    Raises:
        SideError: if this project is further away than it may be.
    """
    ours, theirs = distances(directory, "uflow"), distances(directory, peer)
    wrong = [
        f"{kind} by {value:.2g}, the peer by {theirs[kind]:.2g}"
        for kind, value in ours.items()
        if not value <= max(AGREEMENT, FACTOR * theirs[kind])
    ]
    if wrong:
        raise SideError(f"this project differs from double precision in {'; '.join(wrong)}")
    return max(ours.values()), max(theirs.values())


def compare(case: Case, mode: str, peer: str, threads: int, turns: int, machine: roofline.Machine) -> Row:
    """Times one size and mode against one peer.

    Raises:
        SideError: if a side fails, or they do not compute the same.
    """
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        sides = []
        try:
            sides.append(ours := Side("uflow", case, mode, directory, threads))
            first = ours.ask(do="prepare")
            sides.append(theirs := Side(peer, case, mode, directory, threads))
            peer_first = theirs.ask(do="prepare")
            exact = Side("exact", case, mode, directory, threads)
            exact.ask(do="prepare")
            exact.close()
            apart, peer_apart = checked(directory, peer)
            times: list[tuple[list[float], list[float]]] = []
            each = max(1, round(500 / max(1.0, ours.ask(do="time", times=2)[-1])))
            theirs.ask(do="time", times=2)
            for _ in range(turns):
                times.append((ours.ask(do="time", times=each), theirs.ask(do="time", times=each)))
            memory, peer_memory = ours.ask(do="memory"), theirs.ask(do="memory")
        finally:
            for side in sides:
                side.close()
    ratios = [statistics.median(a) / statistics.median(b) for a, b in times]
    ms, peer_ms = (statistics.median(t for turn in times for t in turn[side]) for side in (0, 1))
    ideal = 1e3 * roofline.flops_of(case, mode) / machine.peak if machine.peak else None
    return Row(
        size=case.name,
        mode=mode,
        peer=peer,
        ms=ms,
        peer_ms=peer_ms,
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        apart=apart,
        peer_apart=peer_apart,
        memory=memory,
        peer_memory=peer_memory,
        first=first,
        peer_first=peer_first,
        roofline_ms=None if mode == "inference" else roofline.bound_ms(case, mode == "selfsup", machine),
        of_peak=ideal and ideal / ms,
        peer_of_peak=ideal and ideal / peer_ms,
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| size | what | peer | here, ms | peer, ms | ratio [range] | memory, GB | peer, GB | first call, s | peer, s |"
        " roofline, ms | of FMA peak | peer | from exact | peer |",
        "|---|---|---|" + "--:|" * 12,
    ]
    for row in rows:
        bound = "-" if row.roofline_ms is None else f"{row.roofline_ms:.1f}"
        own, other = ("-" if share is None else f"{share:.0%}" for share in (row.of_peak, row.peer_of_peak))
        lines.append(
            f"| {row.size} | {row.mode} | {row.peer} | {row.ms:.1f} | {row.peer_ms:.1f} | {row.ratio:.2f}"
            f" [{row.low:.2f}, {row.high:.2f}] | {row.memory / 1e9:.2f} | {row.peer_memory / 1e9:.2f} |"
            f" {row.first:.0f} | {row.peer_first:.0f} | {bound} | {own} | {other} |"
            f" {row.apart:.0e} | {row.peer_apart:.0e} |"
        )
    return "\n".join(lines)


def processor() -> str:
    """The name of this machine's CPU."""
    return next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )


def about(threads: int, machine: roofline.Machine) -> dict[str, Any]:
    """Where the numbers come from."""
    names = ("mindspore", "torch", "numpy", *(name for name in RUNTIMES if importlib.util.find_spec(name)))
    versions = {name: importlib.metadata.version(name) for name in names}
    return {
        "cpu": processor(),
        "threads": threads,
        "python": platform.python_version(),
        **versions,
        "product GFLOP/s": round(machine.flops / 1e9, 1),
        "copy GB/s": round(machine.bandwidth / 1e9, 1),
        "FMA peak GFLOP/s": machine.peak and round(machine.peak / 1e9, 1),
    }


def _chosen(text: str, known: Sequence[str], flag: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if word not in known]:
        raise ValueError(f"{flag}: unknown {unknown[0]!r} (known: {', '.join(known)})")
    return words


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m benchmarks.step", description=__doc__.split("\n\n")[0])
    made.add_argument("--sizes", default=",".join(CASES), help="which sizes (%(default)s)")
    made.add_argument("--modes", default=",".join(MODES), help="which of step, selfsup, inference (%(default)s)")
    made.add_argument("--peers", default="eager", help=f"some of {', '.join(PEERS)} (%(default)s)")
    made.add_argument("--threads", type=int, default=1, help="CPU threads of each side (%(default)s)")
    made.add_argument("--turns", type=int, default=7, help="how often the sides take turns (%(default)s)")
    made.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the rows there too")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Times what is asked for and prints a table; 0, 2 for wrong usage, 3 if the sides do not agree."""
    given = parser().parse_args(argv)
    try:
        sizes = _chosen(given.sizes, tuple(CASES), "--sizes")
        modes = _chosen(given.modes, MODES, "--modes")
        peers = _chosen(given.peers, PEERS, "--peers")
        if given.threads < 1 or given.turns < 1:
            raise ValueError("--threads and --turns must be at least 1")
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        print("benchmarks.step: PyTorch is not installed; pip install -e '.[bench]'", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"benchmarks.step: {error}", file=sys.stderr)
        return 2
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    machine = roofline.measured(given.threads)
    source = about(given.threads, machine)
    print("  ".join(f"{key}: {value}" for key, value in source.items()), flush=True)
    for name in [peer for peer in peers if peer in RUNTIMES and importlib.util.find_spec(peer) is None]:
        print(f"{name}: not installed, left out; pip install -e '.[bench]'", flush=True)
        peers.remove(name)
    if left := [peer for peer in peers if peer in RUNTIMES and modes != ["inference"]]:
        print(f"{', '.join(left)}: of inference only, for they do not train", flush=True)
    rows = []
    for size in sizes:
        for mode in modes:
            for peer in [peer for peer in peers if mode == "inference" or peer not in RUNTIMES]:
                try:
                    rows.append(compare(CASES[size], mode, peer, given.threads, given.turns, machine))
                except SideError as error:
                    print(f"benchmarks.step: {size} {mode}: {error}", file=sys.stderr)
                    return 3
                print(markdown(rows[-1:]).splitlines()[-1], flush=True)
                if given.json:
                    plain = {"about": source, "rows": [dataclasses.asdict(row) for row in rows]}
                    json_files.write_json(given.json, plain)
    print("\n" + markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
