"""One run as a Sacred experiment: `python -m experiments.run [options] with key=value ...`.

Sacred composes, overrides and snapshots the configuration and reports the life-cycle of the run; it is imported here
and nowhere else. The values are checked by the project's own typed schema before Sacred sees them, because Sacred
lets a change of type pass and loses the type of numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.cli import flags, terminal
from experiments.cli.flags import parse_changes
from experiments.cli.signals import INTERRUPTED, stop_on_signals
from experiments.data.catalog import names
from experiments.data.pairs import DataError
from experiments.execution import runner
from experiments.execution.inputs import Data, open_data, with_digests
from experiments.records import faults, json_files, layout, run_record
from experiments.records.atomic import check_writable
from experiments.records.run_settings import RunSettings, sources_of
from experiments.spec import (
    ExperimentSpec,
    changed,
    default_spec,
    from_config,
    moved,
    named_alike,
    problems_of,
    to_config,
)
from experiments.tracking.redaction import check_place
from experiments.training import device, weights
from uflow import extensions


def sacred_run(
    spec: ExperimentSpec, settings: RunSettings, data: Data, hooks: runner.Hooks
) -> run_record.RunRecord | None:
    """Runs one spec through a fresh Sacred experiment; `None` if it was interrupted and can be continued.

    What Sacred saw (configuration, host, times, status) is kept in `sacred.json` of the run. Sacred swallows the
    exceptions of its observers; ours are printed, and counted in `sacred_problems.json` of the run.
    """
    _ignore_known_warnings()
    from sacred import SETTINGS, Experiment

    from experiments.tracking.sacred_observer import RunFilesObserver

    SETTINGS.CAPTURE_MODE = "no"
    experiment = Experiment("uflow", save_git_info=False)
    experiment.add_config(to_config(spec))
    observer = RunFilesObserver(layout.run_directory(settings.out, spec.directory) / layout.SACRED)
    experiment.observers.append(observer)
    outcome: list[run_record.RunRecord | None] = []

    @experiment.main
    def main(_config: Mapping[str, Any], _run: Any) -> str:
        composed = from_config({key: value for key, value in _config.items() if key in to_config(spec)})
        record = runner.execute(composed, settings, data, hooks)
        outcome.append(record)
        _run.info["run_id"] = composed.run_id
        return record.status if record else "interrupted"

    experiment.run(options={"--loglevel": "ERROR", "--force": True})
    for problem in observer.problems:
        print(f"warning: the run is not fully recorded in sacred.json: {problem}", file=sys.stderr)
    return outcome[0]


def _ignore_known_warnings() -> None:
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # Sacred needs it, setuptools is pinned


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m experiments.run",
        description="Trains and evaluates one experiment; continues it if it was interrupted.",
        epilog="Without --spec the settings are the paper's for FlyingChairs, which need a GPU or days of CPU time."
        f" Data sets: {', '.join(names())}.",
    )
    made.add_argument("--spec", type=pathlib.Path, metavar="FILE", help="a spec.json to start from")
    made.shared("out", default=pathlib.Path("results"), help="where runs/ is")
    made.shared("data", "eval", "device", "device-id")
    made.shared("checkpoint", type=pathlib.Path, help="weights to start from: a .ckpt file or the directory of a run")
    made.add_argument("--shared-steps", default="", metavar="N,N", help="steps until which other runs train the same")
    made.shared("checkpoint-seconds", "extensions")
    made.add_argument(
        "--settings", metavar="JSON", help="where and how to run in place of the options above, as a study says it"
    )
    made.add_argument("--print-config", action="store_true", help="print the whole configuration and stop")
    made.add_argument("changes", nargs="*", metavar="with key=value", help="other values, such as train.steps=100")
    return made


def settings_of(arguments: argparse.Namespace) -> RunSettings:
    """How a command line wants a run to be executed; the extensions are loaded.

    Raises:
        ValueError: if that is impossible.
    """
    if arguments.settings:
        told = RunSettings.from_json(arguments.settings)
        extensions.load(told.extensions)
        return told
    brought = extensions.load(arguments.extensions)
    return RunSettings(
        out=arguments.out.resolve(),
        device=arguments.device,
        device_id=arguments.device_id,
        shared_steps=tuple(int(word) for word in arguments.shared_steps.split(",") if word),
        checkpoint_seconds=arguments.checkpoint_seconds,
        sources=sources_of(arguments.data, arguments.eval),
        extensions=brought,
    )


def compose(arguments: argparse.Namespace, sources: Mapping[str, str]) -> ExperimentSpec:
    """The spec that a command line asks for, with its data at other places if `sources` names some.

    A worker's `sources` are for all of its runs, which may have other data; those of a command line are for its run.

    Raises:
        ValueError: naming everything that is wrong with it.
    """
    words = [word for word in arguments.changes if word != "with"]
    base = from_config(json_files.read_json(arguments.spec)) if arguments.spec else default_spec()
    places = named_alike(base, sources) if arguments.settings else sources
    spec = changed(moved(base, places), parse_changes(words))
    if found := problems_of(spec):
        raise ValueError("\n".join(found))
    return spec


def preload() -> None:
    """Loads all that a run needs, MindSpore too, and computes nothing, so that runs can be forked from here."""
    _ignore_known_warnings()
    import sacred  # noqa: F401

    from experiments.tracking import sacred_observer  # noqa: F401
    from uflow import backend
    from uflow.models import flow_network, inference  # noqa: F401

    backend.Tensor  # noqa: B018  MindSpore is loaded at the first use of anything of it


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one experiment; 0 done, 2 wrong usage, 3 the run failed, 5 a fault of the machine, 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        settings = settings_of(arguments)
        spec = compose(arguments, settings.sources)
        if arguments.print_config:
            print(json_files.dump_json(to_config(spec)), end="")
            return 0
        check_place(settings.out)
        device.check_precision(spec.train.amp, settings.device)
        spec, initial = weights.with_initial(spec, arguments.checkpoint)
        settings = dataclasses.replace(settings, initial=initial)
        data = open_data(spec)
        spec = with_digests(spec, data)
        hooks = runner.Hooks(stop_on_signals())
        check_writable(settings.out)
    except (ValueError, DataError, OSError) as error:
        faults.tell(f"experiments.run: {error}")
        return faults.EXIT_CODE if faults.passing(error) else 2
    try:
        record = sacred_run(spec, settings, data, hooks)
    except faults.MachineFault as fault:
        faults.tell(f"experiments.run: {fault}; {spec.directory} is not finished, the same command continues it")
        return faults.EXIT_CODE
    except json_files.RecordError as error:
        faults.tell(f"experiments.run: {error}")
        return 2
    except Exception:
        traceback.print_exc()
        return 3
    if record is None:
        print(f"interrupted; the same command continues {spec.directory}")
        return INTERRUPTED
    print(f"{record.status}" + (f": {record.reason}" if record.reason else ""))
    for name, value in sorted(record.metrics.items()):
        print(f"  {name:32s} {value:.4f}")
    print(f"  runs/{spec.directory}")  # its log is a part of the results, which may be moved
    return 0 if record.status == "completed" else 3


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
