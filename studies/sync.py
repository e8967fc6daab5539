"""The command: `python -m studies.sync OUT` brings MLflow up to what the files of the studies in OUT say."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Sequence

from experiments.cli import flags, terminal
from experiments.records import layout
from experiments.tracking.redaction import describe, sqlite_address, without_secrets
from studies.tracking import backlog
from studies.tracking.mirror_thread import open_mirror
from studies.tracking.sync import end_study, sync_runs

DONE, USAGE, MISSING = 0, 2, 3


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
    found = backlog.gap(folder)
    print(f"{study}: {found['sentence'] if found else mirror.reason}", file=sys.stderr)
    return MISSING


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
