"""What a training step costs at the speed of a matrix product and of a copy: a yardstick, not a limit.

A convolution can be faster than the product of the library that is measured, and maps may stay in the cache.
"""

from __future__ import annotations

import dataclasses
import time

from benchmarks.cases import Case
from uflow.models.architecture import CONTEXT, DENSE, DISPLACEMENT, Architecture

_PASSES = 3  # forward, gradient by the input, gradient by the weights: each as much arithmetic as the other


@dataclasses.dataclass(frozen=True)
class Machine:
    """What one process reaches: `flops` of a matrix product, 1/s, and `bandwidth` of a copy, bytes/s (read + write)."""

    flops: float
    bandwidth: float


def measured(threads: int, repeats: int = 15) -> Machine:
    """The best of some repeats of PyTorch's 1024x1024 float32 product and of a copy of 256 MB."""
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
    return Machine(2 * size**3 / min(product), 2 * source.nbytes / min(copy))


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


def bound_ms(case: Case, selfsup: bool, machine: Machine) -> float:
    """The time of a step if it were bound by arithmetic or by traffic alone, whichever is longer, ms."""
    flops, moved = step_cost(case, selfsup)
    return 1e3 * max(flops / machine.flops, moved / machine.bandwidth)
