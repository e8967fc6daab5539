"""One side of a comparison in a process of its own: `python -m benchmarks.side SIDE CASE MODE DIRECTORY`.

Reads commands as lines of JSON and answers each with one: `prepare` builds and does the first step, `time` does some
more and tells how long each took, `memory` tells the largest resident size so far. Parameters come from
`parameters.npz` in the directory, which the side `uflow` writes; the first step's loss and gradients, or the flow, are
left in `SIDE.npz` there.
"""

from __future__ import annotations

import json
import pathlib
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import CASES, SEED, Case

# `exact` is `eager` with double precision, for comparison only
SIDES = ("uflow", "eager", "compile", "onnxruntime", "openvino", "exact")


def uflow_side(
    case: Case, mode: str, directory: pathlib.Path, target: str = "CPU", amp: str = "O0"
) -> Callable[[], Any]:
    """This project's training step or inference, compiled; leaves the parameters and the results of a first call.

    Args:
        case: the size.
        mode: `step`, `selfsup` or `inference`.
        directory: where the results are left.
        target: the device.
        amp: precision of the step, one of `uflow.ops.precision.LEVELS`.
    """
    from experiments.data.loader import Batch
    from experiments.spec import changed, components
    from experiments.training import device, step
    from uflow import backend as ms
    from uflow.models.flow_network import FlowNetwork, initialize
    from uflow.models.inference import Inference

    device.prepare(target, 0, directory / "mindspore")
    spec = changed(case.spec(mode == "selfsup"), {"train.amp": amp})
    network = FlowNetwork(spec.network, spec.normalization)
    initialize(network, SEED)
    names = [name for name, _ in network.parameters_and_names()]
    np.savez(directory / "parameters.npz", **{n: p.asnumpy() for n, p in network.parameters_and_names()})
    first, second = case.images()
    if mode == "inference":
        inference = Inference(network)
        inference.set_train(False)
        pair = ms.Tensor(first), ms.Tensor(second)
        np.savez(directory / "uflow.npz", flow=inference(*pair).asnumpy())
        return lambda: inference(*pair).asnumpy()
    update = step.build_optimizer(spec, network)
    chosen = components(spec)
    compiled = step.build(spec, network, chosen, update, None)
    batch = Batch(first, second, first, second)
    reported = step.run(compiled, spec, chosen, 0, batch, update)
    # after one step the first moment is the gradient times (1 - beta1)
    gradients = {n: m.asnumpy() / (1 - update.beta1) for n, m in zip(names, update.moment1, strict=True)}
    np.savez(directory / "uflow.npz", loss=reported[0], **gradients)
    return lambda: step.run(compiled, spec, chosen, 1, batch, update)


def torch_side(side: str, case: Case, mode: str, directory: pathlib.Path, threads: int) -> Callable[[], Any]:
    """The same in PyTorch, eager or compiled."""
    import torch

    from benchmarks import peer

    torch.set_num_threads(threads)
    spec = case.spec(mode == "selfsup")
    network = peer.FlowNetwork(spec.network)
    stored = np.load(directory / "parameters.npz")
    network.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
    first, second = (torch.from_numpy(image) for image in case.images())
    if side == "exact":
        network, first, second = network.double(), first.double(), second.double()
    if mode == "inference":

        def infer() -> Any:
            with torch.no_grad():
                flow = network(network.pyramid(first), network.pyramid(second), case.batch)
                return 4 * peer.resized(flow, case.height, case.width).numpy()

        run = torch.compile(infer) if side == "compile" else infer
        np.savez(directory / f"{side}.npz", flow=run())
        return run
    weights = peer.Weights(
        smoothness=spec.smoothness.weight,
        edge_constant=spec.smoothness.edge_constant,
        selfsup=spec.selfsup.weight if mode == "selfsup" else 0.0,
        crop=case.crop,
    )
    images = torch.cat((first, second))
    optimizer = torch.optim.Adam(network.parameters(), lr=spec.train.learning_rate)
    loss = torch.compile(peer.loss) if side == "compile" else peer.loss

    def train() -> float:
        optimizer.zero_grad(set_to_none=True)
        value = loss(network, images, weights)
        value.backward()
        optimizer.step()
        return value.item()

    value = train()
    gradients = {n: p.grad.numpy() for n, p in network.named_parameters() if p.grad is not None}
    np.savez(directory / f"{side}.npz", loss=value, **gradients)
    return train


def runtime_side(side: str, case: Case, directory: pathlib.Path, threads: int) -> Callable[[], Any]:
    """Inference by a runtime for networks that were exported, with the graph that `experiments.export` writes."""
    from experiments.model_io import onnx_graph

    spec, stored = case.spec(False), np.load(directory / "parameters.npz")
    model = onnx_graph.model(
        spec.network,
        spec.normalization,
        {name: stored[name] for name in stored.files},
        height=case.height,
        width=case.width,
        properties={},
    )
    file = directory / f"{side}.onnx"
    file.write_bytes(model.SerializeToString(deterministic=True))
    images = dict(zip((onnx_graph.FIRST, onnx_graph.SECOND), case.images(), strict=True))
    if side == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

        def run() -> np.ndarray:
            return session.run(None, images)[0]
    else:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(str(file), "CPU", settings)

        def run() -> np.ndarray:
            return compiled(images)[0]

    np.savez(directory / f"{side}.npz", flow=run())
    return run


def main() -> int:
    """Answers commands until there are no more."""
    side, name, mode, where, threads = sys.argv[1:]
    case, directory = CASES[name], pathlib.Path(where)
    run: Callable[[], Any] | None = None
    for line in sys.stdin:
        command = json.loads(line)
        began = time.perf_counter()
        if command["do"] == "prepare":
            if side == "uflow":
                run = uflow_side(case, mode, directory)
            elif side in ("onnxruntime", "openvino"):
                run = runtime_side(side, case, directory, int(threads))
            else:
                run = torch_side(side, case, mode, directory, int(threads))
            answer: Any = time.perf_counter() - began
        elif command["do"] == "time":
            answer = []
            for _ in range(command["times"]):
                began = time.perf_counter()
                run()
                answer.append((time.perf_counter() - began) * 1e3)
        else:
            answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
