"""What reports need of all studies of a directory, in a few small files: `python -m analysis.compact OUT --to DIR`.

DIR can be read like OUT, by `analysis.report`, `analysis.ledger` and `--report-only`, and gives the same tables; see
`experiments.records.runs` for what is kept of a run.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from experiments.cli.flags import Parser
from experiments.cli.terminal import ended
from experiments.records import layout
from experiments.records.json_files import RecordError, atomic_write
from experiments.records.plan import StudyError, read_plan, studies_in
from experiments.records.runs import keep, runs_of

WHOLE = (layout.SEARCH, layout.YARDSTICKS, layout.PLAN)  # kept as they are, the plan last: it makes a study of a folder


def compact(study: pathlib.Path, target: pathlib.Path) -> int:
    """Keeps the results of a study's runs in a folder, without the runs; returns how many bytes that takes.

    0, and nothing is written, if none of its runs has ended.

    Raises:
        StudyError: if there is no such study.
        RecordError: if a result cannot be read.
    """
    plan = read_plan(study)
    runs = runs_of(study)
    names = [plan.arm(label).runs[seed] for label, seed in plan.pairs]
    if not any(map(runs.finished, names)):
        return 0
    target.mkdir(parents=True, exist_ok=True)
    keep(names, runs, target / layout.KEPT_RUNS)
    for name in WHOLE:
        if (study / name).exists():
            atomic_write(target / name, (study / name).read_bytes())
    return sum((target / name).stat().st_size for name in (layout.KEPT_RUNS, *WHOLE) if (target / name).exists())


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m analysis.compact",
        description="Keeps the results of all runs of all studies of a directory in a few small files, from which every"
        " table can be made anew: of each run its spec, the values of metrics over all frames and in every frame, the"
        " validation values of its learning curve, what it cost and with which version. Training curves, pictures, logs"
        " and checkpoints are left behind.",
    )
    made.add_argument("out", type=pathlib.Path, help="directory of all results, the --out of studies.run")
    made.add_argument("--to", type=pathlib.Path, required=True, metavar="DIR", help="where to keep them")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Keeps the results and says what they take; 0, or 2 with one sentence if there is nothing to keep."""
    chosen = parser().parse_args(arguments)
    try:
        if chosen.to.resolve() == chosen.out.resolve():
            raise StudyError(f"--to {chosen.to}: is the directory of the runs itself; give another one")
        sizes = {study: compact(study, chosen.to / study.name) for study in studies_in(chosen.out)}
        if not any(sizes.values()):
            raise StudyError(f"{chosen.out}: no run of its studies has ended, so there is nothing to keep")
    except (StudyError, RecordError, OSError) as error:
        print(f"analysis.compact: {error}", file=sys.stderr)
        return 2
    for study, size in sizes.items():
        told = f"{size / 1000:.0f} kB in {chosen.to / study.name}" if size else "none of its runs has ended"
        print(f"{study.name}: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
