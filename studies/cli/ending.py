"""How a command on a study ends: the report, what is said of it, and the exit code."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import sys
from typing import Any

from experiments.records import layout
from studies.cli.command import Command
from studies.cli.yardsticks import keep_yardsticks
from studies.queue.endings import DONE, FAILED


@dataclasses.dataclass(frozen=True)
class CommandResult:
    """What a command ends with: its exit code, and what it says as plain data and as text."""

    code: int
    plain: Any
    text: str


def update_mirror(mirror: Any, command: Command) -> None:
    """Brings MLflow up to date: runs of other studies that are arms here too, and what a worker left out."""
    from studies.tracking.sync import sync_runs

    try:
        sync_runs(mirror, command.folder)
    except (ValueError, OSError) as error:  # a file that is in a bad way is told of where it is needed
        print(f"warning: not all was sent to MLflow: {error}", file=sys.stderr)


def reported(command: Command, mirror: Any, left: int = 0) -> CommandResult:
    """Writes the report; exit code 0, or 3 if a run failed or some were left that should have been done."""
    keep_yardsticks(command.folder)
    return _reported(command, mirror, left, command.folder / layout.REPORT)


def looked_at(command: Command, place: pathlib.Path | None) -> CommandResult:
    """Like `reported`, but only looks at the results: writes to another folder, or nothing."""
    return _reported(command, None, 0, place)


def _reported(command: Command, mirror: Any, left: int, place: pathlib.Path | None) -> CommandResult:
    from analysis.report.write import make_report, write_report
    from analysis.results.load import load_study
    from experiments.records import json_files
    from studies.tracking import backlog, sync

    if place is None:
        report = make_report(command.folder)
    else:
        report = write_report(command.folder, directory=place)
        json_files.atomic_write(place / sync.DESCRIPTION, report.description)
    data = load_study(command.folder)
    ended = {**data.records, **(data.gating.records if data.gating else {})}
    failed = [pair for pair, record in ended.items() if record.status != "completed"]
    if mirror:
        sync.end_study(mirror, command.folder)
    lacking = backlog.gap(command.folder) if command.settings.tracking else None
    sacred = backlog.sacred_problems(sync.directories(command.folder))
    lines = [report.text] + ([f"report: {place}"] if place else [])
    page = backlog.page(command.folder, command.settings.tracking) if command.settings.tracking else None
    if shown := _where_to_look(command.settings.tracking, command.out):
        lines += ["compare the runs in a browser:", *(f"  {line}" for line in (shown, page) if line)]
    lines += backlog.sentences(lacking, sacred)
    if left:
        lines.append(
            f"{left} runs could not be done here and have no result (see {command.folder / layout.STUDY_LOG});"
            " the same command goes on with them"
        )
    code = FAILED if failed or data.problems or left else DONE
    plain = {
        "study": command.study.name,
        "out": str(command.out),
        "report": str(place) if place else None,
        "exit_code": code,
        "failed": [list(pair) for pair in failed],
        "left": left,
        "problems": list(data.problems),
        "left_out": list(data.plan.left_out),
        "mlflow": shown,
        "mlflow_page": page if shown else None,
        "mirror_gap": lacking,
        "sacred_problems": sacred,
        "effects": json.loads(report.files["effects.json"]),
    }
    return CommandResult(code, plain, "\n".join(lines))


def _where_to_look(tracking: str | None, out: pathlib.Path) -> str | None:
    """The address of MLflow's pages, or the command that shows them; `None` if there is nothing to look at."""
    from experiments.tracking.redaction import describe, sqlite_address

    own = tracking == sqlite_address(out / layout.MLFLOW)
    if tracking is None or (own and not (out / layout.MLFLOW).exists()):
        return None
    if tracking.startswith(("http://", "https://")):
        return describe(tracking)
    artifacts = shlex.quote(str(out / "mlartifacts"))
    return (
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1"
        f" --backend-store-uri {shlex.quote(describe(tracking))} --artifacts-destination {artifacts}"
    )
