"""What is computed in float16, on the smallest network; the CPU can do it, only slowly."""

import numpy as np
import pytest

from experiments.data.loader import Batch
from experiments.spec import changed, components, default_spec
from experiments.training import step
from uflow import backend as ms
from uflow import registry
from uflow.models.flow_network import FlowNetwork, initialize
from uflow.ops import precision

SIZE = 32


def spec_of(amp, **changes):
    return changed(
        default_spec(),
        {
            "network.levels": 2, "network.width": 0.0625, "network.level_dropout": 0.0, "data.height": SIZE,
            "data.width": SIZE, "train.batch_size": 2, "train.optimizer": "sgd", "train.learning_rate": 0.1,
            "selfsup.name": "none", "photometric.name": "charbonnier", "occlusion.name": "none", "train.amp": amp,
            "network.shared_decoder": True,
        }
        | changes,
    )  # fmt: skip


def batch():
    """Smooth images, whose gradients do not jump when a flow is rounded."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / 8
    waves = [np.sin(x + k) * np.cos(0.7 * y - k) + np.sin(0.3 * x * (k + 1) + y) for k in range(6)]
    first = (0.5 + 0.2 * np.stack(waves)).reshape(2, 3, SIZE, SIZE).astype(np.float32)
    second = np.roll(first, 1, axis=3)
    return Batch(first, second, first, second)


def one_step(spec):
    """Parameters before and after a step, and what it reports."""
    ms.set_context(mode=ms.GRAPH_MODE)
    network = FlowNetwork(spec.network, spec.normalization)
    initialize(network, 0)
    before = {name: p.asnumpy().copy() for name, p in network.parameters_and_names()}
    update = step.build_optimizer(spec, network)
    cell = step.build(spec, network, components(spec), update, None)
    values = step.run(cell, spec, components(spec), 0, batch(), update)
    after = {name: p.asnumpy().copy() for name, p in network.parameters_and_names()}
    assert {p.dtype for p in network.trainable_params()} == {ms.float32}
    return before, after, dict(zip(step.reported_names(spec), values, strict=True))


@pytest.fixture(scope="module")
def single():
    return one_step(spec_of("O0"))


@pytest.mark.slow
@pytest.mark.parametrize("amp", ["O2", "O3"])
def test_mixed_precision_takes_nearly_the_same_step(single, amp):
    before, after, values = one_step(spec_of(amp))
    _, exact_after, exact = single
    assert values["skipped"] == 0 and "skipped" not in exact
    assert values["photometric"] == pytest.approx(exact["photometric"], rel=2e-3)
    steps = [np.concatenate([(a[name] - before[name]).ravel() for name in before]) for a in (after, exact_after)]
    assert not np.array_equal(*steps), "nothing was computed in float16"
    cosine = (steps[0] @ steps[1]) / np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])
    assert cosine > 0.995 and np.linalg.norm(steps[0]) == pytest.approx(np.linalg.norm(steps[1]), rel=0.1)


@pytest.mark.slow
def test_an_update_that_overflows_is_left_out_and_counted():
    before, after, values = one_step(spec_of("O2", **{"train.loss_scale": 2.0**24, "photometric.weight": 100.0}))
    assert values["skipped"] == 1 and np.isfinite(values["total"])
    assert all(np.array_equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("amp, features", [("O0", ms.float32), ("O2", ms.float32), ("O3", ms.float16)])
def test_flows_are_float32_at_every_level(amp, features, monkeypatch):
    monkeypatch.setenv("UFLOW_KERNELS", "off")  # they are for graphs
    spec = spec_of(amp)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        network = FlowNetwork(spec.network, spec.normalization)
        initialize(network, 0)
        frames = ms.Tensor(np.random.default_rng(0).random((2, 3, SIZE, SIZE), np.float32))
        with precision.traced(amp):
            first = network.pyramid(frames)
            flows = network(first, first)
        assert [f.dtype for f in first] == [features] * 2 and [f.dtype for f in flows] == [ms.float32]
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)


def test_statistics_of_float16_features_are_float32():
    component = registry.build("normalization", "center_scale")
    large = ms.Tensor(np.full((1, 2, 64, 64), 300.0, np.float16))  # its square and its sum overflow float16
    mean, variance = component.moments(large)
    assert mean.dtype == variance.dtype == ms.float32
    assert mean.asnumpy().item() == 300 and variance.asnumpy().item() == 0
