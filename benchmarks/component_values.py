"""What every component gives on a fixed scene: `python -m benchmarks.component_values TARGET DIRECTORY [NAME ...]`.

Two devices, or two ways to compute on one, agree if the files that they leave do. `AXIS.NAME.npz` has what a component
gives (`output_0`, ...) and the gradient of its weighted sum by what it is differentiated by in training (`gradient`);
`AXIS.NAME.error` has the sentence of one that raised. Names are as `occlusion.wang`; without them all components of the
loss are computed, and `network.flow`, the flow of a small network.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.records.json_files import atomic_write
from uflow import backend as ms
from uflow import registry
from uflow.components import Components

NETWORK = "network.flow"
HEIGHT, WIDTH = 64, 96
VIEW = 256, 320  # of scenes of which self-supervision cuts off a part
CHANNELS = 8  # of features
SEED = 0


def names() -> tuple[str, ...]:
    """All that there is to compute; self-supervision without a teacher computes nothing."""
    entries = (registry.entry(axis, name) for axis in Components.axes() for name in registry.names(axis))
    computed = (e for e in entries if e.axis != "selfsup" or "teacher" in e.needs)
    return (*(f"{e.axis}.{e.name}" for e in computed), NETWORK)


def waves(*shape: int, seed: int) -> np.ndarray:
    """Smooth random maps, (B, C, H, W), with values in [-1, 1]."""
    generator = np.random.default_rng([SEED, seed])
    b, c, h, w = shape
    y, x = np.mgrid[:h, :w]
    found = np.zeros(shape)
    for _ in range(4):
        slope, phase = generator.uniform(-0.5, 0.5, (2, b, c, 1, 1)), generator.uniform(0, 2 * np.pi, (b, c, 1, 1))
        found += np.sin(slope[0] * x + slope[1] * y + phase) / 4
    return found.astype(np.float32)


def images(*shape: int, seed: int) -> np.ndarray:
    """Smooth random images, (B, 3, H, W), in [0, 1]."""
    return 0.5 + waves(shape[0], 3, *shape[1:], seed=seed) / 2


def scene(axis: str, entry: registry.Entry | None) -> tuple[list[np.ndarray], int]:
    """What a component of an axis is given, and the place of what it is differentiated by."""
    visible = 0.5 + waves(2, 1, HEIGHT, WIDTH, seed=9) / 2
    if axis in ("photometric", "network"):
        pair = [images(2, HEIGHT, WIDTH, seed=0), images(2, HEIGHT, WIDTH, seed=1)]
        return (pair, 0) if axis == "network" else ([*pair, visible], 1)
    if axis == "smoothness":
        return [images(2, HEIGHT, WIDTH, seed=0), 3 * waves(2, 2, HEIGHT, WIDTH, seed=2)], 1
    if axis == "occlusion":
        forward, noise = 4 * waves(2, 2, HEIGHT, WIDTH, seed=2), waves(2, 2, HEIGHT, WIDTH, seed=3)
        truth = [(visible > 0.5).astype(np.float32)] if "true_occlusion" in entry.needs else []
        return [forward, noise - forward, *truth], 0
    if axis == "normalization":
        return [waves(4, CHANNELS, HEIGHT, WIDTH, seed=seed) + seed for seed in (4, 5)], 0
    h, w = VIEW
    return [waves(2, 2, h // 4, w // 4, seed=seed) for seed in (5, 6, 7, 8)], 2


def function_of(name: str) -> tuple[Callable[..., Any], list[np.ndarray], int]:
    """A component as a function of tensors, what it is given, and the place of what it is differentiated by."""
    if name == NETWORK:
        from experiments.spec import changed, default_spec
        from uflow.models.flow_network import FlowNetwork, initialize
        from uflow.models.inference import Inference

        spec = changed(default_spec(), {"network.levels": 3, "network.width": 0.25})
        network = FlowNetwork(spec.network, spec.normalization)
        initialize(network, SEED)
        return Inference(network).set_train(False), *scene("network", None)
    axis, _, called = name.partition(".")
    entry = registry.entry(axis, called)
    component, (given, place) = entry.cls(), scene(axis, entry)
    if axis == "normalization":

        def grouped(first: ms.Tensor, second: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
            return component(first, second, 2)

        return grouped, given, place
    if axis == "selfsup" and component.moved:
        given += [*component.draw_moves(np.random.default_rng(SEED), *VIEW)]
        if component.mask == "advection":
            given.append(0.5 + waves(2, 1, VIEW[0] // 4, VIEW[1] // 4, seed=9) / 2)
    return component, given, place


def values_of(name: str) -> dict[str, np.ndarray]:
    """`output_0`, ... and `gradient` of a component on its scene, on the device that is set."""
    function, given, place = function_of(name)

    class Called(ms.nn.Cell):
        def construct(self, *tensors: ms.Tensor) -> Any:
            return function(*tensors)

    class Weighted(ms.nn.Cell):
        def __init__(self, weights: Sequence[ms.Tensor]):
            super().__init__()
            self.weights = tuple(weights)

        def construct(self, *tensors: ms.Tensor) -> Any:
            found = function(*tensors)
            parts = found if isinstance(found, tuple) else (found,)
            total = (parts[0] * self.weights[0]).sum()
            for number in range(1, len(self.weights)):
                total = total + (parts[number] * self.weights[number]).sum()
            return total

    tensors = [ms.Tensor(np.ascontiguousarray(array)) for array in given]
    found = Called()(*tensors)
    outputs = [part.asnumpy() for part in (found if isinstance(found, tuple) else (found,))]
    generator = np.random.default_rng(SEED)
    weights = [ms.Tensor(generator.uniform(0.5, 1.5, part.shape).astype(np.float32)) for part in outputs]
    gradient = ms.grad(Weighted(weights), place)(*tensors).asnumpy()
    return {f"output_{number}": part for number, part in enumerate(outputs)} | {"gradient": gradient}


def main(argv: Sequence[str] | None = None) -> int:
    """Computes and writes, one file each; 0, also if a component raised."""
    from experiments.training import device

    target, folder, *wanted = sys.argv[1:] if argv is None else argv
    directory = pathlib.Path(folder)
    directory.mkdir(parents=True, exist_ok=True)
    device.prepare(target, 0, directory / "mindspore")
    for name in wanted or names():
        try:
            found = values_of(name)
        except Exception as error:  # whatever a driver can raise: the others are still to be computed
            lines = [line.strip() for line in str(error).splitlines() if line.strip(" -\t")]
            atomic_write(directory / f"{name}.error", f"{type(error).__name__}: {lines[0] if lines else ''}")
        else:
            np.savez(directory / f".{name}.npz", **found)
            (directory / f".{name}.npz").rename(directory / f"{name}.npz")
    return 0


if __name__ == "__main__":
    sys.exit(main())
