"""One training step as a compiled cell: loss, gradients and update, with all that varies given as tensors."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from experiments.data.loader import Batch
from experiments.spec import ExperimentSpec
from uflow import backend as ms
from uflow import optimizer, registry, schedule
from uflow.components import Components
from uflow.interfaces import FlowCell
from uflow.losses.objective import REPORTED, Objective
from uflow.losses.supervised import SupervisedObjective
from uflow.models.flow_network import initialize
from uflow.ops import parallel, precision

# random streams of a run are [seed, stream, step]; data uses its own
_DROPOUT_STREAM, _MOVE_STREAM, _NOISE_STREAM = 2, 3, 4


class Scaled(ms.nn.Cell):
    """An objective whose loss is multiplied, so that small gradients do not vanish in float16."""

    def __init__(self, objective: Objective | SupervisedObjective, scale: float):
        super().__init__(auto_prefix=False)
        self.objective, self.scale = objective, scale

    def construct(self, *inputs: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """The loss times the scale, and what the objective reports, as it is."""
        loss, reported = self.objective(*inputs)
        return loss * self.scale, reported


class TrainStep(ms.nn.Cell):
    """Loss, gradients and parameter update of a batch, which may be a part of a batch that several devices share.

    In mixed precision an update with a gradient that is not finite is left out, and what is reported has one entry
    more: 1 if it was.

    Args:
        objective: the loss.
        update: the optimizer.
        devices: how many of them train together.
        amp: precision, one of `uflow.ops.precision.LEVELS`.
        scale: factor of the loss in mixed precision.
    """

    def __init__(
        self,
        objective: Objective | SupervisedObjective,
        update: Any,
        devices: int = 1,
        amp: str = "O0",
        scale: float = 1.0,
    ):
        super().__init__(auto_prefix=False)
        self.objective, self.update = objective, update
        self.devices, self.amp = devices, amp
        self.mixed = amp != "O0"
        self.scale = scale if self.mixed else 1.0
        loss = Scaled(objective, self.scale) if self.mixed else objective
        self.gradient = ms.value_and_grad(loss, None, update.trained, has_aux=True)

    def construct(self, learning_rate: ms.Tensor, powers: ms.Tensor, *inputs: ms.Tensor) -> ms.Tensor:
        """What the objective reports of its inputs, before the update."""
        (_, reported), gradients = self.gradient(*inputs)
        if self.devices > 1:
            reported = parallel.mean(reported)
        if self.devices == 1 and not self.mixed:
            return ms.ops.depend(reported, self.update(gradients, learning_rate, powers))
        flat = flatten_gradients(gradients)
        if self.devices > 1:
            flat = parallel.mean(flat)
        if not self.mixed:
            return ms.ops.depend(reported, self.update(unflatten_gradients(flat, gradients), learning_rate, powers))
        finite = ms.ops.isfinite(flat).all()
        if finite:
            flat = flat / self.scale
            reported = ms.ops.depend(reported, self.update(unflatten_gradients(flat, gradients), learning_rate, powers))
        skipped = 1.0 - finite.astype(ms.float32)
        return ms.ops.concat((reported.reshape(-1), skipped.reshape(1)))


def flatten_gradients(gradients: tuple) -> ms.Tensor:
    """All gradients as one vector: one message to the other devices instead of a hundred."""
    parts = ()
    for gradient in gradients:
        parts = parts + (gradient.reshape(-1),)
    return ms.ops.concat(parts)


def unflatten_gradients(flat: ms.Tensor, gradients: tuple) -> tuple:
    """A vector as from `flatten_gradients` in parts of the shapes of `gradients`."""
    parts, start = (), 0
    for gradient in gradients:
        size = gradient.size
        parts = parts + (flat[start : start + size].reshape(gradient.shape),)
        start = start + size
    return parts


@dataclasses.dataclass(frozen=True)
class StepInputs:
    """What a step is given beside the images; a pure function of the spec and the step."""

    weights: np.ndarray
    keep: np.ndarray
    student_keep: np.ndarray


def step_inputs(spec: ExperimentSpec, chosen: Components, number: int, batch_size: int) -> StepInputs:
    """Weights of the terms and level dropout of a step, for a number of pairs that may be a part of the batch."""
    levels, dropout = (getattr(spec.network, name, usual) for name, usual in (("levels", 1), ("level_dropout", 0.0)))
    generator = np.random.default_rng([spec.seed, _DROPOUT_STREAM, number])
    # one draw per level and direction; the two halves of the stacked batch are the two directions
    draws = generator.random((2, levels, 2)) > dropout
    keep, student_keep = np.repeat(draws.astype(np.float32), batch_size, axis=2)
    return StepInputs(chosen.weights_at(number, spec.train.steps), keep, student_keep)


def build(
    spec: ExperimentSpec, network: FlowCell, chosen: Components, update: Any, teacher: Any, devices: int = 1
) -> TrainStep:
    """The compiled step for the components that act now.

    Args:
        spec: the experiment.
        network: what is trained.
        chosen: the components that act.
        update: the optimizer of the network.
        teacher: the network that teaches if it is not the one that is trained.
        devices: how many of them train together, each with its part of the batch.
    """
    if spec.train.supervised:
        objective = SupervisedObjective(network)
    else:
        objective = Objective(network, chosen, spec.train.only_forward, teacher, spec.data.margin)
    return TrainStep(objective, update, devices, spec.train.amp, spec.train.loss_scale)


def inputs(spec: ExperimentSpec, chosen: Components, number: int, batch: Batch) -> list[np.ndarray | None]:
    """What the objective is given at a step."""
    pairs = batch.first.shape[0]
    given = step_inputs(spec, chosen, number, pairs)
    if spec.train.supervised:
        keep = given.keep[:, :pairs]
        return [batch.seen_first, batch.seen_second, batch.flow, batch.valid, keep]
    moves = noise = None
    if getattr(chosen.selfsup, "occluders", 0):
        generator = np.random.default_rng([spec.seed, _NOISE_STREAM, number])
        noise = chosen.selfsup.draw_occluders(generator, *batch.first.shape[2:])
    if getattr(chosen.selfsup, "moved", False):
        generator = np.random.default_rng([spec.seed, _MOVE_STREAM, number])
        moves = chosen.selfsup.draw_moves(generator, *batch.first.shape[2:])
    return [
        batch.first, batch.second, batch.seen_first, batch.seen_second, given.weights, given.keep, given.student_keep,
        batch.occluded if "true_occlusion" in registry.entry_of(chosen.occlusion).needs else None, moves,
        batch.around, noise,
    ]  # fmt: skip


def run(
    compiled: TrainStep, spec: ExperimentSpec, chosen: Components, number: int, batch: Batch, update: Any
) -> np.ndarray:
    """Does a step and returns the values of `reported_names`."""
    rate = ms.Tensor(learning_rate(spec, number))
    given = [None if x is None else ms.Tensor(x) for x in inputs(spec, chosen, number, batch)]
    while given and given[-1] is None:  # left out rather than given as nothing, which compiles to the same graph
        given.pop()
    with parallel.shared(compiled.devices), precision.traced(compiled.amp):  # acts at the first call, which traces
        reported = compiled(rate, ms.Tensor(update.powers(number)), *given).asnumpy().reshape(-1)
    if spec.train.supervised:  # there are no terms, and every pixel counts
        return np.concatenate([reported[:1], np.array([0.0, 0.0, 0.0, 1.0], np.float32), reported[1:]])
    return reported


def reported_names(spec: ExperimentSpec) -> tuple[str, ...]:
    """What a step reports; in mixed precision also the updates that were left out, `skipped`."""
    return REPORTED if spec.train.amp == "O0" else (*REPORTED, "skipped")


def learning_rate(spec: ExperimentSpec, number: int) -> np.float32:
    """The learning rate of a step."""
    train = spec.train
    shares = train.decay_start, train.decay_length, train.warmup
    spans = (schedule.step_at(share, train.steps) for share in shares)
    return np.float32(schedule.learning_rate(number, train.learning_rate, train.decay, *spans, train.steps))


def build_optimizer(spec: ExperimentSpec, network: FlowCell) -> Any:
    """The optimizer that the spec names, over all parameters of the network."""
    train = spec.train
    return optimizer.build(train.optimizer, network.trainable_params(), train.clip_norm, train.weight_decay)


def build_teacher(spec: ExperimentSpec) -> FlowCell | None:
    """A second network for a frozen or mean teacher; `None` if the experiment has none.

    Its parameters count from the start of self-supervision on, but are the same in all processes from the beginning.
    """
    if spec.train.supervised or getattr(spec.selfsup, "teacher", "continual") == "continual":
        return None
    teacher = spec.network(spec.normalization)
    initialize(teacher, spec.seed)
    return teacher
