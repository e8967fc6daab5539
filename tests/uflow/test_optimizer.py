import numpy as np
import pytest

from uflow import backend as ms
from uflow import optimizer


class Quadratic(ms.nn.Cell):
    """One training step of 0.5 x^2, so that the gradient is the parameter itself."""

    def __init__(self, name):
        super().__init__()
        self.x = ms.Parameter(ms.Tensor([3.0, -1.0], ms.float32), name="layer.x")
        self.optimizer = optimizer.build(name, [self.x])
        self.gradient = ms.value_and_grad(self.loss, None, self.optimizer.trained)

    def loss(self):
        return 0.5 * (self.x * self.x).sum()

    @ms.jit
    def construct(self, learning_rate, powers):
        loss, gradients = self.gradient()
        return loss, self.optimizer(gradients, learning_rate, powers)

    def step(self, t, learning_rate=0.1):
        self(ms.Tensor(learning_rate, ms.float32), ms.Tensor(self.optimizer.powers(t)))
        return self.x.asnumpy()


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    # m = 0.1 g, v = 0.001 g^2, lr_t = lr sqrt(0.001) / 0.1: the step is lr g / |g|
    np.testing.assert_allclose(Quadratic("adam").step(0), [2.9, -0.9], rtol=1e-6)


def test_epsilon_is_added_to_the_uncorrected_root():
    x = ms.Parameter(ms.Tensor([0.0], ms.float32), name="x")
    adam = optimizer.Adam([x], epsilon=1.0)
    gradient, learning_rate = ms.Tensor([2.0], ms.float32), ms.Tensor(0.1, ms.float32)
    adam((gradient,), learning_rate, ms.Tensor(adam.powers(0)))
    # lr_t m / (sqrt(v) + 1) = 0.1 * 0.316228 * 0.2 / (0.0632456 + 1); a corrected root would give 0.2 / 3
    np.testing.assert_allclose(x.asnumpy(), [-0.1 * np.sqrt(0.001) / 0.1 * 0.2 / (np.sqrt(0.004) + 1)], rtol=1e-4)


def test_gradient_descent_is_plain():
    step = Quadratic("sgd")
    np.testing.assert_allclose(step.step(0), [2.7, -0.9], rtol=1e-6)
    np.testing.assert_allclose(step.step(1, learning_rate=0.5), [1.35, -0.45], rtol=1e-6)


def test_the_learning_rate_of_a_step_is_an_input():
    step = Quadratic("adam")
    before = step.step(0).copy()
    np.testing.assert_array_equal(step.step(1, learning_rate=0.0), before)


def test_moments_are_named_after_their_parameters():
    names = [p.name for p in optimizer.build("adam", [ms.Parameter(ms.Tensor([1.0]), name="a.b")]).get_parameters()]
    assert names == ["a.b", "moment1.a.b", "moment2.a.b"]


@pytest.mark.parametrize("name", optimizer.NAMES)
def test_powers_are_two_numbers(name):
    built = optimizer.build(name, [ms.Parameter(ms.Tensor([1.0]), name="a")])
    assert built.powers(3).shape == (2,) and built.powers(3).dtype == np.float32
