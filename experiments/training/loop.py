"""The training loop: from a spec and image pairs to trained parameters, resumable at any step."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.data.loader import Batches
from experiments.data.pairs import PairSet
from experiments.data.prefetch import ahead
from experiments.records import json_files, locks
from experiments.spec import ExperimentSpec, components, prefix_id, wanted_truth
from experiments.training import checkpoints, step, weights
from experiments.training.run_files import CurveFile, Place, State
from experiments.training.shared_prefix import TEACHER, load_prefix, prefix_folder, save_prefix, without_teacher
from uflow import backend as ms
from uflow import registry, schedule
from uflow.interfaces import FlowCell
from uflow.losses.extent import EXTENT
from uflow.models.flow_network import initialize
from uflow.optimizer import Average

REPORT_EVERY = 10  # steps between lines of metrics.jsonl; each line is the mean of its steps
COLLAPSED_REPORTS = 3  # lines in a row with too few visible pixels, or a flow out of the frame, that end a run
INSIDE = 0.1  # share of pixels whose flow stays in the frame under which a flow has left it
LONGEST = 1.0  # mean length of a flow in the frame, in diagonals of the frame


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How training ended: `completed`, `diverged`, `collapsed`, or `interrupted` (to be continued)."""

    status: str
    step: int
    reason: str = ""
    ms_per_step: float | None = None
    waited: float = 0.0


@dataclasses.dataclass
class Pace:
    """Time spent since the last line of the learning curve, without validation and without compiling.

    Attributes:
        steps: steps that were timed.
        seconds: what they took, waiting for data included.
        waited: what of it was waiting for data, s.
    """

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, seconds: float, waited: float) -> None:
        """Counts a step."""
        self.steps, self.seconds, self.waited = self.steps + 1, self.seconds + seconds, self.waited + waited


def report_steps(spec: ExperimentSpec) -> tuple[frozenset[int], frozenset[int]]:
    """Steps after which a line is written, and those of them with an evaluation on validation pairs."""
    steps = spec.train.steps
    lines = set(range(REPORT_EVERY, steps + 1, REPORT_EVERY)) | {steps} | set(components(spec).starts(steps))
    wanted = spec.train.validations
    validated = {min(s for s in lines if s >= schedule.step_at(i / wanted, steps)) for i in range(1, wanted + 1)}
    return frozenset(lines), frozenset(validated)


def begin(spec: ExperimentSpec, parameters: Mapping[str, Any], network: FlowCell, place: Place) -> State:
    """Sets the parameters to the furthest training there is, and returns where that is.

    The run's own checkpoint comes first, then the longest prefix that another run has left, then the weights that the
    spec names, then initialization.

    Raises:
        records.RecordError: if the weights that the spec names are not there or are those of another network.
    """
    if place.group.is_main:
        checkpoints.clear(place.checkpoints)
    if own := checkpoints.latest(place.checkpoints):
        # the last one is for use and not for going on, see `_Job.save`
        done = own.step >= spec.train.steps
        checkpoints.load_parameters(own.file, checkpoints.parameters_of((network,)) if done else parameters)
        return State.of(own)
    for shared in sorted(place.settings.shared_steps, reverse=True):
        folder = prefix_folder(spec, place, shared)
        if folder and (whole := load_prefix(folder)):
            found, curve = whole
            checkpoints.load_parameters(found.file, without_teacher(parameters))
            json_files.atomic_write(place.metrics, curve)
            return State.of(found)
    initialize(network, spec.seed)
    if spec.train.initial or spec.initial:
        weights.load_initial(place.settings.initial, spec, network)
    return State()


def train(
    spec: ExperimentSpec,
    pairs: PairSet,
    network: FlowCell,
    update: Any,
    place: Place,
    *,
    stop: Callable[[], bool],
    validate: Callable[[], Mapping[str, float]],
    report: Callable[[Mapping[str, Any], Pace], None] = lambda line, pace: None,
    starting: Callable[[int], None] = lambda start: None,
) -> Outcome:
    """Trains until the last step, a failure that is a result, or a request to stop; always leaves a checkpoint.

    The last step is `train.steps`. The reference asks at the end of an epoch of 1000 steps whether the step at its
    beginning was the last one, and so trains for one epoch more than it was told to.

    Args:
        spec: what to train.
        pairs: training pairs; their ground truth is not touched.
        network: its parameters are set.
        update: the optimizer of its parameters.
        place: where files are kept.
        stop: asked after every step; True saves and returns.
        validate: evaluates the network on a few validation pairs.
        report: told every line of the learning curve, and how fast training was since the last one.
        starting: told the step at which training starts, before anything is compiled.
    """
    parameters = checkpoints.parameters_of((network, update))
    teacher = step.build_teacher(spec)
    if teacher is not None:
        frozen = checkpoints.parameters_of((teacher,))
        parameters |= {f"{TEACHER}{name}": parameter for name, parameter in frozen.items()}
    with contextlib.ExitStack() as prefix_lock:
        state = begin(spec, parameters, network, place)
        shared = sorted(place.settings.shared_steps)
        ahead_of_us = [s for s in shared if s > state.step and prefix_folder(spec, place, s)]
        if state.step == 0 and ahead_of_us:
            # only one run trains a prefix; the others wait for it, since they would only repeat it
            lock = place.prefixes / f"{prefix_id(spec, ahead_of_us[-1])}.lock"
            with locks.waiting(place.directory):
                alone = prefix_lock.enter_context(locks.held(lock, give_up=stop))
            if not alone:
                return Outcome("interrupted", 0)
            state = begin(spec, parameters, network, place)
            if state.step:
                prefix_lock.close()
        values = b"".join(parameters[name].asnumpy().tobytes() for name in sorted(parameters))
        mark = zlib.crc32(values)
        place.group.check_same((state.step % 2**16, state.step >> 16), "step (do they see the same directory?)")
        place.group.check_same((mark % 2**16, mark >> 16), "start (do they read the same checkpoint?)")
        starting(state.step)
        validate()  # always first, so that every process compiles its graphs in the same order
        job = _Job(spec, pairs, network, update, teacher, parameters, place, stop, validate, report)
        return _loop(job, state, prefix_lock)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What stays the same while training goes on; see `train`."""

    spec: ExperimentSpec
    pairs: PairSet
    network: FlowCell
    update: Any
    teacher: FlowCell | None
    parameters: Mapping[str, Any]
    place: Place
    stop: Callable[[], bool]
    validate: Callable[[], Mapping[str, float]]
    report: Callable[[Mapping[str, Any], Pace], None]

    def batches(self) -> Batches:
        """The training data."""
        data, train = self.spec.data, self.spec.train
        truth = wanted_truth(self.spec)
        size = train.batch_size, data.height, data.width
        part = self.place.group.rank, self.place.group.size
        more = None if registry.entry_of(self.spec.augmentation).name == "none" else self.spec.augmentation
        return Batches(self.pairs, *size, self.spec.seed, data.augmentation, data.fit, truth, part, data.margin, more)

    def freeze_teacher(self) -> None:
        """Gives a frozen teacher, or one that is an average from now on, the network as it is."""
        for name, parameter in checkpoints.parameters_of((self.network,)).items():
            self.parameters[f"{TEACHER}{name}"].set_data(ms.Tensor(parameter.asnumpy()))

    def averaging(self) -> Average:
        """What makes a mean teacher follow the network."""
        names = sorted(checkpoints.parameters_of((self.network,)))
        return Average([self.parameters[f"{TEACHER}{n}"] for n in names], [self.parameters[n] for n in names])

    def save(self, state: State, keep: int = 2) -> None:
        """Writes a checkpoint, in the process that tracks; after the last step the weights of the network only."""
        if not self.place.group.is_main:
            return
        done = state.step >= self.spec.train.steps
        parameters = checkpoints.parameters_of((self.network,)) if done else self.parameters
        checkpoints.save(self.place.checkpoints, state.step, parameters, state.memory(), keep)
        if self.place.settings.portable:
            weights.save(self.place.directory, "last", self.spec, state.step, self.network)

    def keep_best(self, state: State, line: Mapping[str, Any]) -> None:
        """Keeps the network if its end-point error on the validation pairs is less than ever before."""
        errors = [v for k, v in line.items() if k.startswith("validation/epe/") and k.endswith("/all")]
        if not self.place.settings.portable or not errors or (state.best is not None and errors[0] >= state.best):
            return
        state.best = float(errors[0])
        if self.place.group.is_main:
            measured = {name: value for name, value in line.items() if name.startswith("validation/")}
            weights.save(self.place.directory, "best", self.spec, state.step, self.network, measured)


def _left_frame(extent: Sequence[Sequence[float]]) -> str:
    """What is wrong with flows that leave the frame, where nothing is compared any more; else empty.

    Looked at in every run: what has left the frame does not count, so the loss is 0, whatever the components. It is the
    median that is looked at, for a step with level dropout may have no motion at all.

    Args:
        extent: the values of `EXTENT`, of every step since the last line.
    """
    inside, motion = np.median(extent, axis=0)
    if inside >= INSIDE and motion <= LONGEST:
        return ""
    return (
        f"the flow left the frame: {100 * inside:.1f} % of the pixels stayed in it, and the mean flow was {motion:.3g}"
        " times as long as its diagonal,"
    )


def _loop(job: _Job, state: State, prefix_lock: contextlib.ExitStack) -> Outcome:
    spec, place, update = job.spec, job.place, job.update
    steps, chosen, compiled = spec.train.steps, components(spec), {}
    names, pace = step.reported_names(spec), Pace()
    logged = [name for name in names if name not in EXTENT]
    lines, validated = report_steps(spec)
    shared = {s: folder for s in place.settings.shared_steps if (folder := prefix_folder(spec, place, s))}
    frozen_at = schedule.step_at(chosen.selfsup.start, steps) if job.teacher is not None else None
    curve = CurveFile(place.metrics if place.group.is_main else None, state)
    durations: list[float] = []
    saved_at = time.monotonic()
    outcome, waited, average = None, 0.0, None
    start = steps if state.collapsed else state.step  # it has ended and was saved, but its result was not written
    with contextlib.closing(curve), ahead(job.batches(), start, steps) as source:
        for number, batch in source:
            began = time.perf_counter()
            if number == frozen_at:
                job.freeze_teacher()
            active = chosen.active_at(number, steps)
            fresh = active not in compiled
            if fresh:
                compiled[active] = step.build(spec, job.network, active, update, job.teacher, place.group.size)
            reported = dict(zip(names, step.run(compiled[active], spec, active, number, batch, update), strict=True))
            if frozen_at is not None and number >= frozen_at and spec.selfsup.teacher == "mean":
                average = average or job.averaging()  # not before the step, which names the teacher's parameters
                average(ms.Tensor(np.float32(spec.selfsup.momentum)))
            values = [float(reported[name]) for name in logged]
            if not fresh:
                durations.append(time.perf_counter() - began)
                pace.add(durations[-1] + source.waited - waited, source.waited - waited)
            waited = source.waited
            state.step = number + 1
            state.window.append(values)
            state.extent.append([float(np.nan_to_num(reported[name])) for name in EXTENT])  # JSON has no infinity
            if not np.isfinite(values).all():
                line = {"step": state.step} | {
                    name: (v if math.isfinite(v) else None) for name, v in zip(logged, values, strict=True)
                }
                curve.write(line)
                outcome = Outcome("diverged", state.step, f"the loss was not finite at step {state.step}")
                break
            if state.step in lines:
                line = {"step": state.step, "learning_rate": float(step.learning_rate(spec, number))} | {
                    name: float(v) for name, v in zip(logged, np.mean(state.window, axis=0), strict=True)
                }
                state.window = []
                if state.step in validated:
                    line |= job.validate()
                curve.write(line)
                job.keep_best(state, line)
                job.report(line, pace)
                pace = Pace()
                masked = active.occlusion == chosen.occlusion and hasattr(active.occlusion, "start")
                reason = _left_frame(state.extent)
                state.extent = []
                if not reason and masked and line["visible"] < spec.train.collapse_below:
                    reason = f"only {100 * line['visible']:.1f} % of the pixels were taken to be visible"
                state.low_visible = state.low_visible + 1 if reason else 0
                if state.low_visible >= COLLAPSED_REPORTS or (reason and state.step == steps):
                    state.collapsed = f"{reason} at step {state.step}"
                    break
            if state.step in shared:
                save_prefix(shared[state.step], state, job.parameters, place)
                if state.step == max(shared):
                    prefix_lock.close()
            stopping = job.stop()
            if stopping or (time.monotonic() - saved_at > place.settings.checkpoint_seconds and state.step < steps):
                curve.sync()
                job.save(state)
                saved_at = time.monotonic()
            if stopping:
                outcome = Outcome("interrupted", state.step)
                break
    if outcome is None:
        outcome = Outcome("collapsed" if state.collapsed else "completed", state.step, state.collapsed or "")
        job.save(state, keep=1)
    speed = float(np.median(durations)) * 1e3 if durations else None
    return dataclasses.replace(outcome, ms_per_step=speed, waited=waited)
