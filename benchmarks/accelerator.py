"""What a GPU or Ascend card does with this project: `python -m benchmarks.accelerator --device auto --out FILE`.

One call of at most five minutes, for whoever has a card: versions; every component and the network against the CPU;
milliseconds of a step at the paper's size; float16 against float32; a smoke study; one of its runs forked; two workers
on one card. FILE is one JSON to send in. It is written anew after every part, each of which is done in a process of its
own within its time and what the parts before it have left of theirs: one that fails, hangs or is taken along by its
driver is recorded with its message, and the others go on.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.accelerator_parts import PARTS, SIZES
from experiments.cli.flags import Parser
from experiments.records import json_files
from experiments.records.atomic import check_writable
from experiments.training.device import available
from studies.workers.stopping import kill_with_children

FORMAT = 1  # of the file
SECONDS = 300.0  # in all
# of a hundred parts of the time; what a part leaves of its own is for those after it
SHARES: Mapping[str, float] = {
    "versions": 6,
    "parity": 25,
    "step": 22,
    "float16": 15,
    "study": 14,
    "forked": 10,
    "two_workers": 8,
}
LINES = 30  # of the log of a part that failed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a part ended.

    Attributes:
        passed: whether all held that it was to show.
        seconds: that it took.
        budget: seconds that it was given.
        message: why it did not pass, or nothing.
        found: what it has found, even if it failed later.
        log: last lines of what it printed, if it failed.
    """

    passed: bool
    seconds: float
    budget: float
    message: str = ""
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    log: Sequence[str] = ()


def command_of(name: str, target: str, sizes: str, directory: pathlib.Path) -> list[str]:
    """What does a part."""
    return [sys.executable, "-m", "benchmarks.accelerator_parts", name, target, sizes, str(directory)]


def done(command: Sequence[str], directory: pathlib.Path, budget: float) -> Outcome:
    """Does a part in a process of its own, which is ended with all that it has started when its time is over.

    Args:
        command: does the part.
        directory: where it leaves `found.json`.
        budget: seconds that it may take.
    """
    log = directory.with_suffix(".log")
    began, message = time.monotonic(), ""
    with open(log, "wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            process.wait(timeout=budget)
        except subprocess.TimeoutExpired:
            message = f"it took more than {budget:g} s"
        finally:
            if process.poll() is None:
                kill_with_children(process.pid)
                process.wait()
    seconds = time.monotonic() - began
    file = directory / "found.json"
    found = json_files.read_json(file) if file.exists() else {}
    error, code = found.pop("error", ""), process.returncode
    lines = log.read_text(errors="replace").strip().splitlines()
    if code and not (message or error):
        message = f"ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}: {lines[-1] if lines else ''}"
    return Outcome(
        passed=code == 0,
        seconds=round(seconds, 1),
        budget=round(budget, 1),
        message=message or error,
        found=found,
        log=lines[-LINES:] if code else (),
    )


def report(target: str, sizes: str, began: str, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """The content of the file."""
    return {
        "format": FORMAT,
        "device": target,
        "sizes": sizes,
        "began": began,
        "passed": len(outcomes) == len(PARTS) and all(outcome.passed for outcome in outcomes.values()),
        "parts": {name: dataclasses.asdict(outcome) for name, outcome in outcomes.items()},
    }


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m benchmarks.accelerator", description=__doc__.partition("\n\n")[2])
    made.shared("device")
    made.add_argument("--out", type=pathlib.Path, metavar="FILE", required=True, help="the JSON that is written")
    made.add_argument(
        "--sizes", default="paper", choices=tuple(SIZES), help="tiny shows that it works, in a minute (%(default)s)"
    )
    made.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="S", help="that all may take; each part a share (%(default)g)"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Does all parts; 0 if all passed, 1 if one failed, 2 for wrong usage."""
    given = parser().parse_args(argv)
    target = available() if given.device == "auto" else given.device
    try:
        if target not in ("CPU", available()):
            raise ValueError(f"--device {target.lower()}: there is no such device here")
        if not 0 < given.seconds < float("inf"):
            raise ValueError(f"--seconds must be more than 0, got {given.seconds:g}")
        if given.out.is_dir():
            raise ValueError(f"--out {given.out}: is a folder; give the name of the file that is to be written")
        check_writable(given.out.absolute().parent)
    except (ValueError, OSError) as error:
        print(f"benchmarks.accelerator: {error}", file=sys.stderr)
        return 2
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    outcomes: dict[str, Outcome] = {}
    json_files.write_json(given.out, report(target, given.sizes, began, outcomes))
    with tempfile.TemporaryDirectory(prefix="uflow-accelerator-") as folder:
        end = time.monotonic()
        for name in PARTS:
            end += given.seconds * SHARES[name] / sum(SHARES.values())
            budget = max(1.0, end - time.monotonic())
            directory = pathlib.Path(folder, name)
            outcome = outcomes[name] = done(command_of(name, target, given.sizes, directory), directory, budget)
            json_files.write_json(given.out, report(target, given.sizes, began, outcomes))
            told = "ok" if outcome.passed else f"failed: {outcome.message}"
            print(f"{name}: {told} ({outcome.seconds:.0f} of {outcome.budget:.0f} s)", flush=True)
    passed = all(outcome.passed for outcome in outcomes.values())
    print(f"{given.out}: {'all parts passed' if passed else 'not all parts passed'}; please send it in")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
