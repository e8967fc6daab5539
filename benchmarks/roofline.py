"""What a step or inference costs at the speed of a matrix product, of a copy, and of the CPU's multiply-adds.

The first two are a yardstick and not a limit: a convolution can be faster than the product of the library that is
measured, and maps may stay in the cache. Nothing is faster than multiply-adds of vectors in registers (`peak.cc`).
"""

from __future__ import annotations

import ctypes
import dataclasses
import pathlib
import tempfile
import time

from benchmarks.cases import Case
from uflow.kernels import build
from uflow.models.architecture import CONTEXT, DENSE, DISPLACEMENT, Architecture

_PASSES = 3  # forward, gradient by the input, gradient by the weights: each as much arithmetic as the other


@dataclasses.dataclass(frozen=True)
class Machine:
    """What one process reaches.

    Attributes:
        flops: of a matrix product, 1/s.
        bandwidth: of a copy, bytes/s (read + write).
        peak: multiply-adds in registers, two operations each, 1/s; `None` without a compiler.
    """

    flops: float
    bandwidth: float
    peak: float | None = None


def measured(threads: int, repeats: int = 15) -> Machine:
    """The best of some repeats of PyTorch's 1024x1024 float32 product, of a copy of 256 MB, and of multiply-adds."""
    import torch

    torch.set_num_threads(threads)
    size = 1024
    a, b = torch.rand(size, size), torch.empty(size, size)
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    product, copy = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        torch.mm(a, a, out=b)
        product.append(time.perf_counter() - began)
        began = time.perf_counter()
        target.copy_(source)
        copy.append(time.perf_counter() - began)
    peak = peak_of_thread()
    return Machine(2 * size**3 / min(product), 2 * source.nbytes / min(copy), peak and threads * peak)


def peak_of_thread(rounds: int = 100_000, repeats: int = 200) -> float | None:
    """Operations a second of one thread, the best of some repeats of a millisecond; `None` without a compiler."""
    with tempfile.TemporaryDirectory(prefix="uflow-peak-") as folder:
        made = pathlib.Path(folder, "peak.so")
        try:
            build.compile_library([pathlib.Path(__file__).with_name("peak.cc")], made)
        except build.BuildError:
            return None
        function = ctypes.CDLL(str(made)).uflow_peak
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_int64, ctypes.c_float, ctypes.c_float, ctypes.c_void_p]
    sink = (ctypes.c_float * 16)()
    best = 0.0
    for _ in range(repeats):
        began = time.perf_counter()
        done = function(rounds, 0.999, 0.001, sink)
        best = max(best, done / (time.perf_counter() - began))
    return best


def convolutions(options: Architecture, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Every convolution of the network for one image, as (inputs, outputs, taps, output pixels)."""
    found, inputs = [], 3
    sizes = options.pyramid()
    for level, (layers, outputs) in enumerate(sizes, 1):
        pixels = (height >> level) * (width >> level)
        for _ in range(layers):
            found.append((inputs, outputs, 9, pixels))
            inputs = outputs
    upsampled, cost = options.channels(options.context_channels), (2 * DISPLACEMENT + 1) ** 2
    last = options.channels(DENSE[-1])
    for level in range(options.levels, 1, -1):
        pixels = (height >> level) * (width >> level)
        inputs = cost + sizes[level - 1][1] + (0 if level == options.levels else 2 + upsampled)
        for count in DENSE:
            found.append((inputs, options.channels(count), 9, pixels))
            inputs += options.channels(count)
        found.append((last, 2, 9, pixels))
        if level > 2:
            found.append((last, upsampled, 4, 4 * pixels))  # transposed, stride 2: a quarter of 16 taps per output
    inputs, pixels = last + 2, (height >> 2) * (width >> 2)
    for count, _ in CONTEXT:
        found.append((inputs, options.channels(count), 9, pixels))
        inputs = options.channels(count)
    found.append((inputs, 2, 9, pixels))
    return found


def step_cost(case: Case, selfsup: bool) -> tuple[float, float]:
    """Floating-point operations and bytes of the convolutions and cost volumes of a training step.

    A lower bound: losses and everything element-wise come on top, and every map is taken to be read and written once
    per pass. Self-supervision adds a student, trained like the rest, and a teacher, who is only evaluated.
    """
    options = case.spec(selfsup).network
    images = 2 * case.batch
    layers = convolutions(options, case.height, case.width)
    flops = sum(2 * i * o * taps * pixels for i, o, taps, pixels in layers)
    moved = sum(4 * (i + o) * pixels for i, o, _, pixels in layers)
    for level in range(2, options.levels + 1):
        pixels, channels = (case.height >> level) * (case.width >> level), options.pyramid()[level - 1][1]
        flops += 2 * channels * (2 * DISPLACEMENT + 1) ** 2 * pixels
        moved += 4 * (2 * channels + (2 * DISPLACEMENT + 1) ** 2) * pixels
    passes = _PASSES * (2 if selfsup else 1) + (1 if selfsup else 0)
    return float(flops * images * passes), float(moved * images * passes)


def inference_flops(case: Case) -> float:
    """Floating-point operations of the convolutions and cost volumes of inference, from first to second images."""
    options = case.spec(False).network
    layers = [2.0 * i * o * taps * pixels for i, o, taps, pixels in convolutions(options, case.height, case.width)]
    pyramid = sum(count for count, _ in options.pyramid())  # both images go through it, the rest sees the pair once
    levels = range(2, options.levels + 1)
    volumes = sum(
        2
        * options.pyramid()[level - 1][1]
        * (2 * DISPLACEMENT + 1) ** 2
        * (case.height >> level)
        * (case.width >> level)
        for level in levels
    )
    return case.batch * (2 * sum(layers[:pyramid]) + sum(layers[pyramid:]) + volumes)


def flops_of(case: Case, mode: str) -> float:
    """Floating-point operations of `step`, `selfsup` or `inference`, convolutions and cost volumes."""
    return inference_flops(case) if mode == "inference" else step_cost(case, mode == "selfsup")[0]


def bound_ms(case: Case, selfsup: bool, machine: Machine) -> float:
    """The time of a step if it were bound by arithmetic or by traffic alone, whichever is longer, ms."""
    flops, moved = step_cost(case, selfsup)
    return 1e3 * max(flops / machine.flops, moved / machine.bandwidth)
