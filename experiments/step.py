"""One training step as a compiled cell: loss, gradients and update, with all that varies given as tensors."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from experiments.spec import ExperimentSpec
from uflow import backend as ms
from uflow import optimizer, schedule
from uflow.components import Components
from uflow.network import FlowNetwork
from uflow.objective import Objective

_DROPOUT_STREAM = 2  # the random streams of a run are [seed, stream, step]; data uses its own


class TrainStep(ms.nn.Cell):
    """Loss, gradients and parameter update of a batch."""

    def __init__(self, objective: Objective, update: Any):
        super().__init__()
        self.objective, self.update = objective, update
        self.gradient = ms.value_and_grad(objective, None, update.trained, has_aux=True)

    def construct(
        self, first: ms.Tensor, second: ms.Tensor, weights: ms.Tensor, keep: ms.Tensor, student_keep: ms.Tensor,
        learning_rate: ms.Tensor, powers: ms.Tensor,
    ) -> ms.Tensor:  # fmt: skip
        """The values of `uflow.objective.REPORTED` before the update."""
        (_, reported), gradients = self.gradient(first, second, first, second, weights, keep, student_keep)
        return ms.ops.depend(reported, self.update(gradients, learning_rate, powers))


@dataclasses.dataclass(frozen=True)
class Varying:
    """What a step is given beside the images; a pure function of the spec and the step."""

    weights: np.ndarray
    keep: np.ndarray
    student_keep: np.ndarray
    learning_rate: np.float32


def varying(spec: ExperimentSpec, chosen: Components, step: int) -> Varying:
    """Weights of the terms, level dropout and learning rate of a step."""
    train, network = spec.train, spec.network
    generator = np.random.default_rng([spec.seed, _DROPOUT_STREAM, step])
    # one draw per level and direction; the two halves of the stacked batch are the two directions
    draws = generator.random((2, network.levels, 2)) > network.level_dropout
    keep, student_keep = np.repeat(draws.astype(np.float32), train.batch_size, axis=2)
    rate = schedule.learning_rate(
        step,
        train.learning_rate,
        train.decay,
        schedule.step_at(train.decay_start, train.steps),
        schedule.step_at(train.decay_length, train.steps),
    )
    return Varying(chosen.weights_at(step, train.steps), keep, student_keep, np.float32(rate))


def build(network: FlowNetwork, chosen: Components, update: Any) -> TrainStep:
    """The compiled step for the components that act now."""
    return TrainStep(Objective(network, chosen), update)


def build_optimizer(spec: ExperimentSpec, network: FlowNetwork) -> Any:
    """The optimizer that the spec names, over all parameters of the network."""
    return optimizer.build(spec.train.optimizer, network.trainable_params())
