"""Trains one network into a directory of its own: `python -m experiments.train --data NAME:PATH ...`.

The directory holds the spec, the learning curve, the checkpoints that the same command continues from, the result,
and `best.ckpt` and `last.ckpt` for use elsewhere, each with a JSON file that says which network it is. A spec gives
the same numbers here and with `experiments.run`.

On several devices: `msrun --worker_num=N --local_worker_num=N --join=True experiments/train.py ...`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
import sys
import traceback
from collections.abc import Sequence

if __package__ in (None, ""):  # started by its path, as `msrun` does
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from experiments.cli import flags, terminal
from experiments.cli.flags import parse_changes
from experiments.cli.signals import INTERRUPTED, stop_on_signals
from experiments.data.catalog import names
from experiments.data.pairs import DataError
from experiments.data.skipping import Skipping
from experiments.execution import inputs, runner
from experiments.records import faults, json_files, layout
from experiments.records.atomic import check_writable
from experiments.records.run_settings import RunSettings
from experiments.spec import ExperimentSpec, canonical, changed, default_spec, flatten, from_config, problems_of
from experiments.tracking.redaction import check_place
from experiments.training import device, process_group, weights
from experiments.training.console import EPOCH, Monitor
from experiments.training.presets import PRESETS
from experiments.training.weights import NAMED
from uflow import extensions
from uflow.ops.precision import LEVELS

# flag -> option of the spec
_OPTIONS = {
    "data": "data.source",
    "eval": "evaluation.source",
    "height": "data.height",
    "width": "data.width",
    "fit": "data.fit",
    "lr": "train.learning_rate",
    "batch_size": "train.batch_size",
    "steps": "train.steps",
    "seed": "seed",
    "amp": "train.amp",
}


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m experiments.train",
        description="Trains one network into a directory; the same command continues it if it was interrupted.",
        epilog=f"An epoch is {EPOCH} steps, as in the reference. Data sets: {', '.join(names())}; several are mixed,"
        " NAME:PATH*3 is taken three times, frames:PATH?stride=1,2,4 pairs frames that are so far apart.",
        aliases={"checkpoint-dir": "out"},
    )
    add = made.add_argument
    made.shared("data", "eval")
    made.shared("out", required=True)
    made.shared("checkpoint", help="weights to start from: a .ckpt file or the directory of a run")
    add("--pre-trained", metavar="CKPT|True|False", help="the same, or whether --checkpoint is used at all")
    add("--preset", choices=(*PRESETS, "paper"), default="chairs",
        help="settings to start from, `paper` is `chairs` (%(default)s): "
        + "; ".join(f"{name}: {about}" for name, (about, _) in PRESETS.items()))  # fmt: skip
    add("--height", type=int, metavar="PX", help="rows of the images that are trained on")
    add("--width", type=int, metavar="PX", help="columns of the images that are trained on")
    add("--fit", choices=("resize", "crop"), help="how frames are brought to that size")
    add("--lr", type=float, metavar="RATE", help="learning rate before decay")
    add("--batch-size", type=int, metavar="N", help="pairs of an update, of all devices together")
    add("--steps", type=int, metavar="N", help="updates")
    add("--eval-every", type=int, metavar="STEPS", help="steps between evaluations of some validation pairs")
    add("--seed", type=int, metavar="N", help="of the initial weights, the order of the data and augmentation")
    add("--amp", choices=LEVELS, help="float16 for: O0 nothing, O2 convolutions, O3 the network (GPU, Ascend)")
    made.shared("device", "device-id", "skip-bad", "checkpoint-seconds", "extensions")
    add("--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", dest="changes",
        help="any other option, such as train.decay=cosine network.width=0.25 occlusion.name=brox")  # fmt: skip
    return made


def compose(given: argparse.Namespace) -> ExperimentSpec:
    """The spec that the flags ask for; `--set` counts more than other flags, these more than the preset.

    Raises:
        ValueError: naming everything that is wrong with it.
    """
    preset = changed(default_spec(), PRESETS["chairs" if given.preset == "paper" else given.preset][1])
    asked = {key: value for flag, key in _OPTIONS.items() if (value := getattr(given, flag)) is not None}
    spec = changed(preset, asked | parse_changes(given.changes))
    if given.eval_every is not None:
        if given.eval_every < 1:
            raise ValueError(f"--eval-every must be at least 1 step, got {given.eval_every}")
        spec = changed(spec, {"train.validations": math.ceil(spec.train.steps / given.eval_every)})
    found = problems_of(spec)
    if spec.initial:
        found.append("initial is for studies and experiments.run; here weights to start from are named by --checkpoint")
    if spec.train.batch_size % (size := process_group.group_size()):
        found.append(
            f"--batch-size {spec.train.batch_size} is the number of pairs of all devices together and cannot be shared"
            f" equally by {size} of them"
        )
    if found:
        raise ValueError("\n".join(found))
    return spec


def weights_to_start_from(given: argparse.Namespace) -> pathlib.Path | None:
    """The checkpoint that is named, `None` if none is or `--pre-trained False` says that it is not used.

    Raises:
        ValueError: if `--pre-trained` and `--checkpoint` contradict each other.
    """
    named, word = given.checkpoint, given.pre_trained
    used = {"true": True, "false": False}.get((word or "true").lower())
    if used is None and named:
        raise ValueError(f"--pre-trained {word} and --checkpoint {named} both name weights to start from: give one")
    if word and used and not named:
        raise ValueError(f"--pre-trained {word} needs the weights: --checkpoint CKPT")
    path = word if used is None else named if used else None
    return pathlib.Path(path).expanduser() if path else None


def check_same_spec(directory: pathlib.Path, spec: ExperimentSpec) -> None:
    """Raises `ValueError` if a directory holds the training of another spec, naming the options that differ."""
    path = directory / layout.SPEC
    if not path.exists():
        return
    there, here = (flatten(canonical(s)) for s in (from_config(json_files.read_json(path)), spec))
    different = [key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)]
    if different:
        told = ", ".join(
            f"{key} ({there.get(key, 'unset')} there, {here.get(key, 'unset')} asked for)" for key in different
        )
        onwards = _onwards(directory, spec, different)
        raise ValueError(f"--out {directory}: holds another training, which differs in {told}{onwards}")


def _onwards(directory: pathlib.Path, spec: ExperimentSpec, different: Sequence[str]) -> str:
    """How to train on where only the length differs; the schedules follow it, so a run does not get another one."""
    last = directory / "last.ckpt"
    if not set(different) <= {"train.steps", "train.validations"} or not last.exists():
        return ""
    return (
        f"; to go on from its weights with a schedule and an optimizer of its own, add --checkpoint {last}"
        f" and name another --out; --steps {spec.train.steps} counts from there"
    )


def prepared(given: argparse.Namespace) -> tuple[ExperimentSpec, RunSettings, inputs.Data]:
    """All that is needed to train, checked; writes nothing but makes the directory if that is all that is missing.

    Raises:
        ValueError, DataError, OSError, records.RecordError: for bad input.
    """
    directory = given.out.resolve()
    check_place(directory)
    brought = extensions.load(given.extensions)
    spec = compose(given)
    device.check_precision(spec.train.amp, given.device)
    settings = RunSettings(
        out=directory,
        device=given.device,
        device_id=given.device_id,
        checkpoint_seconds=given.checkpoint_seconds,
        directory=directory,
        portable=True,
        exceptions=False,
        wait=False,
        extensions=brought,
    )
    data = inputs.open_data(spec, given.skip_bad)
    spec = inputs.with_digests(spec, data)
    spec, initial = weights.with_initial(spec, weights_to_start_from(given))
    check_same_spec(directory, spec)
    check_writable(directory)
    return spec, dataclasses.replace(settings, initial=initial), data


def main(argv: Sequence[str] | None = None) -> int:
    """Trains; 0 done, 2 wrong usage, 3 training failed, 5 a fault of the machine, 130 interrupted."""
    given = parser().parse_args(argv)
    try:
        spec, settings, data = prepared(given)
    except (ValueError, OSError) as error:
        faults.tell(f"experiments.train: {error}")
        return faults.EXIT_CODE if faults.passing(error) else 2
    if process_group.is_scheduler():
        device.prepare("CPU")
        process_group.init_process_group()
        return 0
    return _train(spec, settings, data)


def _train(spec: ExperimentSpec, settings: RunSettings, data: inputs.Data) -> int:
    monitor = Monitor()
    hooks = runner.Hooks(stop_on_signals(), monitor)
    _introduce(spec, settings, data)
    done_before = layout.finished(settings.directory)
    try:
        record = runner.execute(spec, settings, data, hooks)
    except (faults.MachineFault, DataError, json_files.RecordError) as error:
        faults.tell(f"experiments.train: {error}; the same command continues from the last checkpoint")
        return faults.EXIT_CODE if isinstance(error, faults.MachineFault) else 3
    except Exception:
        traceback.print_exc()
        return 3
    if not done_before and record is not None:
        monitor.finish_epoch()
    if summary := monitor.summary():
        print(summary)
    if record is None:
        print(f"interrupted; the same command continues in {settings.directory}")
        return INTERRUPTED
    print(f"{record.status} after {record.step} steps" + (f": {record.reason}" if record.reason else ""))
    for name, value in sorted(record.metrics.items()):
        print(f"  {name:32s} {value:.4f}")
    kept = [name for name in NAMED if (settings.directory / f"{name}.ckpt").exists()]
    print(f"  {settings.directory}: {', '.join(f'{name}.ckpt' for name in kept) or 'no weights'}")
    return 0 if record.status == "completed" else 3


def _introduce(spec: ExperimentSpec, settings: RunSettings, data: inputs.Data) -> None:
    """Says what is about to be trained, and what was left out."""
    train, size = spec.train, process_group.group_size()
    shared = f", {train.batch_size // size} on each of {size} devices" if size > 1 else ""
    print(
        f"run {spec.run_id} in {settings.directory}: {train.steps} steps of {train.batch_size} pairs{shared},"
        f" {spec.data.height}x{spec.data.width}, from {len(data.training)} pairs of {data.training.name};"
        f" an epoch is {EPOCH} steps"
    )
    if data.validation is None:
        print("no validation pairs with true flow: no best.ckpt, only last.ckpt")
    if data.tested is None:
        print(f"{data.training.name} has no true flow: nothing is evaluated, --eval names other data for it")
    sets = [pairs for pairs in (data.training, data.validation, data.tested) if pairs is not None]
    for note in dict.fromkeys(pairs.note for pairs in sets if pairs.note):
        print(f"note: {note}")
    bad = dict.fromkeys(problem for s in sets if isinstance(s, Skipping) for problem in s.bad.values())
    for problem in bad:
        print(f"skipped: {problem}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
