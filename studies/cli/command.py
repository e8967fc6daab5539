"""The command on a study as a value, checked as a whole: every word of the command line."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from experiments.records import layout
from experiments.tracking.redaction import check_place, sqlite_address
from studies.workers.cards import Card, parse
from uflow import extensions

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What is to be done: every word of the command line, checked. `--list` needs nothing but the first two.

    Attributes:
        action: one of `studies.cli.arguments.ACTIONS`, `worker` or `run`.
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


class Problems(list[str]):
    """Everything that is wrong with a command line, for all of it is said at once."""

    def tried(self, action: Callable[[], T]) -> T | None:
        """The result of `action`, or `None` with what it complains of noted."""
        try:
            return action()
        except (ValueError, OSError) as error:
            self.extend(str(error).splitlines())
            return None


def of_study(
    asked: Any,
    given: argparse.Namespace,
    words: Sequence[str],
    problems: Problems,
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
    if study and action != "report-only" and (out / study.name / layout.KEPT_RUNS).exists():
        problems.append(
            f"{out / study.name} holds the results of its runs and not the runs (analysis.compact), which can be"
            " reported on (--report-only) and not gone on with; give another --out"
        )
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


def _study(study: Any, given: argparse.Namespace, problems: Problems) -> tuple[Any, tuple[str, ...]]:
    """The study as it is asked for, and the options that are searched if it searches; `None` if there is none."""
    if study and given.search is not None:
        study = problems.tried(lambda: searched(study, given.search)) or study
    only = _list(given.search_over)
    if study and only and not study.searched:
        problems.append("--search-over says what to search, so it needs --search K or a study that searches")
    return study, only


def _preset(given: argparse.Namespace, problems: Problems) -> Any:
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


def _settings(given: argparse.Namespace, out: pathlib.Path, problems: Problems) -> Any:
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


def _launcher(given: argparse.Namespace, out: pathlib.Path, problems: Problems) -> tuple[str, Mapping[str, str]]:
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
    problems: Problems,
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
