import numpy as np
import pytest

from uflow import backend as ms
from uflow import optimizer, schedule


class Quadratic(ms.nn.Cell):
    """One training step of 0.5 x^2, so that the gradient is the parameter itself."""

    def __init__(self, name, **restraint):
        super().__init__()
        self.x = ms.Parameter(ms.Tensor([3.0, -1.0], ms.float32), name="layer.x")
        self.optimizer = optimizer.build(name, [self.x], **restraint)
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


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_moments_are_named_after_their_parameters(clip_norm):
    built = optimizer.build("adam", [ms.Parameter(ms.Tensor([1.0]), name="a.b")], clip_norm)
    names = [p.name for p in built.get_parameters()]
    assert names == ["a.b", "moment1.a.b", "moment2.a.b"]


@pytest.mark.parametrize("name", optimizer.NAMES)
def test_powers_are_two_numbers(name):
    built = optimizer.build(name, [ms.Parameter(ms.Tensor([1.0]), name="a")])
    assert built.powers(3).shape == (2,) and built.powers(3).dtype == np.float32


def test_a_gradient_that_is_too_long_is_shortened_and_parameters_decay_apart_from_it():
    step = Quadratic("sgd", clip_norm=2.0, weight_decay=0.5)
    # |g| = |(3, -1)| = sqrt(10): g is multiplied by 2 / sqrt(10), and the parameters by 1 - 0.1 * 0.5
    x, share = np.array([3.0, -1.0]), 2 / 10**0.5
    x = x * 0.95 - 0.1 * share * x
    np.testing.assert_allclose(step.step(0), x, rtol=1e-6)
    step.optimizer.limits[:] = 5.0, 0.0  # other values for the same graph: what is short enough is left as it is
    np.testing.assert_allclose(step.step(1), 0.9 * x, rtol=1e-6)


def test_the_norm_is_that_of_all_parameters_together():
    one, two = (ms.Parameter(ms.Tensor([0.0], ms.float32), name=name) for name in "ab")
    update = optimizer.build("sgd", [one, two], clip_norm=1.0)
    gradients = ms.Tensor([3.0], ms.float32), ms.Tensor([-4.0], ms.float32)
    update(gradients, ms.Tensor(1.0, ms.float32), ms.Tensor(update.powers(0)))
    np.testing.assert_allclose([one.asnumpy()[0], two.asnumpy()[0]], [-0.6, 0.8], rtol=1e-6)


def test_adam_does_not_see_the_decay():
    # the first step has the length of the learning rate, whatever the gradient; 1 - 0.1 * 0.25 of the parameters stay
    step = Quadratic("adam", weight_decay=0.25)
    np.testing.assert_allclose(step.step(0), [3 * 0.975 - 0.1, -0.975 + 0.1], rtol=1e-6)


def test_without_either_the_optimizer_is_the_plain_one():
    x = ms.Parameter(ms.Tensor([1.0], ms.float32), name="a")
    assert type(optimizer.build("adam", [x])) is optimizer.Adam
    assert optimizer.build("adam", [x], clip_norm=1.0).powers(3).shape == (4,)


def test_the_learning_rate_warms_up_linearly_and_decays_as_before():
    rates = [schedule.learning_rate(step, 8.0, "none", 0, 0, 4) for step in range(6)]
    assert rates == [2.0, 4.0, 6.0, 8.0, 8.0, 8.0]
    assert schedule.learning_rate(0, 8.0, "linear", 0, 4, 2) == 8.0 * 0.5 * 0.75
    assert schedule.learning_rate(3, 8.0, "linear", 0, 8) == 8.0 * 0.5


def test_one_cycle_rises_from_a_25th_and_falls_to_almost_nothing():
    rates = [schedule.learning_rate(step, 25.0, "one_cycle", 0, 0, 4, 9) for step in range(9)]
    np.testing.assert_allclose(rates, [1, 7, 13, 19, 25, 18.750025, 12.50005, 6.250075, 1e-4], rtol=1e-9)
    assert schedule.learning_rate(0, 25.0, "one_cycle", 0, 0, 0, 9) == 25.0


def test_a_mean_teacher_follows_the_parameters():
    pairs = [(ms.Parameter(ms.Tensor([4.0, 8.0 * i]), name=f"t{i}"), ms.Parameter(ms.Tensor([0.0, -2.0]), name=f"p{i}"))
             for i in range(2)]  # fmt: skip
    average = optimizer.Average(*zip(*pairs, strict=True))
    for share in (0.75, 0.5):
        average(ms.Tensor(np.float32(share)))
    # 4 -> 3 -> 1.5; 0 -> -0.5 -> -1.25; 8 -> 5.5 -> 1.75
    np.testing.assert_allclose([t.asnumpy() for t, _ in pairs], [[1.5, -1.25], [1.5, 1.75]], rtol=1e-6)
    np.testing.assert_array_equal([p.asnumpy() for _, p in pairs], [[0, -2]] * 2)
