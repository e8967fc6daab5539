"""The second network of a frozen or mean teacher."""

import dataclasses

import numpy as np
import pytest

from experiments.spec import changed, default_spec
from experiments.training import checkpoints, step
from uflow import backend as ms
from uflow import registry


@pytest.fixture
def random_kernels(monkeypatch):
    """A network whose cell draws its kernels itself, as MindSpore's layers do."""
    registry.names("network")
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    @registry.register("network", "random_kernels", source="none")
    class RandomKernels:
        """One convolution."""

        multiple = 4

        def size_problems(self, height, width):
            return []

        def __call__(self, normalization):
            return ms.nn.Conv2d(3, 2, 3)

    return RandomKernels()


@pytest.mark.parametrize("kind, there", [("frozen", True), ("mean", True), ("continual", False)])
def test_a_teacher_begins_alike_in_every_process(random_kernels, kind, there):
    """Processes that train together compare all that they begin with."""
    spec = dataclasses.replace(changed(default_spec(), {"selfsup.teacher": kind}), network=random_kernels)
    teachers = [step.build_teacher(spec) for _ in range(2)]
    assert [teacher is not None for teacher in teachers] == [there] * 2
    if there:
        one, two = ([p.asnumpy() for p in checkpoints.parameters_of((teacher,)).values()] for teacher in teachers)
        assert one and all(np.array_equal(a, b) and a.any() for a, b in zip(one, two, strict=True))
