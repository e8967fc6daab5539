"""The command line of `python -m studies.run` as a value, checked as a whole."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import pathlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from experiments import flags
from experiments.addresses import check_place, has_secret, sqlite_address
from studies.devices import Card, parse
from studies.process import Limits

T = TypeVar("T")


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m studies.run",
        description="Runs or continues a study and ends with its table. The same command again trains nothing.",
        epilog="Exit codes: 0 all runs done; 2 wrong usage, nothing was written; 3 finished with failed runs, or with"
        " runs that the machine could not do; 4 the code or the data has changed since the study was planned; 130"
        " interrupted, to be continued by the same command.",
    )
    made.add_argument("study", nargs="?", help="a name of --list, or the path of a study file (ends in .py)")
    asks = made.add_argument_group("what to do, instead of running").add_mutually_exclusive_group()
    asks.add_argument("--list", action="store_true", help="the studies, their questions and their arms")
    asks.add_argument("--plan", action="store_true", help="show the runs and the expected time; writes nothing")
    asks.add_argument("--status", action="store_true", help="how far the study is, run by run; writes nothing")
    asks.add_argument("--report-only", action="store_true", help="print the report on what is there; writes nothing")
    made.add_argument("--report-dir", type=pathlib.Path, metavar="DIR", help="where --report-only writes its files to")
    made.add_argument("--preset", default="short", metavar="NAME", help="smoke, short or paper (%(default)s)")
    made.add_argument("--seeds", metavar="N|A,B,C", help="number of seeds, or which (default: by preset and study)")
    made.add_argument("--add-seeds", type=int, metavar="N", help="N seeds more than were planned before")
    made.add_argument(
        "--until-decided",
        type=int,
        metavar="MAX",
        help="from --seeds on, add seeds to undecided comparisons only, up to MAX, at looks fixed beforehand;"
        " the level of the tests is shared out over the looks",
    )
    made.add_argument(
        "--search",
        type=int,
        metavar="K",
        help="first try K settings for every arm, its own and others that Optuna chooses, on the validation split and"
        " a seed of its own; then run each arm at its best",
    )
    made.add_argument(
        "--search-over", metavar="KEY,KEY", help="search these options only (default: all that declare a search range)"
    )
    made.add_argument(
        "--arms",
        metavar="A,B|all",
        help="only these arms (and what they are compared with), or all (default: those of --list)",
    )
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another value for an option")
    made.shared("data", "eval")
    made.shared("out", help="where all files go (default: results/PRESET)")
    made.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="MLflow store (default: UFLOW_TRACKING_URI, else mlflow.db in --out); 'none' for none",
    )
    made.shared("checkpoint-seconds")
    many = made.add_argument_group("where runs are done")
    many.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="runs at a time; 0 leaves all to others (default: one per core or card)",
    )
    many.add_argument(
        "--device", default="auto", metavar="WHICH", help="auto, cpu, gpu, ascend, or cards as in gpu:0,1 or ascend:0-7"
    )
    many.add_argument("--run-timeout", type=float, metavar="SECONDS", help="a run that takes longer has failed")
    many.add_argument("--run-memory", type=float, metavar="GB", help="a run that uses more memory has failed")
    many.add_argument(
        "--storage",
        metavar="URL",
        help="keep the queue in a database for many machines, postgresql://USER@HOST/DATABASE (default: UFLOW_STORAGE,"
        " else a file in --out, for one machine); passwords belong into ~/.pgpass or UFLOW_STORAGE",
    )
    many.add_argument(
        "--worker",
        action="store_true",
        help="work on what the same command without --worker has planned, here or, with --storage, on another machine",
    )
    many.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="with --worker: end when nothing was left to do for so long (%(default)g)",
    )
    many.add_argument(
        "--heartbeat",
        type=int,
        default=15,
        metavar="SECONDS",
        help="with --storage: time between a worker's signs of life; 8 times that without one, and its run is given to"
        " another (%(default)s)",
    )
    many.add_argument("--launcher", default="local", help="local, ray or slurm: what starts the workers (%(default)s)")
    many.add_argument(
        "--launcher-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for ray (address, num_cpus, ...) or slurm (partition, time, ...); see docs/many_machines.md",
    )
    made.add_argument("--retry-failed", action="store_true", help="do failed runs again; their files are kept")
    made.add_argument("--fresh", action="store_true", help="plan anew; finished runs are kept and used again")
    made.add_argument("--force", action="store_true", help="let a preset run that is not made for this machine")
    made.add_argument("--json", action="store_true", help="print the answer as JSON; everything else goes to stderr")
    return made


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What is to be done.

    Attributes:
        study: the question.
        asked: preset, seeds, changes and arms.
        out: directory of all results.
        workers: runs at a time.
        cards: where they train.
        limits: what a run may use.
        storage: address of the queue's database, or `None` for a file.
        tracking: address of the MLflow store, or `None`.
        launcher: what starts the workers, and its options.
        only: options that are searched, if arms are; empty for all that can be.
        looks: when `--until-decided` looks at the comparisons; `None` without it.
        stored: the `plan.json` that is there, if it counts.
    """

    study: Any
    asked: Any
    out: pathlib.Path
    workers: int
    cards: tuple[Card, ...] = (Card("auto"),)
    limits: Limits = Limits()
    storage: str | None = None
    tracking: str | None = None
    launcher: tuple[str, Mapping[str, str]] = ("local", {})
    only: tuple[str, ...] = ()
    looks: Any = None
    stored: Mapping[str, Any] | None = None

    @property
    def folder(self) -> pathlib.Path:
        """Directory of the study."""
        return self.out / self.study.name

    @property
    def queue(self) -> str:
        """Name of the study's queue in a database: the same for all who ask the same."""
        from experiments.data.source_text import unplaced
        from experiments.spec import digest

        changes = {k: unplaced(v) if k.endswith(".source") else v for k, v in self.asked.changes.items()}
        return f"{self.study.name}/{self.asked.preset.name}" + (f"/{digest(changes)}" if changes else "")


def read(given: argparse.Namespace) -> Command:
    """The command that the words on the command line stand for.

    Raises:
        PlanError: naming everything that is wrong with them.
    """
    from experiments.run import parse_changes
    from studies import catalog, plan_file, planning, sequential
    from studies.baselines import PRESETS
    from studies.launcher import LAUNCHERS, check_options, cores
    from uflow.registry import did_you_mean

    problems: list[str] = []

    def tried(action: Callable[[], T]) -> T | None:
        try:
            return action()
        except (ValueError, OSError) as error:
            problems.extend(str(error).splitlines())
            return None

    if not given.study:
        raise planning.PlanError(f"which study? one of {', '.join(catalog.names())}, or a path; --list explains them")
    study = tried(lambda: catalog.load(given.study))
    preset = PRESETS.get(given.preset)
    if study and given.search is not None:
        study = tried(lambda: searched(study, given.search)) or study
    only = tuple(word.strip() for word in given.search_over.split(",")) if given.search_over else ()
    if study and only and not study.searched:
        problems.append("--search-over says what to search, so it needs --search K or a study that searches")
    if preset is None:
        hint = did_you_mean(given.preset, PRESETS)
        problems.append(f"unknown preset {given.preset!r}{hint} (known: {', '.join(PRESETS)})")
    changes = tried(lambda: parse_changes(given.set)) or {}
    changes |= {k: v for k, v in (("data.source", given.data), ("evaluation.source", given.eval)) if v}
    seeds = tried(lambda: planning.parse_seeds(given.seeds)) if given.seeds else None
    if preset and not given.seeds:
        seeds = tuple(range(study.seeds.get(preset.name, preset.seeds) if study else preset.seeds))
    arms = tuple(word.strip() for word in given.arms.split(",")) if given.arms else ()
    cards = tried(lambda: parse(given.device)) or (Card("auto"),)
    workers = (
        (cores() if cards[0].target in ("auto", "CPU") else len(cards)) if given.workers is None else given.workers
    )
    if not 0 <= workers <= 1024:
        problems.append(f"--workers must be a whole number in [0, 1024], got {workers}")
    if preset:
        tried(lambda: check_device(preset, cards[0], given))
    out = (given.out or pathlib.Path("results") / given.preset).resolve()
    check_place(out)  # what follows makes addresses of it
    if given.report_dir and not given.report_only:
        problems.append("--report-dir says where --report-only writes; a study that runs writes its report into --out")
    storage = given.storage or os.environ.get("UFLOW_STORAGE") or None
    tracking = given.tracking_uri or os.environ.get("UFLOW_TRACKING_URI") or sqlite_address(out / "mlflow.db")
    launcher = given.launcher, tried(lambda: parse_changes(given.launcher_option)) or {}
    if launcher[0] in LAUNCHERS:
        tried(lambda: check_options(*launcher))
    problems += _places(given, out, workers, storage)
    stored = tried(lambda: plan_file.stored(out / study.name)) if study and not given.fresh else None
    if given.add_seeds is not None and not given.worker:
        found = tried(lambda: _added(given, study, stored))
        seeds, arms = (found[0], arms or found[1]) if found else (seeds, arms)
    looks = None
    if given.until_decided is not None and seeds:
        looks = tried(lambda: sequential.looks(len(seeds), given.until_decided))
    if study and preset:
        asked = planning.Asked(preset=preset, seeds=seeds or (0,), changes=changes, arms=arms)
        if not problems:
            return Command(
                study=study, asked=asked, out=out, workers=workers, only=only, looks=looks, stored=stored, cards=cards,
                limits=Limits(seconds=given.run_timeout, gigabytes=given.run_memory), storage=storage,
                tracking=None if tracking == "none" else tracking, launcher=launcher,
            )  # fmt: skip
        tried(lambda: planning.make(study, asked))  # what is wrong with the plan is said at the same time
    raise planning.PlanError("\n".join(dict.fromkeys(problems)))


def searched(study: Any, trials: int) -> Any:
    """The study with a search of so many settings for each arm, or for those that it searches itself.

    It has a name of its own, for its arms are other experiments than those of the study without a search.

    Raises:
        PlanError: if the number is out of range.
    """
    from studies.planning import PlanError

    if not 1 <= trials <= 10_000:
        raise PlanError(f"--search must be a whole number in [1, 10000], got {trials}")
    if study.trials == trials:
        return study
    arms = study.searched or study.labels
    return dataclasses.replace(study, name=f"{study.name}_search{trials}", searched=arms, trials=trials)


def _added(
    given: argparse.Namespace, study: Any, stored: Mapping[str, Any] | None
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Seeds and arms of a stored plan with more seeds."""
    from studies.planning import PlanError, following

    if given.seeds or given.until_decided is not None:
        raise PlanError("--add-seeds says how many seeds to add, so it does not go with --seeds or --until-decided")
    if not 1 <= given.add_seeds <= 10_000:
        raise PlanError(f"--add-seeds must be at least 1 and at most 10000, got {given.add_seeds}")
    if stored is None:
        raise PlanError("--add-seeds adds to a study that was planned before, and none is there (another --out?)")
    seeds = tuple(stored["seeds"])
    labels = tuple(arm["label"] for arm in stored["arms"] if arm["label"] in study.labels)
    return seeds + following(seeds, given.add_seeds), labels


def _places(given: argparse.Namespace, out: pathlib.Path, workers: int, storage: str | None) -> list[str]:
    """What is wrong with where and how runs are to be done."""
    from studies.launcher import LAUNCHERS
    from uflow.registry import did_you_mean

    found = []
    for option, value in (("--run-timeout", given.run_timeout), ("--run-memory", given.run_memory)):
        if value is not None and not 0 < value < math.inf:
            found.append(f"{option} must be more than 0, got {value:g}")
    if not 0 <= given.checkpoint_seconds < math.inf:
        found.append(f"--checkpoint-seconds must be 0 or more, got {given.checkpoint_seconds:g}")
    if not 0 <= given.wait < math.inf:
        found.append(f"--wait must be 0 or more seconds, got {given.wait:g}")
    if not 1 <= given.heartbeat <= 3600:
        found.append(f"--heartbeat must be a whole number in [1, 3600], got {given.heartbeat}")
    if given.launcher not in LAUNCHERS:
        hint = did_you_mean(given.launcher, LAUNCHERS)
        found.append(f"unknown launcher {given.launcher!r}{hint} (known: {', '.join(LAUNCHERS)})")
    if given.launcher == "slurm" and set("%\\") & set(str(out)):  # Slurm would have escapes, submitit has none
        found.append(
            f"--out {out}: % and \\ mean something in the names of files that Slurm writes; --launcher slurm needs a"
            " folder without them"
        )
    if workers == 0 and not storage:
        found.append("--workers 0 leaves all runs to workers on other machines, which needs --storage")
    if workers == 0 and given.worker:
        found.append("--workers 0 does not go with --worker, which needs workers here")
    if given.worker and (given.retry_failed or given.fresh):
        found.append("--worker works on what was planned; --retry-failed and --fresh are for the command that plans")
    if storage:
        from studies.exchange import address

        try:
            address(storage)
        except ValueError as error:
            found.append(str(error))
    return found


def check_device(preset: Any, card: Card, given: argparse.Namespace) -> None:
    """Raises for a preset that would take months on the CPU, before anything is written."""
    from experiments.device import available
    from studies.planning import PlanError

    target = available() if card.target == "auto" else card.target
    trains = not (given.plan or given.status or given.report_only) and given.workers != 0
    if preset.device == "accelerator" and target == "CPU" and trains and not given.force:
        raise PlanError(
            f"preset {preset.name!r} needs a GPU or Ascend and this machine has a CPU only, where a run would take"
            " months; use --preset short, or --force to do it all the same"
        )


def resumed(words: Sequence[str], seeds: Sequence[int]) -> str:
    """The command that goes on where this one was interrupted: what must not be done twice is left out of it."""
    kept, skip = [], False
    for word in words:
        adds = word == "--add-seeds"
        if not (skip or adds or word in ("--retry-failed", "--fresh") or word.startswith("--add-seeds=")):
            kept.append(word)
        skip = adds
    if any(word.startswith("--add-seeds") for word in words):
        kept += ["--seeds", ",".join(map(str, seeds))]
    shown = list(kept)
    for number, word in enumerate(kept):
        if has_secret(word):
            secret = "UFLOW_STORAGE" if "--storage" in (word.split("=")[0], kept[number - 1]) else "UFLOW_TRACKING_URI"
            shown[number] = f"(the address, better in {secret})"
    return f"python -m studies.run {shlex.join(shown)}"
