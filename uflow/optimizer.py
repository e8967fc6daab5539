"""Parameter updates as cells: what changes from step to step is a tensor, so that nothing is compiled again.

They are meant to be called inside of a compiled training step: a tuple of gradients that comes from Python would be
compiled in as a constant.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from uflow import backend as ms

NAMES = ("adam", "sgd")


def moments(parameters: Iterable[ms.Parameter], prefix: str) -> ms.ParameterTuple:
    """Zeros of the shapes of `parameters`, named `<prefix>.<name of the parameter>`."""
    return ms.ParameterTuple(
        [
            ms.Parameter(ms.ops.zeros(p.shape, p.dtype), name=f"{prefix}.{p.name}", requires_grad=False)
            for p in parameters
        ]
    )


class Adam(ms.nn.Cell):
    r"""Adam as TensorFlow 1 computes it, $p \leftarrow p - \eta_t m / (\sqrt{v} + \epsilon)$.

    $\eta_t = \eta \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)$: the bias correction is folded into the learning rate and
    `epsilon` is added to the uncorrected $\sqrt{v}$, so it weighs more in the first steps than in Kingma and Ba's
    algorithm 1, where it is added to the corrected root.

    Args:
        parameters: what is trained; their names name the moments, `moment1.<name>` and `moment2.<name>`.
        beta1: decay of the mean of the gradients.
        beta2: decay of the mean of their squares.
        epsilon: what keeps the division finite.

    Source: Kingma and Ba, ICLR 2015, in the form at the end of section 2; the reference's `tf.compat.v1` Adam.
    """

    def __init__(
        self, parameters: Iterable[ms.Parameter], beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ):
        super().__init__()
        self.trained = ms.ParameterTuple(parameters)
        self.moment1, self.moment2 = moments(self.trained, "moment1"), moments(self.trained, "moment2")
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.update = ms.ops.Adam()

    def powers(self, step: int) -> np.ndarray:
        """The decay rates to the power of the number of updates done after this one, (2,), for a step from 0."""
        return np.array([self.beta1 ** (step + 1), self.beta2 ** (step + 1)], np.float32)

    def construct(self, gradients: tuple, learning_rate: ms.Tensor, powers: ms.Tensor) -> ms.Tensor:
        """Updates the parameters and moments in place and returns the learning rate.

        Args:
            gradients: one per parameter, in their order.
            learning_rate: a scalar.
            powers: (2,), as from `powers`.
        """
        power1, power2 = powers[0], powers[1]  # here, for what the loop holds is compiled for every parameter
        for i in range(len(self.trained)):
            self.update(
                self.trained[i], self.moment1[i], self.moment2[i], power1, power2, learning_rate,
                self.beta1, self.beta2, self.epsilon, gradients[i],
            )  # fmt: skip
        return learning_rate


class Sgd(ms.nn.Cell):
    """Plain gradient descent, without momentum or weight decay; called like `Adam`.

    Args:
        parameters: what is trained.
    """

    def __init__(self, parameters: Iterable[ms.Parameter]):
        super().__init__()
        self.trained = ms.ParameterTuple(parameters)

    def powers(self, step: int) -> np.ndarray:
        """Zeros, (2,): there is nothing to correct."""
        return np.zeros(2, np.float32)

    def construct(self, gradients: tuple, learning_rate: ms.Tensor, powers: ms.Tensor) -> ms.Tensor:
        """Updates the parameters in place and returns the learning rate; `powers` is not used."""
        for i in range(len(self.trained)):
            ms.ops.assign_sub(self.trained[i], learning_rate * gradients[i])
        return learning_rate


class Restrained(ms.nn.Cell):
    r"""An optimizer behind clipping and weight decay; called like it, with two more numbers in `powers`.

    Gradients are multiplied by $\min(1, c / \|g\|)$, with the norm of all of them together. Parameters are multiplied
    by $1 - \eta \lambda$ before the update, which is made of the gradients alone. The paper's $\eta_t$ is the schedule
    without the learning rate; here, as in PyTorch's `AdamW`, $\eta$ is the learning rate of the step.

    Args:
        inner: what updates the parameters.
        clip_norm: c, the largest norm; 0 = any.
        weight_decay: lambda, the share that decays at a learning rate of 1.

    Source: Pascanu, Mikolov and Bengio, ICML 2013 (clipping); Loshchilov and Hutter, ICLR 2019 (decoupled decay).
    """

    def __init__(self, inner: Adam | Sgd, clip_norm: float = 0.0, weight_decay: float = 0.0):
        super().__init__(auto_prefix=False)  # moments keep their names
        self.inner, self.trained = inner, inner.trained
        self.limits = np.array([clip_norm or np.finfo(np.float32).max, weight_decay], np.float32)

    def powers(self, step: int) -> np.ndarray:
        """Those of the optimizer, then the largest norm and the weight decay, (4,)."""
        return np.concatenate((self.inner.powers(step), self.limits))

    def construct(self, gradients: tuple, learning_rate: ms.Tensor, powers: ms.Tensor) -> ms.Tensor:
        """Updates the parameters in place and returns the learning rate."""
        squares = powers[0] * 0.0
        for gradient in gradients:
            squares = squares + (gradient * gradient).sum()
        share = ms.ops.minimum(powers[2] / ms.ops.sqrt(squares), ms.ops.ones_like(squares))
        clipped, decay = (), learning_rate * powers[3]
        for gradient in gradients:
            clipped = clipped + (gradient * share,)
        for parameter in self.trained:
            ms.ops.assign_sub(parameter, decay * parameter)
        return self.inner(clipped, learning_rate, powers[:2])


class Average(ms.nn.Cell):
    r"""Parameters that follow others, $t \leftarrow t + (1 - m)(p - t)$: a moving average of them.

    Args:
        averaged: what follows.
        parameters: what is followed, one for each, in their order.

    Source: Tarvainen and Valpola, NeurIPS 2017 (mean teacher).
    """

    def __init__(self, averaged: Iterable[ms.Parameter], parameters: Iterable[ms.Parameter]):
        super().__init__(auto_prefix=False)
        self.averaged, self.parameters = ms.ParameterTuple(averaged), ms.ParameterTuple(parameters)

    def construct(self, momentum: ms.Tensor) -> ms.Tensor:
        """Updates what follows in place and returns the momentum m, a scalar."""
        for i in range(len(self.averaged)):
            ms.ops.assign_add(self.averaged[i], (1.0 - momentum) * (self.parameters[i] - self.averaged[i]))
        return momentum


def build(
    name: str, parameters: Iterable[ms.Parameter], clip_norm: float = 0.0, weight_decay: float = 0.0
) -> Adam | Sgd | Restrained:
    """The optimizer of a name out of `NAMES`, with clipping and weight decay where they are not 0."""
    inner = {"adam": Adam, "sgd": Sgd}[name](parameters)
    return Restrained(inner, clip_norm, weight_decay) if clip_norm or weight_decay else inner
