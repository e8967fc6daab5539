"""The whole of one run: data, training, evaluation and the files that are left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.data.pairs import PairSet
from experiments.execution.cost import Cost
from experiments.execution.inputs import Data, open_data, with_digests
from experiments.records import faults, json_files, layout, locks, run_record
from experiments.records.run_settings import RunSettings
from experiments.spec import ExperimentSpec, canonical, components, from_config, to_config
from experiments.training import checkpoints, device, process_group
from experiments.training.process_group import ProcessGroup

VALIDATION_PAIRS = 16  # evaluated on the way; the final validation takes all
_COMPILED: list[str] = []  # run ids of which this process has compiled graphs, which are stored by their number in it


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What a run asks and tells while it goes on.

    Attributes:
        stop: asked after every step whether to save and stop.
        report: told every line of the learning curve and how fast training was; `None` prints it.
    """

    stop: Callable[[], bool] = lambda: False
    report: Callable[[Mapping[str, Any], Any], None] | None = None


def directory_of(spec: ExperimentSpec, settings: RunSettings) -> pathlib.Path:
    """Where the files of a run are."""
    return settings.directory or layout.run_directory(settings.out, spec.directory)


def execute(
    spec: ExperimentSpec, settings: RunSettings, data: Data | None = None, hooks: Hooks | None = None
) -> run_record.RunRecord | None:
    """Runs or continues one spec and returns its record; `None` if it was asked to stop on the way.

    A run that exists is not run again. An exception is a result too: the run is recorded as `failed` with its reason,
    unless the reason is a fault of the machine. Of several processes that train together the first does all that is
    written down.

    Args:
        spec: what to run.
        settings: how.
        data: the pairs, if they are open and verified already.
        hooks: what is asked and told on the way.

    Raises:
        faults.MachineFault: if a file could not be read or written, as on a full disk; the run is not finished, and is
            continued from its last checkpoint the next time.
        records.RecordError: if the directory holds another run.
    """
    try:
        return _in_group(spec, settings, hooks or Hooks(), data)
    except Exception as error:
        if fault := faults.of(error):
            raise fault from error
        raise


def _in_group(
    spec: ExperimentSpec, settings: RunSettings, hooks: Hooks, data: Data | None
) -> run_record.RunRecord | None:
    """Like `execute`, in one process or as one of several."""
    if process_group.group_size() == 1:
        return _execute(spec, settings, hooks, data, None)
    directory = directory_of(spec, settings)
    taken = device.prepare(settings.device, settings.device_id, directory / "mindspore")
    group = process_group.init_process_group()
    if group.is_main:
        return _execute(spec, settings, hooks, data, (taken, group))
    return _train_and_evaluate(spec, settings, hooks, data, Cost(None), (taken, group))


def _execute(
    spec: ExperimentSpec,
    settings: RunSettings,
    hooks: Hooks,
    data: Data | None,
    prepared: tuple[str, ProcessGroup] | None,
    weights: bool = False,
) -> run_record.RunRecord | None:
    """The record of a run, trained or continued if it is not there, or if its `weights` are wanted and are not there.

    What was found is kept then: on another machine the weights are not the same bits.
    """
    directory = directory_of(spec, settings)
    with locks.held(directory / layout.LOCK, give_up=hooks.stop if settings.wait else lambda: True) as alone:
        if not alone and not settings.wait:
            raise json_files.RecordError(f"{directory}: another process is training there")
        if not alone:
            return None
        done = _finished(directory, spec)
        if done is not None and not (weights and done.status == "completed" and weights_of(directory, spec) is None):
            return done
        _clear(directory)
        _write_spec(directory, spec)
        first = None
        if spec.initial and not checkpoints.latest(directory / layout.CHECKPOINTS):
            ahead = dataclasses.replace(settings, directory=None)
            place = directory_of(spec.initial, ahead)
            print(f"starts from {place.name}", flush=True)
            with locks.waiting(directory):
                first = _execute(spec.initial, ahead, hooks, None, None, weights=True)
            if first is None:
                return None
            settings = dataclasses.replace(settings, initial=weights_of(place, spec.initial))
        cost = Cost(directory)
        try:
            if first and first.status != "completed":
                reason = f"it starts from {spec.initial.directory}, which {first.status}: {first.reason}"
                record = _record(spec, "failed", reason)
            else:
                record = _train_and_evaluate(spec, settings, hooks, data, cost, prepared)
        except Exception as error:
            if hooks.stop():
                return None
            if faults.cause(error) or isinstance(error, ImportError):
                with contextlib.suppress(OSError):
                    cost.write()
                raise
            if not settings.exceptions:
                raise
            traceback.print_exc()
            record = _record(spec, "failed", f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        cost.write()
        if record is not None and done is None:
            run_record.write_result(directory, record)
        return record


def weights_of(directory: pathlib.Path, spec: ExperimentSpec) -> pathlib.Path | None:
    """The file with the weights that a run ended with; `None` if it is not there, or not whole."""
    found = checkpoints.latest(directory / layout.CHECKPOINTS)
    return found.file if found and found.step >= spec.train.steps else None


def _clear(directory: pathlib.Path) -> None:
    """Removes what a killed process was writing of the files that only the holder of the run's lock writes."""
    for name in (layout.COST, layout.METRICS, layout.RESULT):
        for path in directory.glob(f".{name}.*.tmp"):
            path.unlink(missing_ok=True)


def _finished(directory: pathlib.Path, spec: ExperimentSpec) -> run_record.RunRecord | None:
    """The record of a run that is done; `None` if it is not.

    A damaged record is set aside, and the run is finished once more from its last checkpoint.
    """
    path = directory / layout.RESULT
    if not path.exists():
        return None
    try:
        return run_record.read_result(directory, spec.run_id)
    except json_files.DamagedError as error:
        aside = path.with_name("result.json.damaged")
        os.replace(path, aside)
        print(f"warning: {error}; it is kept as {aside.name}, and the run is finished again", flush=True)
        return None


def _write_spec(directory: pathlib.Path, spec: ExperimentSpec) -> None:
    """Writes `spec.json` anew; paths may differ from the ones it was written with, and a damaged one is replaced."""
    path = directory / layout.SPEC
    try:
        other = path.exists() and from_config(json_files.read_json(path)).run_id != spec.run_id
    except json_files.DamagedError as error:
        print(f"warning: {error}; it is written again", flush=True)
        other = False
    if other:
        raise json_files.RecordError(f"{path}: holds another spec than its directory says")
    json_files.write_json(path, to_config(spec))


def _record(spec: ExperimentSpec, status: str, reason: str = "", **known: Any) -> run_record.RunRecord:
    values = {"step": 0, "metrics": {}, "validation": {}, "frames": {}} | known
    return run_record.RunRecord(
        run_id=spec.run_id,
        status=status,
        reason=reason,
        spec=canonical(spec),
        protocol=spec.evaluation.numbers,
        **values,
    )


def _train_and_evaluate(
    spec: ExperimentSpec,
    settings: RunSettings,
    hooks: Hooks,
    data: Data | None,
    cost: Cost,
    prepared: tuple[str, ProcessGroup] | None,
) -> run_record.RunRecord | None:
    from experiments.evaluation.evaluator import evaluate
    from experiments.evaluation.regions import names_of
    from experiments.training import graph_cache, loop, step
    from uflow.models.inference import Inference

    if data is None:
        data = open_data(spec)
        with_digests(dataclasses.replace(spec, initial=None), data)
    directory = directory_of(spec, settings)
    if prepared is None:
        prepared = device.prepare(settings.device, settings.device_id, directory / "mindspore"), ProcessGroup()
    cost.device, group = prepared
    place = loop.Place(directory=directory, settings=settings, group=group)
    network = spec.network(spec.normalization)
    update = step.build_optimizer(spec, network)
    inference = Inference(network, spec.evaluation.size)
    inference.set_train(False)
    validation = data.validation
    measured = functools.partial(evaluate, inference, more=names_of(spec.evaluation.regions))

    def validate() -> Mapping[str, float]:
        if validation is None:
            return {}
        return {f"validation/{k}": v for k, v in measured(validation, VALIDATION_PAIRS).metrics.items()}

    with contextlib.ExitStack() as stack:
        stack.enter_context(_notes_told(data))
        graphs: list[graph_cache.Stored] = []

        def starting(start: int) -> None:
            cost.start = start
            # the graphs of several processes differ, for each knows its number; those of a second run are counted on
            if group.size == 1 and not _COMPILED:
                graphs.append(stack.enter_context(graph_cache.stored(graph_cache.folder(), spec, start)))
            _COMPILED.append(spec.run_id)

        outcome = loop.train(
            spec,
            data.training,
            network,
            update,
            place,
            stop=hooks.stop,
            validate=validate,
            report=hooks.report or cost.progress,
            starting=starting,
        )
        cost.ms_per_step, cost.waited = outcome.ms_per_step, outcome.waited
        if outcome.status == "interrupted":
            return None
        if outcome.status == "diverged":
            return _record(spec, "diverged", outcome.reason, step=outcome.step)
        final = measured(data.tested) if data.tested is not None else None
        validated = measured(validation).metrics if validation is not None else {}
        for stored in graphs:
            stored.complete = outcome.status == "completed"
    if final is None:
        device.leave_compile_cache()
        reason = outcome.reason or f"not evaluated, {data.training.name} has no ground truth flow"
        return _record(spec, outcome.status, reason, step=outcome.step)
    if not final.finite:
        return _record(spec, "diverged", "the flow of the trained network is not finite", step=outcome.step)
    device.leave_compile_cache()
    if group.is_main:
        _draw(spec, directory, inference, data.tested, final.frames)
    return _record(
        spec, outcome.status, outcome.reason, step=outcome.step,
        metrics=final.metrics, frames=final.frames, validation=validated,
    )  # fmt: skip


@contextlib.contextmanager
def _notes_told(data: Data) -> Iterator[None]:
    """Prints what the block has found out about the data by reading them."""
    sets = [pairs for pairs in (data.training, data.validation, data.tested) if pairs is not None]
    known = [pairs.note for pairs in sets]
    yield
    fresh = (pairs.note for pairs, note in zip(sets, known, strict=True) if pairs.note != note)
    for note in dict.fromkeys(fresh):
        print(f"note: {note}", flush=True)


def _draw(
    spec: ExperimentSpec, directory: pathlib.Path, network: Any, tested: PairSet, frames: Mapping[str, Any]
) -> None:
    """Writes pictures of the evaluated network; they illustrate a result, which stands without them too."""
    from experiments.visualization import run_gallery

    try:
        acting = components(spec).active_at(spec.train.steps - 1, spec.train.steps)
        errors = next((row for key, row in frames.items() if key.startswith("epe/") and key.endswith("/all")), ())
        run_gallery.write(directory, network, acting.occlusion, tested, errors)
    except Exception as error:
        print(f"warning: no pictures of this run: {type(error).__name__}: {error}", flush=True)
