"""Soft census transform: compares what a pixel is relative to its neighbors."""

from __future__ import annotations

from uflow import backend as ms
from uflow import kernels
from uflow.ops import parallel, robust
from uflow.ops.geometry import columns, rows
from uflow.options import Choices, Range, option
from uflow.registry import register

_RED, _GREEN, _BLUE = 0.2989, 0.5870, 0.1140


def census_transform(image: ms.Tensor, patch: int) -> ms.Tensor:
    """Soft signs of the differences to the neighbors, (B, patch^2, H * W); zero outside of the frame.

    Computed in float32 on gray values in [0, 255], whatever the precision of the network.
    """
    image = image.astype(ms.float32)
    gray = 255.0 * (_RED * image[:, 0:1] + _GREEN * image[:, 1:2] + _BLUE * image[:, 2:3])
    b, _, h, w = gray.shape
    neighbors = ms.ops.unfold(gray, kernel_size=patch, padding=patch // 2).reshape(b, patch * patch, h * w)
    difference = neighbors - gray.reshape(b, 1, h * w)
    return difference / ms.ops.sqrt(0.81 + difference * difference)


def soft_hamming(first: ms.Tensor, second: ms.Tensor, threshold: float = 0.1) -> ms.Tensor:
    """Number of neighbors in which two census transforms (B, patch^2, N) differ, soft, (B, N).

    A difference of `threshold`^(1/2) counts by half.
    """
    change = first - second
    square = change * change
    return (square / (threshold + square)).sum(axis=1)


def hamming_distance(image: ms.Tensor, reconstruction: ms.Tensor, patch: int) -> ms.Tensor:
    """Soft Hamming distance of the census transforms, (B, 1, H, W), 0 to patch^2 - 1; of (B, 3, H, W) in [0, 1]."""
    if kernels.usable(image) and kernels.usable(reconstruction):
        return kernels.hamming_distance(image, reconstruction, patch)
    b, _, h, w = image.shape
    return soft_hamming(census_transform(image, patch), census_transform(reconstruction, patch)).reshape(b, 1, h, w)


def inner(mask: ms.Tensor, border: int) -> ms.Tensor:
    """`mask` with zeros on a border of the given width, whose patches reach beyond the frame."""
    _, _, h, w = mask.shape
    x, y = columns(w), rows(h)
    across = ms.ops.logical_and(x >= border, x < w - border)
    down = ms.ops.logical_and(y >= border, y < h - border)
    # no cropping and padding: the gradient of MindSpore 2.10's pad is wrong from the second run of a graph on
    return mask * ms.ops.logical_and(across, down).astype(mask.dtype)


def census_loss(
    image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor, patch: int, distance: str
) -> ms.Tensor:
    """Mean of the penalized Hamming distance over the visible inner pixels, a scalar.

    As in the reference 1e-6 is added to the denominator for every pixel, and the denominator passes no gradient to the
    mask while the numerator does.
    """
    hamming = hamming_distance(image, reconstruction, patch)
    mask = inner(visible, patch // 2)
    counted = ms.ops.stop_gradient(mask) + 1e-6
    error = (robust.penalty(distance, hamming) * mask).sum()
    return parallel.total(error) / parallel.total(counted.sum())


@register(
    "photometric",
    "census",
    source="Meister, Hur and Roth, AAAI 2018 (UnFlow), eq. 2-3; UFlow's census_loss",
    reference="census_loss",
)
class Census:
    r"""Soft Hamming distance of census transforms, blind to changes of brightness and contrast.

    $t = d/\sqrt{0.81 + d^2}$ for the differences $d$ of gray values to the neighbors; the Hamming distance
    $\sum_k \Delta t_k^2/(0.1 + \Delta t_k^2)$ goes through a robust penalty. A border of patch/2 px does not count.
    """

    weight: float = option(1.0, Range(0.0, 100.0), search=Range(0.1, 10.0, log=True), help="weight of the term")
    patch: int = option(7, Choices((3, 5, 7, 9, 11)), search=Choices((3, 5, 7)), unit="px", help="side of the patch")
    distance: str = option("ddflow", Choices(robust.NAMES), help="robust penalty of the Hamming distance")

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Mean over the visible inner pixels, a scalar; shapes as in `uflow.interfaces.Photometric`."""
        return census_loss(image, reconstruction, visible, self.patch, self.distance)
