"""The command: `python -m studies.sync OUT` brings MLflow up to what the files of the studies in OUT say."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from analysis import search
from experiments import flags, layout, locks, records, terminal
from experiments.addresses import describe, sqlite_address, without_secrets
from experiments.tracked import Tracked, earlier, tracked
from experiments.tracking import Mirror
from studies import mirror_file, retry
from studies.mirroring import open_mirror
from studies.plan_file import rows

DONE, USAGE, MISSING = 0, 2, 3
DESCRIPTION = "description.md"  # in the folder of the report: what MLflow shows of the study


@dataclasses.dataclass(frozen=True)
class Sent:
    """What came of bringing MLflow up to date with a study.

    Attributes:
        runs: runs of which something was sent.
        points: points that were sent.
        there: runs of which all was there already.
        busy: names of runs that a worker is at, which were left to it.
        lacking: names of runs that still lack something.
    """

    runs: int
    points: int
    there: int
    busy: tuple[str, ...]
    lacking: tuple[str, ...]


def tracked_runs(folder: pathlib.Path) -> list[Tracked]:
    """The runs of a study that MLflow is to show: of the plan, their earlier attempts, and the trials of a search.

    Runs that have not begun are left out.

    Raises:
        records.RecordError: if the plan or the search cannot be read.
    """
    runs = folder.parent / layout.RUNS
    found: list[Tracked] = []
    about: dict[str, Any] = {"study": folder.name}
    if (folder / layout.PLAN).exists():
        plan = records.read_json(folder / layout.PLAN)
        try:
            about = {"study": plan["study"], "preset": plan["preset"]}
            owners = rows(plan)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise records.RecordError(f"{folder / 'plan.json'}: not the plan of a study ({error!r})") from None
        for arm, seed, name in owners:
            run = tracked(_inside(runs, name), arm, seed, about)
            found += [*earlier(run), run]
    if tried := search.read_search(folder):
        for label, trials in tried.trials.items():
            for trial in trials:
                run = trial_run(runs, label, trial, {**about, "stage": "search"})
                found += [*earlier(run), run]
    return [run for run in found if run.spec.exists() and (run.done or any(run.stamp()))]


def trial_run(runs: pathlib.Path, label: str, trial: search.Trial, about: dict[str, Any]) -> Tracked:
    """A trial of a search."""
    tags = {"uflow.trial": trial.state}
    return tracked(_inside(runs, trial.run), f"{label}, trial {trial.number}", search.SEED, about, tags)


def sync_runs(mirror: Mirror, folder: pathlib.Path, say: Callable[[str], None] = lambda line: None) -> Sent:
    """Brings MLflow up to date with all runs of a study and notes what it still lacks in `mirror.json`.

    A run that a worker is at is left to the worker. If the store does not answer, the rest is not tried.

    Args:
        mirror: of the study.
        folder: of the study.
        say: told a line for each run that is left to a worker.
    """
    runs = points = there = 0
    busy, lacking = [], []
    reachable = mirror.answers()
    for run in tracked_runs(folder):
        if not locks.is_free(layout.run_directory(folder.parent, run.name.split("/")[0]) / layout.WORKER_LOCK):
            busy.append(run.name)
            say(f"{run.name}: a worker is at it and sends it itself")
            continue
        if not reachable and mirror_file.known(folder, mirror.uri, run):
            there += 1
            continue
        arrived = mirror.update(run)
        if not arrived.complete and reachable and (reachable := mirror.answers()):
            again = mirror.update(run)  # once more, since what failed may have been one request
            arrived = dataclasses.replace(again, sent=arrived.sent + again.sent)
            reachable = again.complete or mirror.answers()
        mirror.forget(run)
        mirror_file.noted(mirror, mirror_file.note, folder, run, arrived)
        points += arrived.sent
        if not arrived.complete:
            lacking.append(run.name)
        elif arrived.changed:
            runs += 1
        else:
            there += 1
    return Sent(runs, points, there, tuple(busy), tuple(lacking))


def end_study(mirror: Mirror, folder: pathlib.Path) -> bool | None:
    """Brings the study's own run up to date: state, description and report; see `Mirror.end`.

    The state is left open while a run has no result.
    """
    plan, planned = records.read_json(folder / layout.PLAN), directories(folder)
    path = folder / layout.REPORT / DESCRIPTION
    description = path.read_text(encoding="utf-8") if path.exists() else str(plan.get("question", plan["study"]))
    done = all(layout.finished(directory) for directory in planned)
    state = "RUNNING" if not done else "FAILED" if any(map(retry.failed, planned)) else "FINISHED"
    away = mirror.waiting  # it did not answer a moment ago
    data_sets: list[tuple[str, str, str]] = []
    with contextlib.suppress(ValueError, OSError):  # a file that is in a bad way is told of where it is needed
        data_sets = list(dict.fromkeys(found for run in tracked_runs(folder) for found in run.data_sets()))
    told = (state, description, folder / layout.REPORT, plan["metrics"], data_sets)
    result = mirror.end(*told)
    if result is None and not away and mirror.answers():
        result = mirror.end(*told)
    reason = mirror.reason if result is None else ""
    mirror_file.noted(mirror, mirror_file.note_study, folder, reason, mirror.experiment)
    return result


def directories(folder: pathlib.Path) -> list[pathlib.Path]:
    """The directories of all planned runs of a study."""
    plan = records.read_json(folder / layout.PLAN)
    return [layout.run_directory(folder.parent, name) for _, _, name in rows(plan)]


def _inside(runs: pathlib.Path, name: str) -> pathlib.Path:
    """The directory of a run; raises for a name that leads elsewhere."""
    if pathlib.PurePath(name).name != name or "__" not in name:
        raise records.RecordError(f"{name!r} is not the name of a run")
    return runs / name


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m studies.sync",
        description="Sends to MLflow what the files of studies hold and it does not; twice sends nothing twice.",
        epilog="Exit codes: 0 all is there; 2 wrong usage; 3 something is still missing.",
    )
    made.add_argument("out", type=pathlib.Path, help="the --out of the studies")
    made.add_argument("studies", nargs="*", metavar="STUDY", help="only these (default: all in OUT)")
    made.add_argument(
        "--tracking-uri",
        metavar="URI",
        default=os.environ.get("UFLOW_TRACKING_URI"),
        help="MLflow store (default: UFLOW_TRACKING_URI of the environment, else mlflow.db in OUT)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Brings MLflow up to date; 0 all there, 2 wrong usage, 3 something is missing."""
    given = parser().parse_args(argv)
    out = given.out.resolve()
    uri = given.tracking_uri or sqlite_address(out / layout.MLFLOW)
    there = sorted({path.parent.name for name in ("plan", "search") for path in out.glob(f"*/{name}.json")})
    unknown = [name for name in given.studies if name not in there]
    problem = ""
    if not there:
        problem = f"no study was planned in {out}"
    elif unknown:
        problem = f"no study {', '.join(map(repr, unknown))} in {out} (there: {', '.join(there)})"
    elif "://" not in uri:
        problem = f"--tracking-uri must be an address such as http://host:5000, got {uri!r}"
    if problem:
        print(f"studies.sync: {problem}", file=sys.stderr)
        return USAGE
    print(f"MLflow: {describe(uri)}", flush=True)
    return max([_synced(uri, out, study) for study in given.studies or there])


def _synced(uri: str, out: pathlib.Path, study: str) -> int:
    """Brings one study up to date and says what came of it."""
    folder, mirror = out / study, open_mirror(uri, study, out)
    try:
        sent = sync_runs(mirror, folder, lambda line: print(f"  {line}", flush=True))
        ended = (folder / layout.PLAN).exists() and end_study(mirror, folder)
    except (OSError, ValueError, KeyError) as error:
        print(f"{study}: {without_secrets(str(error), uri)}", file=sys.stderr)
        return MISSING
    parts = [f"sent {sent.points} points of {sent.runs} runs" + (" and the report" if ended else "")]
    parts += [f"{sent.there} runs were there already"]
    parts += [f"{len(sent.busy)} left to their workers"] if sent.busy else []
    print(f"{study}: {'; '.join(parts)}", flush=True)
    if not sent.lacking and ended is not None:
        return DONE
    found = mirror_file.gap(folder)
    print(f"{study}: {found.sentence if found else mirror.reason}", file=sys.stderr)
    return MISSING


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
