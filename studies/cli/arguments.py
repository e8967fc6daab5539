"""The command line of `python -m studies.run` as a value, checked as a whole."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import pathlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from analysis.paper.other_papers import every_claim
from experiments.cli import flags
from experiments.records import layout
from experiments.tracking.redaction import check_place, has_secret, sqlite_address
from studies.queue.job import HEARTBEAT
from studies.workers.cards import Card, parse
from uflow import extensions

T = TypeVar("T")
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
        description="Runs or continues a study, and ends with its table, or a campaign of several studies on several"
        " kinds of data, and ends with a report on all of them. The same command again trains nothing.",
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What is to be done: every word of the command line, checked. `--list` needs nothing but the first two.

    Attributes:
        action: one of `ACTIONS`, `worker` or `run`.
        json: whether the result is printed as JSON.
        study: the question.
        request: preset, seeds, changes and arms.
        settings: what the workers are told.
        workers: runs at a time.
        cards: where they train.
        launcher: what starts the workers, and its options.
        only: options that are searched, if arms are; empty for all that can be.
        looks: when `--until-decided` looks at the comparisons; `None` without it.
        stored: the `plan.json` that is there, if it counts.
        retry_failed: whether failed runs are done again.
        fresh: whether it is planned anew.
        report_dir: where `--report-only` writes to, if anywhere.
        words: of the command line.
        parts: of a campaign, the commands on its studies; `study` is the campaign then.
    """

    action: str = "run"
    json: bool = False
    study: Any = None
    request: Any = None
    settings: Any = None
    workers: int = 1
    cards: tuple[Card, ...] = (Card("auto"),)
    launcher: tuple[str, Mapping[str, str]] = ("local", {})
    only: tuple[str, ...] = ()
    looks: Any = None
    stored: Mapping[str, Any] | None = None
    retry_failed: bool = False
    fresh: bool = False
    report_dir: pathlib.Path | None = None
    words: tuple[str, ...] = ()
    parts: tuple[Command, ...] = ()

    @property
    def out(self) -> pathlib.Path:
        """Directory of all results."""
        return self.settings.out

    @property
    def folder(self) -> pathlib.Path:
        """Directory of the study."""
        return self.out / self.study.name


class _Problems(list[str]):
    """Everything that is wrong with a command line, for all of it is said at once."""

    def tried(self, action: Callable[[], T]) -> T | None:
        """The result of `action`, or `None` with what it complains of noted."""
        try:
            return action()
        except (ValueError, OSError) as error:
            self.extend(str(error).splitlines())
            return None


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
    problems = _Problems()
    asked = problems.tried(lambda: catalog.load(given.study))
    problems.tried(every_claim)  # which the report asks for when all is trained
    if isinstance(asked, Campaign):
        return _of_campaign(asked, given, words, problems)
    return _of_study(asked, given, words, problems)


ONE_STUDY = ("arms", "search", "search_over", "until_decided", "add_seeds")  # what cannot be meant for several


def _of_campaign(campaign: Any, given: argparse.Namespace, words: Sequence[str], problems: _Problems) -> Command:
    """The command on a campaign: that on each of its studies with each kind of data, and what these have in common."""
    from experiments.records.run_settings import sources_of
    from studies.planning.campaign_plan import each
    from studies.planning.catalog import load
    from studies.planning.planner import PlanError

    if asked := [f"--{name.replace('_', '-')}" for name in ONE_STUDY if getattr(given, name) is not None]:
        verb = "is" if len(asked) == 1 else "are"
        raise PlanError(
            f"{', '.join(asked)} {verb} for one study, and {campaign.name} is a campaign of {len(campaign.studies)}:"
            f" give the name of a study ({', '.join(campaign.studies)}) with the same --out"
        )
    more = sources_of(given.data, given.eval)
    if given.data:
        campaign = _with_data(campaign, more)
        given = argparse.Namespace(**vars(given) | {"data": None, "eval": None})

    def part(study: str, kind: str, folder: str) -> Command:
        known = dataclasses.replace(load(study), name=folder)
        return _of_study(known, given, words, _Problems(problems), campaign.kinds[kind])

    parts = each({folder: functools.partial(part, *names, folder) for *names, folder in campaign.parts})
    first = parts[0]
    changes = {k: v for k, v in first.request.changes.items() if k not in next(iter(campaign.kinds.values()))} | more
    request = dataclasses.replace(first.request, changes=changes)
    queue = queue_name(campaign, request) if first.settings.storage else campaign.name
    settings = dataclasses.replace(first.settings, study=campaign.name, queue=queue, tracking=None)
    return dataclasses.replace(
        first, study=campaign, request=request, settings=settings, stored=None, parts=tuple(parts)
    )


def _with_data(campaign: Any, sources: Mapping[str, str]) -> Any:
    """The campaign with that kind of data too, or instead of one of its name, and evaluated on that of `--eval`."""
    from experiments.data.catalog import canonical as names_of
    from experiments.data.source_text import unplaced

    kind = re.sub(r"\W+", "_", unplaced(names_of(sources["data.source"])), flags=re.ASCII)
    return dataclasses.replace(campaign, kinds=dict(campaign.kinds) | {kind: dict(sources)})


def _of_study(
    asked: Any,
    given: argparse.Namespace,
    words: Sequence[str],
    problems: _Problems,
    changes: Mapping[str, Any] | None = None,
) -> Command:
    """The command on a study, with what a kind of data changes in all of its arms."""
    from studies.planning import plan_store, planner

    study, only = _study(asked, given, problems)
    preset = _preset(given, problems)
    cards = problems.tried(lambda: parse(given.device)) or (Card("auto"),)
    workers = _default_workers(cards) if given.workers is None else given.workers
    out = (given.out or pathlib.Path("results") / given.preset).resolve()
    check_place(out)  # what follows makes addresses of it
    action = given.action or ("worker" if given.worker else "run")
    if preset and action in ("run", "worker") and workers and not given.force:
        problems.tried(lambda: check_device(preset, cards[0]))
    settings = _settings(given, out, problems)
    launcher = _launcher(given, out, problems)
    problems += _contradictions(given, workers, settings)
    stored = problems.tried(lambda: plan_store.stored(out / study.name)) if study and not given.fresh else None
    request, looks = _request(given, study, preset, stored, problems, changes or {})
    if not problems:
        queue = queue_name(study, request) if settings.storage else study.name
        settings = dataclasses.replace(settings, study=study.name, queue=queue)
        return Command(
            action=action, json=given.json, study=study, request=request, settings=settings, workers=workers,
            cards=cards, launcher=launcher, only=only, looks=looks, stored=stored, retry_failed=given.retry_failed,
            fresh=given.fresh, report_dir=given.report_dir, words=tuple(words),
        )  # fmt: skip
    if study and request:
        problems.tried(lambda: planner.make(study, request))  # what is wrong with the plan is said at the same time
    raise planner.PlanError("\n".join(dict.fromkeys(problems)))


def _study(study: Any, given: argparse.Namespace, problems: _Problems) -> tuple[Any, tuple[str, ...]]:
    """The study as it is asked for, and the options that are searched if it searches; `None` if there is none."""
    if study and given.search is not None:
        study = problems.tried(lambda: searched(study, given.search)) or study
    only = _list(given.search_over)
    if study and only and not study.searched:
        problems.append("--search-over says what to search, so it needs --search K or a study that searches")
    return study, only


def _preset(given: argparse.Namespace, problems: _Problems) -> Any:
    """The preset; `None` if there is none of that name."""
    from studies.presets import PRESETS
    from uflow.registry import did_you_mean

    if given.preset not in PRESETS:
        hint = did_you_mean(given.preset, PRESETS)
        problems.append(f"unknown preset {given.preset!r}{hint} (known: {', '.join(PRESETS)})")
    return PRESETS.get(given.preset)


def _default_workers(cards: Sequence[Card]) -> int:
    """One worker for each core, or for each card."""
    from studies.launchers.supervisor import cores

    return cores() if cards[0].target in ("auto", "CPU") else len(cards)


def _settings(given: argparse.Namespace, out: pathlib.Path, problems: _Problems) -> Any:
    """What the workers are told, but for the study; `None` if something of it is wrong."""
    from experiments.records.run_settings import sources_of
    from studies.workers.subprocess_run import Execution, Limits
    from studies.workers.worker import WorkerSettings

    limits = problems.tried(lambda: Limits(seconds=given.run_timeout, gigabytes=given.run_memory)) or Limits()
    # a worker looks for data where it is told; who plans puts that into the specs
    sources = sources_of(given.data, given.eval) if given.worker else {}
    known = {"out": out, "limits": limits, "sources": sources, "extensions": extensions.files()}
    execution = problems.tried(lambda: Execution(**known, checkpoint_seconds=given.checkpoint_seconds))
    storage = given.storage or os.environ.get("UFLOW_STORAGE") or None
    if storage:
        from studies.queue.exchange import address

        problems.tried(lambda: address(storage))
    tracking = given.tracking_uri or os.environ.get("UFLOW_TRACKING_URI") or sqlite_address(out / layout.MLFLOW)
    settings = WorkerSettings(
        execution=execution or Execution(**known), study="", queue="", storage=storage,
        tracking=None if tracking == "none" else tracking,
    )  # fmt: skip
    times = {"heartbeat": given.heartbeat, "linger": given.wait}
    timed = problems.tried(lambda: dataclasses.replace(settings, **times)) or settings
    return timed if given.worker else dataclasses.replace(timed, linger=0.0)  # who plans sees what is left


def _launcher(given: argparse.Namespace, out: pathlib.Path, problems: _Problems) -> tuple[str, Mapping[str, str]]:
    """What starts the workers, and its options."""
    from experiments.cli.flags import parse_changes
    from studies.launchers.supervisor import check_options

    options = problems.tried(lambda: parse_changes(given.launcher_option)) or {}
    problems.tried(lambda: check_options(given.launcher, options))
    if given.launcher == "slurm" and set("%\\") & set(str(out)):  # Slurm would have escapes, submitit has none
        problems.append(
            f"--out {out}: % and \\ mean something in the names of files that Slurm writes; --launcher slurm needs a"
            " folder without them"
        )
    return given.launcher, options


def _contradictions(given: argparse.Namespace, workers: int, settings: Any) -> list[str]:
    """Words that do not go together."""
    found = []
    if not 0 <= workers <= 1024:
        found.append(f"--workers must be a whole number in [0, 1024], got {workers}")
    if workers == 0 and not settings.storage:
        found.append("--workers 0 leaves all runs to workers on other machines, which needs --storage")
    if workers == 0 and given.worker:
        found.append("--workers 0 does not go with --worker, which needs workers here")
    if given.worker and (given.retry_failed or given.fresh):
        found.append("--worker works on what was planned; --retry-failed and --fresh are for the command that plans")
    if given.report_dir and given.action != "report-only":
        found.append("--report-dir says where --report-only writes; a study that runs writes its report into --out")
    return found


def _request(
    given: argparse.Namespace,
    study: Any,
    preset: Any,
    stored: Any,
    problems: _Problems,
    kind: Mapping[str, Any],
) -> tuple[Any, Any]:
    """What is wanted of the study, and when it is looked at; `None` if that is not known, or not asked for."""
    from experiments.cli.flags import parse_changes
    from experiments.records.run_settings import sources_of
    from studies.planning import planner, sequential

    changes = (problems.tried(lambda: parse_changes(given.set)) or {}) | sources_of(given.data, given.eval) | dict(kind)
    seeds, arms = problems.tried(lambda: planner.parse_seeds(given.seeds)) if given.seeds else None, _list(given.arms)
    if preset and not given.seeds:
        seeds = tuple(range(study.seeds.get(preset.name, preset.seeds) if study else preset.seeds))
    if study and given.add_seeds is not None and not given.worker:
        found = problems.tried(lambda: _added(given, study, stored))
        seeds, arms = (found[0], arms or found[1]) if found else (seeds, arms)
    looks = None
    if seeds and given.until_decided is not None:
        looks = problems.tried(lambda: sequential.looks(len(seeds), given.until_decided))
    return planner.PlanRequest(
        preset=preset, seeds=seeds or (0,), changes=changes, arms=arms
    ) if preset else None, looks


def _list(text: str | None) -> tuple[str, ...]:
    """The words between commas."""
    return tuple(word.strip() for word in text.split(",")) if text else ()


def queue_name(study: Any, request: Any) -> str:
    """Name of the study's queue in a database: the same for all who ask the same."""
    from experiments.data.source_text import unplaced
    from experiments.spec import digest

    changes = {k: unplaced(v) if k.endswith(".source") else v for k, v in request.changes.items()}
    return f"{study.name}/{request.preset.name}" + (f"/{digest(changes)}" if changes else "")


def searched(study: Any, trials: int) -> Any:
    """The study with a search of so many settings for each arm, or for those that it searches itself.

    It has a name of its own, for its arms are other experiments than those of the study without a search.

    Raises:
        PlanError: if the number is out of range.
    """
    from studies.planning.planner import PlanError

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
    from studies.planning.planner import PlanError, following

    if given.seeds or given.until_decided is not None:
        raise PlanError("--add-seeds says how many seeds to add, so it does not go with --seeds or --until-decided")
    if not 1 <= given.add_seeds <= 10_000:
        raise PlanError(f"--add-seeds must be at least 1 and at most 10000, got {given.add_seeds}")
    if stored is None:
        raise PlanError("--add-seeds adds to a study that was planned before, and none is there (another --out?)")
    seeds = tuple(stored["seeds"])
    labels = tuple(arm["label"] for arm in stored["arms"] if arm["label"] in study.labels)
    return seeds + following(seeds, given.add_seeds), labels


def check_device(preset: Any, card: Card) -> None:
    """Raises `PlanError` for a preset that would take months on the CPU, before anything is written."""
    from experiments.training.device import available
    from studies.planning.planner import PlanError

    target = available() if card.target == "auto" else card.target
    if preset.device == "accelerator" and target == "CPU":
        raise PlanError(
            f"preset {preset.name!r} needs a GPU or Ascend and this machine has a CPU only, where a run would take"
            " months; use --preset short, or --force to run it anyway"
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
