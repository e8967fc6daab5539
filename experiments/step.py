"""One training step as a compiled cell: loss, gradients and update, with all that varies given as tensors."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from experiments.data.batches import Batch
from experiments.spec import ExperimentSpec
from uflow import backend as ms
from uflow import optimizer, registry, schedule
from uflow.components import Components
from uflow.network import FlowNetwork
from uflow.objective import Objective
from uflow.supervised import SupervisedObjective

_DROPOUT_STREAM, _SHIFT_STREAM = 2, 3  # random streams of a run are [seed, stream, step]; data uses its own


class TrainStep(ms.nn.Cell):
    """Loss, gradients and parameter update of a batch."""

    def __init__(self, objective: Objective | SupervisedObjective, update: Any):
        super().__init__(auto_prefix=False)
        self.objective, self.update = objective, update
        self.gradient = ms.value_and_grad(objective, None, update.trained, has_aux=True)

    def construct(self, learning_rate: ms.Tensor, powers: ms.Tensor, *inputs: ms.Tensor) -> ms.Tensor:
        """What the objective reports of its inputs, before the update."""
        (_, reported), gradients = self.gradient(*inputs)
        return ms.ops.depend(reported, self.update(gradients, learning_rate, powers))


@dataclasses.dataclass(frozen=True)
class Varying:
    """What a step is given beside the images; a pure function of the spec and the step."""

    weights: np.ndarray
    keep: np.ndarray
    student_keep: np.ndarray


def varying(spec: ExperimentSpec, chosen: Components, number: int) -> Varying:
    """Weights of the terms and level dropout of a step."""
    train, network = spec.train, spec.network
    generator = np.random.default_rng([spec.seed, _DROPOUT_STREAM, number])
    # one draw per level and direction; the two halves of the stacked batch are the two directions
    draws = generator.random((2, network.levels, 2)) > network.level_dropout
    keep, student_keep = np.repeat(draws.astype(np.float32), train.batch_size, axis=2)
    return Varying(chosen.weights_at(number, train.steps), keep, student_keep)


def build(spec: ExperimentSpec, network: FlowNetwork, chosen: Components, update: Any, teacher: Any) -> TrainStep:
    """The compiled step for the components that act now.

    Args:
        spec: the experiment.
        network: what is trained.
        chosen: the components that act.
        update: the optimizer of the network.
        teacher: the network that teaches if the teacher is frozen.
    """
    if spec.train.supervised:
        return TrainStep(SupervisedObjective(network), update)
    return TrainStep(Objective(network, chosen, spec.train.only_forward, teacher), update)


def inputs(spec: ExperimentSpec, chosen: Components, number: int, batch: Batch) -> list[np.ndarray | None]:
    """What the objective is given at a step."""
    given = varying(spec, chosen, number)
    if spec.train.supervised:
        keep = given.keep[:, : spec.train.batch_size]
        return [batch.seen_first, batch.seen_second, batch.flow, batch.valid, keep]
    shifts = None
    if getattr(chosen.selfsup, "shifted", False):
        shifts = chosen.selfsup.draw_shifts(np.random.default_rng([spec.seed, _SHIFT_STREAM, number]))
    return [
        batch.first, batch.second, batch.seen_first, batch.seen_second, given.weights, given.keep, given.student_keep,
        batch.occluded if "true_occlusion" in registry.entry_of(chosen.occlusion).needs else None, shifts,
    ]  # fmt: skip


def run(
    compiled: TrainStep, spec: ExperimentSpec, chosen: Components, number: int, batch: Batch, update: Any
) -> np.ndarray:
    """Does a step and returns the values of `uflow.objective.REPORTED`."""
    rate = ms.Tensor(learning_rate(spec, number))
    given = [None if x is None else ms.Tensor(x) for x in inputs(spec, chosen, number, batch)]
    while given and given[-1] is None:  # left out rather than given as nothing, which compiles to the same graph
        given.pop()
    reported = compiled(rate, ms.Tensor(update.powers(number)), *given).asnumpy()
    if reported.ndim == 0:  # supervised: there are no terms, and every pixel counts
        return np.array([reported, 0.0, 0.0, 0.0, 1.0], np.float32)
    return reported


def learning_rate(spec: ExperimentSpec, number: int) -> np.float32:
    """The learning rate of a step."""
    train = spec.train
    after, length = (schedule.step_at(share, train.steps) for share in (train.decay_start, train.decay_length))
    return np.float32(schedule.learning_rate(number, train.learning_rate, train.decay, after, length))


def build_optimizer(spec: ExperimentSpec, network: FlowNetwork) -> Any:
    """The optimizer that the spec names, over all parameters of the network."""
    return optimizer.build(spec.train.optimizer, network.trainable_params())


def build_teacher(spec: ExperimentSpec) -> FlowNetwork | None:
    """A second network for a frozen teacher; `None` if the experiment has none."""
    if spec.train.supervised or getattr(spec.selfsup, "teacher", None) != "frozen":
        return None
    return FlowNetwork(spec.network, spec.normalization)
