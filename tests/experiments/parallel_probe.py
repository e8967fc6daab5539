"""Compares two processes that share a batch with one that has all of it; started by `msrun`, see test_parallel.py."""

import json
import os
import sys

import numpy as np

from experiments.data.catalog import open_source
from experiments.data.loader import Batches
from experiments.spec import changed, components, default_spec, wanted_truth
from experiments.training import device, process_group, step
from uflow import backend as ms
from uflow import registry
from uflow.losses.supervised import supervised_loss
from uflow.models.flow_network import FlowNetwork, initialize
from uflow.ops import parallel

BATCH = 4
PHOTOMETRIC = registry.names("photometric")
TERMS = (*PHOTOMETRIC, "supervised", "center_scale")
SPEC = changed(
    default_spec(),
    {
        "network.levels": 2,
        "network.width": 0.0625,
        "network.level_dropout": 0.3,
        "data.height": 32,
        "data.width": 32,
        "data.scenes.train_pairs": 5,
        "data.scenes.radius_min": 5,
        "data.scenes.radius_max": 8,
        "data.augmentation.flip_vertical": True,
        "train.batch_size": BATCH,
        "train.learning_rate": 1.0,
        "train.optimizer": "sgd",  # so that the change of a parameter is its gradient
        "train.steps": 100,
        "occlusion.stop_gradient": False,
        "selfsup.start": 0.0,
        "selfsup.ramp": 0.0,
        "selfsup.crop_height": 4,
        "selfsup.crop_width": 4,
    },
)


def step_gradients(group):
    """The gradients of a training step with the whole batch, and with the parts of the processes."""
    found = {}
    for name, (rank, size) in {"whole": (0, 1), "parts": (group.rank, group.size)}.items():
        network = FlowNetwork(SPEC.network, SPEC.normalization)
        initialize(network, 3)
        before = {key: p.asnumpy().copy() for key, p in network.parameters_and_names()}
        update = step.build_optimizer(SPEC, network)
        chosen = components(SPEC)
        pairs = open_source("synthetic", "train", height=32, width=32, scenes=SPEC.data.scenes)
        options = SPEC.data.augmentation, "resize", wanted_truth(SPEC)
        batch = Batches(pairs, BATCH, 32, 32, SPEC.seed, *options, (rank, size)).batch(7)
        assert len(batch.first) == BATCH // size
        values = step.run(step.build(SPEC, network, chosen, update, None, size), SPEC, chosen, 7, batch, update)
        changes = {key: before[key] - p.asnumpy() for key, p in network.parameters_and_names()}
        found[name] = changes | {"values": values}
    return found


class Terms(ms.nn.Cell):
    """Everything with a sum over the batch, for images, flows and masks that depend on a factor."""

    def __init__(self, number):
        super().__init__()
        self.factor = ms.Parameter(ms.Tensor(np.float32(1.1)), name=f"factor{number}")
        self.photometric = [registry.build("photometric", name) for name in PHOTOMETRIC]
        self.normalization = registry.build("normalization", "center_scale")
        self.number = number

    def construct(self, x, image, visible, flow, truth):
        x = x * self.factor
        if self.number < len(PHOTOMETRIC):
            # the mask depends on the factor too, as it does without a stopped gradient
            return self.photometric[self.number](image, x, visible * x[:, :1])
        if self.number == len(PHOTOMETRIC):
            return supervised_loss(flow * self.factor, truth, visible)
        first, second = self.normalization(x, image, 1)
        return (first**3).mean() + (second * x).mean()


class Gradients(ms.nn.Cell):
    """Values and gradients of all terms, reduced as a training step does it, in one graph."""

    def __init__(self):
        super().__init__()
        cells = [Terms(number) for number in range(len(TERMS))]
        self.gradients = [ms.value_and_grad(cell, None, cell.trainable_params()) for cell in cells]

    def construct(self, *inputs):
        found = ()
        for gradient in self.gradients:
            value, by_factor = gradient(*inputs)
            found = found + (value.reshape(()), by_factor[0].reshape(()))
        return parallel.mean(ms.ops.stack(found))


def term_gradients(group):
    """Value and gradient of every term, of the whole batch and of parts."""
    generator = np.random.default_rng(0)
    scale = np.arange(1, BATCH + 1, dtype=np.float32).reshape(-1, 1, 1, 1) / BATCH  # samples that differ
    sizes = {"x": (3, 16), "image": (3, 16), "visible": (1, 16), "flow": (2, 4), "truth": (2, 16)}
    inputs = [scale * generator.random((BATCH, c, n, n), np.float32) for c, n in sizes.values()]
    share = BATCH // group.size
    part = slice(group.rank * share, (group.rank + 1) * share)
    whole = Gradients()(*map(ms.Tensor, inputs)).asnumpy()
    with parallel.shared(group.size):
        parts = Gradients()(*(ms.Tensor(i[part]) for i in inputs)).asnumpy()
    by_name = [dict(zip(TERMS, v.reshape(-1, 2), strict=True)) for v in (whole, parts)]
    return dict(zip(("whole", "parts"), by_name, strict=True))


def main(out):
    if process_group.is_scheduler():
        device.prepare("CPU")
        process_group.init_process_group()
        return
    device.prepare("CPU", scratch=out)
    group = process_group.init_process_group()
    report = {"rank": group.rank, "size": group.size}
    group.check_same((3, 65535), "number")
    try:
        group.check_same((group.rank,), "number")
    except RuntimeError as error:
        report["refused"] = str(error)
    for kind, found in {"step": step_gradients(group), "terms": term_gradients(group)}.items():
        report[kind] = {
            name: [float(np.abs(found["parts"][name] - value).max()), float(np.abs(value).max())]
            for name, value in found["whole"].items()
        }
    with open(os.path.join(out, f"rank_{group.rank}.json"), "w") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main(sys.argv[1])
