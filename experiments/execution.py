"""The whole of one run: data, training, evaluation and the files that are left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import platform
import resource
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from experiments import checkpoints, device, faults, locks, records
from experiments.code_version import code_version
from experiments.data.batches import check_room
from experiments.data.pairs import DataError, PairSet, check_known
from experiments.data.skipping import without_bad
from experiments.data.sources import absolute, check_once, open_source
from experiments.run_settings import RunSettings
from experiments.spec import ExperimentSpec, canonical, components, from_config, to_config, wanted_truth

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


@dataclasses.dataclass(frozen=True)
class Data:
    """The pairs of a run.

    Attributes:
        training: what is trained on.
        validation: what is evaluated on the way, of the training data or, if they have no true flow, of the data of
            the evaluation; `None` if neither has.
        tested: what the result is measured on; `None` if no data were named for it and the training data have no flow.
    """

    training: PairSet
    validation: PairSet | None
    tested: PairSet | None


def open_data(spec: ExperimentSpec, skip_bad: int = 0) -> Data:
    """The pairs of a run, without up to `skip_bad` pairs of each set that cannot be read.

    Raises:
        DataError: if data is missing, or more pairs than that cannot be read.
    """
    training, tested = open_pairs(spec, "data", "train"), _tested(spec)
    training = without_bad(training, skip_bad)
    tested = None if tested is None else without_bad(tested, skip_bad)
    for section in ("data", "evaluation"):
        validation = open_pairs(spec, section, "validation")
        if "flow" in validation.provides:
            return Data(training, without_bad(validation, skip_bad), tested)
    return Data(training, None, tested)


def _tested(spec: ExperimentSpec) -> PairSet | None:
    """The pairs to evaluate on; `None` if those are the training data, which have no true flow."""
    pairs = open_pairs(spec, "evaluation", "test")
    return pairs if spec.evaluation.source or "flow" in pairs.provides else None


def open_pairs(spec: ExperimentSpec, section: str, split: str) -> PairSet:
    """The pairs of a split of the data (`data`) or of what is evaluated on (`evaluation`)."""
    if section == "evaluation":
        check_once(spec.evaluation.source)
    source = getattr(spec, section).source or spec.data.source
    data = spec.data
    return open_source(source, split, height=data.height, width=data.width, scenes=data.scenes)


def with_digests(spec: ExperimentSpec, data: Data | None = None) -> ExperimentSpec:
    """The spec with the digests and absolute paths of its data, after a check of the data's headers and sizes.

    So of what it starts from.

    Args:
        spec: the experiment.
        data: its own pairs, if they are open already.

    Raises:
        DataError: if the data is missing or damaged, is not what a digest in the spec says, is too small for the crop,
            or what was named to evaluate on has no pixel for it.
    """
    if spec.initial:
        spec = dataclasses.replace(spec, initial=with_digests(spec.initial))
    if data is None:
        training, tested = open_pairs(spec, "data", "train"), _tested(spec)
    else:
        training, tested = data.training, data.tested
    for pairs in {id(p): p for p in (training, tested) if p is not None}.values():
        pairs.verify()
    if lacking := wanted_truth(spec) - training.provides:
        raise DataError(
            f"{training.name} has no ground truth {' and no '.join(sorted(lacking))}, which this experiment trains with"
            " (train.supervised or occlusion.name)"
        )
    if tested is not None:
        _check_truth(tested)
    if spec.data.fit == "crop":  # of the other pairs, whoever reads them
        check_room(training.name, training[0], spec.data.height, spec.data.width)
    # the digest of a short set stands for its content; all splits of a set come from the same files
    found = {"data": training.digest[:16], "evaluation": "" if tested is None else tested.digest[:16]}
    for section, value in found.items():
        if (given := getattr(spec, section).digest) and given != value:
            raise DataError(
                f"the {section} of this spec had digest {given}, what is there now has {value}: the data has changed,"
                " so this is another experiment"
            )
    evaluated = spec.evaluation.source and absolute(spec.evaluation.source)
    return dataclasses.replace(
        spec,
        data=dataclasses.replace(spec.data, digest=found["data"], source=absolute(spec.data.source)),
        evaluation=dataclasses.replace(spec.evaluation, digest=found["evaluation"], source=evaluated),
    )


def _check_truth(tested: PairSet) -> None:
    """Raises `DataError` if there is nothing to evaluate on."""
    if "flow" not in tested.provides:
        raise DataError(
            f"{tested.name} has no ground truth flow to evaluate on; give other data with --eval, or none to train"
            " without an evaluation"
        )
    check_known(tested.name, (tested[index] for index in range(len(tested))))


def check_writable(out: pathlib.Path, option: str = "--out") -> None:
    """Raises `OSError` with one sentence if files cannot be made in a directory, which is made if it is missing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".writable.{os.getpid()}"
        try:
            probe.write_bytes(b"\n")  # a full disk may still take a file that is empty
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{option} {out}: cannot be written to ({error.strerror})") from error


def directory_of(spec: ExperimentSpec, settings: RunSettings) -> pathlib.Path:
    """Where the files of a run are."""
    return settings.directory or settings.out / "runs" / spec.directory


def execute(
    spec: ExperimentSpec, settings: RunSettings, data: Data | None = None, hooks: Hooks | None = None
) -> records.RunRecord | None:
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
        return _joined(spec, settings, hooks or Hooks(), data)
    except Exception as error:
        if fault := faults.of(error):
            raise fault from error
        raise


def _joined(spec: ExperimentSpec, settings: RunSettings, hooks: Hooks, data: Data | None) -> records.RunRecord | None:
    """Like `execute`, in one process or as one of several."""
    if device.team_size() == 1:
        return _execute(spec, settings, hooks, data, None)
    directory = directory_of(spec, settings)
    taken = device.prepare(settings.device, settings.device_id, directory / "mindspore")
    team = device.join()
    if team.tracks:
        return _execute(spec, settings, hooks, data, (taken, team))
    return _train_and_evaluate(spec, settings, hooks, data, Cost(None), (taken, team))


def _execute(
    spec: ExperimentSpec,
    settings: RunSettings,
    hooks: Hooks,
    data: Data | None,
    joined: tuple[str, device.Team] | None,
    weights: bool = False,
) -> records.RunRecord | None:
    """The record of a run, trained or continued if it is not there, or if its `weights` are wanted and are not there.

    What was found is kept then: on another machine the weights are not the same bits.
    """
    directory = directory_of(spec, settings)
    with locks.held(directory / "lock", give_up=hooks.stop if settings.wait else lambda: True) as alone:
        if not alone and not settings.wait:
            raise records.RecordError(f"{directory}: another process is training there")
        if not alone:
            return None
        done = _finished(directory, spec)
        if done is not None and not (weights and done.status == "completed" and weights_of(directory, spec) is None):
            return done
        _clear(directory)
        _write_spec(directory, spec)
        first = None
        if spec.initial and not checkpoints.latest(directory / "checkpoints"):
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
                record = _train_and_evaluate(spec, settings, hooks, data, cost, joined)
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
            records.write_result(directory, record)
        return record


def weights_of(directory: pathlib.Path, spec: ExperimentSpec) -> pathlib.Path | None:
    """The file with the weights that a run ended with; `None` if it is not there, or not whole."""
    found = checkpoints.latest(directory / "checkpoints")
    return found.file if found and found.step >= spec.train.steps else None


def _clear(directory: pathlib.Path) -> None:
    """Removes what a killed process was writing of the files that only the holder of the run's lock writes."""
    for name in ("cost.json", "metrics.jsonl", "result.json"):
        for path in directory.glob(f".{name}.*.tmp"):
            path.unlink(missing_ok=True)


def _finished(directory: pathlib.Path, spec: ExperimentSpec) -> records.RunRecord | None:
    """The record of a run that is done; `None` if it is not.

    A damaged record is set aside, and the run is finished once more from its last checkpoint.
    """
    path = directory / "result.json"
    if not path.exists():
        return None
    try:
        return records.read_result(directory, spec.run_id)
    except records.DamagedError as error:
        aside = path.with_name("result.json.damaged")
        os.replace(path, aside)
        print(f"warning: {error}; it is kept as {aside.name}, and the run is finished again", flush=True)
        return None


def _write_spec(directory: pathlib.Path, spec: ExperimentSpec) -> None:
    """Writes `spec.json` anew; paths may differ from the ones it was written with, and a damaged one is replaced."""
    path = directory / "spec.json"
    try:
        other = path.exists() and from_config(records.read_json(path)).run_id != spec.run_id
    except records.DamagedError as error:
        print(f"warning: {error}; it is written again", flush=True)
        other = False
    if other:
        raise records.RecordError(f"{path}: holds another spec than its directory says")
    records.write_json(path, to_config(spec))


def _record(spec: ExperimentSpec, status: str, reason: str = "", **known: Any) -> records.RunRecord:
    values = {"step": 0, "metrics": {}, "validation": {}, "frames": {}} | known
    return records.RunRecord(
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
    joined: tuple[str, device.Team] | None,
) -> records.RunRecord | None:
    from experiments import graph_cache, step, training
    from experiments.evaluation import evaluate
    from uflow.inference import Inference
    from uflow.network import FlowNetwork

    if data is None:
        data = open_data(spec)
        with_digests(dataclasses.replace(spec, initial=None), data)
    directory = directory_of(spec, settings)
    if joined is None:
        joined = device.prepare(settings.device, settings.device_id, directory / "mindspore"), device.Team()
    cost.device, team = joined
    place = training.Place(directory=directory, settings=settings, team=team)
    network = FlowNetwork(spec.network, spec.normalization)
    update = step.build_optimizer(spec, network)
    inference = Inference(network, spec.evaluation.size)
    inference.set_train(False)
    validation = data.validation

    def validate() -> Mapping[str, float]:
        if validation is None:
            return {}
        return {f"validation/{k}": v for k, v in evaluate(inference, validation, VALIDATION_PAIRS).metrics.items()}

    with contextlib.ExitStack() as stack:
        graphs: list[graph_cache.Stored] = []

        def starting(start: int) -> None:
            cost.start = start
            # the graphs of several processes differ, for each knows its number; those of a second run are counted on
            if team.size == 1 and not _COMPILED:
                graphs.append(stack.enter_context(graph_cache.stored(graph_cache.folder(), spec, start)))
            _COMPILED.append(spec.run_id)

        outcome = training.train(
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
        final = evaluate(inference, data.tested) if data.tested is not None else None
        validated = evaluate(inference, validation).metrics if validation is not None else {}
        for stored in graphs:
            stored.complete = outcome.status == "completed"
    if final is None:
        device.leave_compile_cache()
        reason = outcome.reason or f"not evaluated, {data.training.name} has no ground truth flow"
        return _record(spec, outcome.status, reason, step=outcome.step)
    if not final.finite:
        return _record(spec, "diverged", "the flow of the trained network is not finite", step=outcome.step)
    device.leave_compile_cache()
    if team.tracks:
        _draw(spec, directory, inference, data.tested, final.frames)
    return _record(
        spec, outcome.status, outcome.reason, step=outcome.step,
        metrics=final.metrics, frames=final.frames, validation=validated,
    )  # fmt: skip


def _draw(
    spec: ExperimentSpec, directory: pathlib.Path, network: Any, tested: PairSet, frames: Mapping[str, Any]
) -> None:
    """Writes pictures of the evaluated network; they illustrate a result, which stands without them too."""
    from experiments import pictures

    try:
        acting = components(spec).active_at(spec.train.steps - 1, spec.train.steps)
        errors = next((row for key, row in frames.items() if key.startswith("epe/") and key.endswith("/all")), ())
        pictures.write(directory, network, acting.occlusion, tested, errors)
    except Exception as error:
        print(f"warning: no pictures of this run: {type(error).__name__}: {error}", flush=True)


class Cost:
    """What a run has cost so far, over all attempts: `cost.json`, which differs from time to time.

    Without a directory nothing is written, for a process that does not track.
    """

    def __init__(self, directory: pathlib.Path | None):
        self.path = directory and directory / "cost.json"
        self.before: dict[str, Any] = {}
        with contextlib.suppress(records.RecordError):
            before = records.read_json(self.path) if self.path else {}
            self.before = before if isinstance(before, dict) else {}
        self.began = time.monotonic()
        self.device = ""
        self.start = 0
        self.ms_per_step: float | None = None
        self.waited = 0.0
        self.write()

    def progress(self, line: Mapping[str, Any], pace: Any) -> None:
        """Prints a line of the learning curve to the run's log."""
        shown = " ".join(f"{key}={value:.5g}" for key, value in line.items() if key != "step")
        with contextlib.suppress(OSError):  # the line is in metrics.jsonl, whose failure counts
            print(f"step {line['step']}  {time.monotonic() - self.began:.1f} s  {shown}", flush=True)

    def write(self) -> None:
        """Writes the file anew."""
        if self.path is None:
            return
        ours = time.monotonic() - self.began
        plain = {
            "seconds": self.before.get("seconds", 0.0) + ours,
            "attempts": self.before.get("attempts", 0) + 1,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "ms_per_step": self.ms_per_step if self.ms_per_step is not None else self.before.get("ms_per_step"),
            "data_wait_seconds": self.before.get("data_wait_seconds", 0.0) + self.waited,
            "started_at_step": self.start,
            "device": self.device,
            "host": platform.node(),
            "code": code_version(),
        }
        records.write_json(self.path, plain)
