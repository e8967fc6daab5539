"""The command line of `python -m studies.run`: its words, and the command that they stand for."""

from __future__ import annotations

import argparse
import pathlib
import shlex
from collections.abc import Sequence

from analysis.paper.other_papers import every_claim
from experiments.cli import flags
from experiments.tracking.redaction import has_secret
from studies.cli.campaign_command import of_campaign
from studies.cli.command import Command, Problems, of_study
from studies.queue.job import HEARTBEAT
from uflow import extensions

ACTIONS = {
    "list": "the studies, their questions and their arms, and the campaigns",
    "plan": "show the runs and the expected time; writes nothing",
    "status": "how far the study is, run by run; writes nothing",
    "report-only": "print the report on what is there; writes nothing",
}


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m studies.run",
        description="Runs a study and ends with its table, or a campaign, several studies on several kinds of data,"
        " and ends with a report on all of them. What was begun goes on where it was; what is done is reported again.",
        epilog="Exit codes: 0 all runs done; 2 wrong usage, nothing was written; 3 finished with failed runs, or with"
        " runs that the machine could not do; 4 the code or the data has changed since the study was planned; 130"
        " interrupted, to be continued by the same command.",
    )
    made.add_argument("study", nargs="?", help="a name of --list, or the path of a file (ends in .py)")
    _add_actions(made)
    _add_plan(made)
    made.shared("out", help="where all files go (default: results/PRESET)")
    made.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="MLflow store (default: UFLOW_TRACKING_URI, else mlflow.db in --out); 'none' for none",
    )
    made.shared("checkpoint-seconds", "extensions")
    _add_workers(made)
    made.add_argument("--retry-failed", action="store_true", help="do failed runs again; their files are kept")
    made.add_argument("--fresh", action="store_true", help="plan anew; finished runs are kept and used again")
    made.add_argument("--force", action="store_true", help="run the preset even if this device is unsuitable")
    made.add_argument("--json", action="store_true", help="print the result as JSON; everything else goes to stderr")
    return made


def _add_actions(made: flags.Parser) -> None:
    """What a command does, instead of running."""
    asks = made.add_argument_group("what to do, instead of running").add_mutually_exclusive_group()
    for word, told in ACTIONS.items():
        asks.add_argument(f"--{word}", dest="action", action="store_const", const=word, help=told)
    made.add_argument("--report-dir", type=pathlib.Path, metavar="DIR", help="where --report-only writes its files to")


def _add_plan(made: flags.Parser) -> None:
    """Which runs a study has."""
    made.add_argument("--preset", default="short", metavar="NAME", help="smoke, short, night or paper (%(default)s)")
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


def _add_workers(made: flags.Parser) -> None:
    """Where and how runs are done."""
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
        default=HEARTBEAT,
        metavar="SECONDS",
        help="with --storage: time between a worker's signs of life; 8 times that without one, and its run is given to"
        " another (%(default)s)",
    )
    many.add_argument(
        "--launcher",
        default="local",
        help="local, ray, slurm or one of an extension: what starts the workers (%(default)s)",
    )
    many.add_argument(
        "--launcher-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for ray (address, num_cpus, ...) or slurm (partition, time, ...); see docs/many_machines.md",
    )


def read(given: argparse.Namespace, words: Sequence[str] = ()) -> Command:
    """The command that the words on the command line stand for.

    Raises:
        PlanError: naming everything that is wrong with them.
    """
    from studies.design import Campaign
    from studies.planning import catalog, planner

    if given.action == "list":
        return Command(action="list", json=given.json)
    if not given.study:
        known = ", ".join((*catalog.names(), *catalog.campaigns()))
        raise planner.PlanError(f"which study? one of {known}, or a path; --list explains them")
    extensions.load(given.extensions)
    problems = Problems()
    asked = problems.tried(lambda: catalog.load(given.study))
    problems.tried(every_claim)  # which the report asks for when all is trained
    if isinstance(asked, Campaign):
        return of_campaign(asked, given, words, problems)
    return of_study(asked, given, words, problems)


def resumed(words: Sequence[str], seeds: Sequence[int]) -> str:
    """The command that goes on where this one was interrupted: what must not be done twice is left out of it."""
    kept, flag, adds = [], "", False
    for word in words:
        is_value = flag == "--add-seeds"
        flag, equals, _ = word.replace("_", "-").partition("=")  # a flag has two spellings
        adds = adds or flag == "--add-seeds"
        if not (is_value or flag in ("--add-seeds", "--retry-failed", "--fresh")):
            kept.append(word)
        flag = "" if equals else flag
    if adds:
        kept += ["--seeds", ",".join(map(str, seeds))]
    shown = list(kept)
    for number, word in enumerate(kept):
        if has_secret(word):
            secret = "UFLOW_STORAGE" if "--storage" in (word.split("=")[0], kept[number - 1]) else "UFLOW_TRACKING_URI"
            shown[number] = f"(the address, better in {secret})"
    return f"python -m studies.run {shlex.join(shown)}"
