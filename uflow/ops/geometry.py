"""Tensor functions shared by the network and the components: all conventions of geometry in one place.

Tensors are (B, C, H, W). A flow has channel 0 = x (to the right) and channel 1 = y (down), in px of its own grid.
Masks are 1 where a pixel counts and 0 where it does not. Pyramid level l is the grid of 1/2^l of the frame's size.
Resizing is bilinear with half-pixel centers and without antialiasing, as in the reference.
"""

from __future__ import annotations

from uflow import backend as ms
from uflow import kernels
from uflow.ops import parallel


def convolution(
    x: ms.Tensor,
    weight: ms.Tensor,
    bias: ms.Tensor,
    stride: int = 1,
    dilation: int = 1,
    padding: int = 1,
    leaky_relu: bool = False,
) -> ms.Tensor:
    """Convolution with zero padding on all sides, (B, O, H', W'), for a weight of (O, C, k, k) and a bias of (O,).

    With `leaky_relu` it is followed by LeakyReLU(0.1).
    """
    if kernels.usable(x):
        return kernels.convolution(x, weight, bias, stride, dilation, padding, leaky_relu)
    y = ms.ops.conv2d(x, weight, bias, stride=stride, pad_mode="pad", padding=padding, dilation=dilation)
    return apply_leaky_relu(y) if leaky_relu else y


def apply_leaky_relu(x: ms.Tensor) -> ms.Tensor:
    """`x` where positive and `0.1 x` elsewhere; with ReLU it costs less than the library's operator on the CPU.

    The derivative at 0 is 0.1, as in the reference, and NaN stays NaN, which MindSpore's ReLU turns into 0.
    """
    positive = ms.ops.relu(x)
    return positive + 0.1 * (x - positive)


def counted(end: int) -> ms.Tensor:
    """0, 1, ... `end` - 1, (end,), an integer type; the operator itself compiles a second faster than `ops.arange`."""
    return ms.ops.range(0, end, 1)


def columns(width: int) -> ms.Tensor:
    """Coordinates x of a grid, (1, 1, W)."""
    return counted(width).astype(ms.float32).reshape(1, 1, width)


def rows(height: int) -> ms.Tensor:
    """Coordinates y of a grid, (1, H, 1)."""
    return counted(height).astype(ms.float32).reshape(1, height, 1)


def destinations(flow: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
    """Where each pixel moves to, `p + flow(p)`: coordinates x and y, (B, H, W) each."""
    return columns(flow.shape[3]) + flow[:, 0], rows(flow.shape[2]) + flow[:, 1]


def inside_frame(flow: ms.Tensor) -> ms.Tensor:
    """1 where `p + flow(p)` lies in the frame, borders included, (B, 1, H, W)."""
    _, _, h, w = flow.shape
    x, y = destinations(flow)
    inside = ms.ops.logical_and(ms.ops.logical_and(x >= 0, x <= w - 1), ms.ops.logical_and(y >= 0, y <= h - 1))
    return inside.astype(flow.dtype).expand_dims(1)


def _corner(flat: ms.Tensor, x: ms.Tensor, y: ms.Tensor, weight: ms.Tensor, h: int, w: int) -> ms.Tensor:
    b, c, _ = flat.shape
    n = x.shape[1] * x.shape[2]
    inside = ms.ops.logical_and(ms.ops.logical_and(x >= 0, x <= w - 1), ms.ops.logical_and(y >= 0, y <= h - 1))
    index = ms.ops.clamp(y, 0, h - 1) * w + ms.ops.clamp(x, 0, w - 1)
    index = ms.ops.tile(index.astype(ms.int32).reshape(b, 1, n), (1, c, 1))
    value = ms.ops.gather_elements(flat, 2, index)
    return value * (weight * inside.astype(flat.dtype)).reshape(b, 1, n)


def sample(image: ms.Tensor, x: ms.Tensor, y: ms.Tensor) -> ms.Tensor:
    """`image` read at coordinates, bilinearly, (B, C, H', W'); each neighbor outside of the frame counts as 0.

    The neighbors are floor and ceil, not floor + 1. At a whole coordinate both are the same pixel, so the value is
    exact and the derivative by that coordinate is 0, as in the reference (a zero flow gets no photometric gradient).

    Args:
        image: (B, C, H, W).
        x: (B, H', W'), px.
        y: (B, H', W'), px.
    """
    b, c, h, w = image.shape
    x0, y0 = ms.ops.floor(x), ms.ops.floor(y)
    x1, y1 = ms.ops.ceil(x), ms.ops.ceil(y)
    right, below = x - x0, y - y0
    flat = image.reshape(b, c, h * w)
    sampled = (
        _corner(flat, x0, y0, (1 - right) * (1 - below), h, w)
        + _corner(flat, x1, y0, right * (1 - below), h, w)
        + _corner(flat, x0, y1, (1 - right) * below, h, w)
        + _corner(flat, x1, y1, right * below, h, w)
    )
    return sampled.reshape(b, c, x.shape[1], x.shape[2])


def warp(image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
    """`image` read at `p + flow(p)`, (B, C, H, W); see `sample`.

    Args:
        image: (B, C, H, W).
        flow: (B, 2, H, W), px.
    """
    if kernels.usable(image) and kernels.usable(flow):
        return kernels.warp(image, flow)
    x, y = destinations(flow)
    return sample(image, x, y)


def resize(x: ms.Tensor, height: int, width: int) -> ms.Tensor:
    """`x` on a grid of another size, (B, C, height, width): bilinear, half-pixel centers, no antialiasing."""
    if x.shape[2] == height and x.shape[3] == width:
        return x
    # the operator that `ops.interpolate` ends with: compiling all of that takes a second more for every graph
    return ms.ops.ResizeBilinearV2(align_corners=False, half_pixel_centers=True)(x, (height, width))


def resize_flow(flow: ms.Tensor, height: int, width: int) -> ms.Tensor:
    """A flow on a grid of another size, (B, 2, height, width), in px of that grid."""
    _, _, h, w = flow.shape
    resized = resize(flow, height, width)
    return ms.ops.concat((resized[:, :1] * (width / w), resized[:, 1:] * (height / h)), axis=1)


def upsample_flow(flow: ms.Tensor) -> ms.Tensor:
    """A flow on the grid of twice the size, (B, 2, 2H, 2W), in px of that grid."""
    return 2.0 * resize(flow, 2 * flow.shape[2], 2 * flow.shape[3])


def downsample_flow(flow: ms.Tensor) -> ms.Tensor:
    """A flow on the grid of half the size, (B, 2, H // 2, W // 2), halved.

    For odd sizes the reference halves the flow although the grid shrinks by a little more; so does this. `resize_flow`
    uses the ratio of the sizes.
    """
    return 0.5 * resize(flow, flow.shape[2] // 2, flow.shape[3] // 2)


def image_at_level(image: ms.Tensor, level: int) -> ms.Tensor:
    """The image at a pyramid level, halved `level` times (for even sizes: means of 2x2 pixels)."""
    for _ in range(level):
        image = resize(image, image.shape[2] // 2, image.shape[3] // 2)
    return image


def difference_along_columns(x: ms.Tensor, stride: int = 1) -> ms.Tensor:
    """`x` minus its left neighbor at distance `stride`, (B, C, H, W - stride): changes in the x direction."""
    return x[:, :, :, stride:] - x[:, :, :, :-stride]


def difference_along_rows(x: ms.Tensor, stride: int = 1) -> ms.Tensor:
    """`x` minus its upper neighbor at distance `stride`, (B, C, H - stride, W): changes in the y direction."""
    return x[:, :, stride:] - x[:, :, :-stride]


def average_along_columns(x: ms.Tensor) -> ms.Tensor:
    """Means of horizontal neighbors, (B, C, H, W - 1)."""
    return (x[:, :, :, 1:] + x[:, :, :, :-1]) / 2


def average_along_rows(x: ms.Tensor) -> ms.Tensor:
    """Means of vertical neighbors, (B, C, H - 1, W)."""
    return (x[:, :, 1:] + x[:, :, :-1]) / 2


def unit_activation(features: ms.Tensor) -> ms.Tensor:
    """Features (B, C, H, W) whose absolute values add up to 1 at every pixel.

    Each channel is first divided by the sum of its absolute values over the batch and all pixels, so that all
    channels weigh the same. Source: the reference's `normalize_for_feature_metric_loss`.
    """
    even = features / (ms.ops.abs(features).sum(axis=(0, 2, 3), keepdims=True) + 1e-16)
    return even / (ms.ops.abs(even).sum(axis=1, keepdims=True) + 1e-16)


def robust_l1(x: ms.Tensor, epsilon: float = 1e-3) -> ms.Tensor:
    """sqrt(x^2 + epsilon^2): quadratic for differences below `epsilon`, linear above."""
    return ms.ops.sqrt(x * x + epsilon**2)


def visible_mean(error: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
    """Mean over the visible pixels of the error summed over channels, a scalar; 0 if no pixel is visible."""
    return parallel.total((error * visible).sum()) / (parallel.total(visible.sum()) + 1e-16)


def _splat(x: ms.Tensor, y: ms.Tensor, weight: ms.Tensor, h: int, w: int) -> ms.Tensor:
    b = x.shape[0]
    inside = ms.ops.logical_and(ms.ops.logical_and(x >= 0, x <= w - 1), ms.ops.logical_and(y >= 0, y <= h - 1))
    frame = counted(b).astype(ms.float32).reshape(b, 1, 1) * (h * w)
    index = ms.ops.clamp(y, 0, h - 1) * w + ms.ops.clamp(x, 0, w - 1)
    index = index.astype(ms.int32) + frame.astype(ms.int32)
    weight = weight * inside.astype(weight.dtype)
    return ms.ops.unsorted_segment_sum(weight.reshape(-1), index.reshape(-1), b * h * w)


def range_map(flow: ms.Tensor, factor: int = 1, resized: bool = True) -> ms.Tensor:
    """How much of the other frame the flow brings to each pixel, (B, 1, H, W): 1 for a one-to-one motion, 0 for a hole.

    Every pixel of the flow's frame hands its bilinear weights to the four pixels around `p + flow(p)`; weights that
    fall outside are lost. With `factor` d > 1 the flow is continued by d/2 px beyond the border, the weights are
    gathered on a grid of 1/d of the size, divided by d^2 and, if `resized`, brought back. Differentiable through the
    weights.

    Source: Wang et al., CVPR 2018 (d = 1); the reference's `compute_range_map` with bias reduction, which upstream
    cannot leave out for d > 1 (it raises there) and which is always on here.
    """
    b, _, h, w = flow.shape
    if kernels.usable(flow):
        total = kernels.range_map(flow, factor)
        return resize(total, h, w) if resized else total
    margin = factor // 2 if factor > 1 else 0
    if margin:
        # edge values outward: continuing the flow keeps the border from looking like a hole
        top, bottom = flow[:, :, :1], flow[:, :, -1:]
        flow = ms.ops.concat((top,) * margin + (flow,) + (bottom,) * margin, axis=2)
        left, right = flow[:, :, :, :1], flow[:, :, :, -1:]
        flow = ms.ops.concat((left,) * margin + (flow,) + (right,) * margin, axis=3)
    x, y = destinations(flow)
    x, y = x - margin, y - margin
    if factor > 1:
        x = (x + (1 - factor) * 0.5) / factor
        y = (y + (1 - factor) * 0.5) / factor
    height, width = h // factor, w // factor
    x0, y0 = ms.ops.floor(x), ms.ops.floor(y)
    right_share, lower_share = x - x0, y - y0
    total = (
        _splat(x0, y0, (1 - right_share) * (1 - lower_share), height, width)
        + _splat(x0 + 1, y0, right_share * (1 - lower_share), height, width)
        + _splat(x0, y0 + 1, (1 - right_share) * lower_share, height, width)
        + _splat(x0 + 1, y0 + 1, right_share * lower_share, height, width)
    )
    total = total.reshape(b, 1, height, width) / (factor * factor)
    return resize(total, h, w) if resized else total


def cost_volume(first: ms.Tensor, second: ms.Tensor, displacement: int = 4, leaky_relu: bool = False) -> ms.Tensor:
    """Correlation of each pixel with its neighborhood in the other map, (B, (2d+1)^2, H, W).

    Channel (dy + d)(2d + 1) + (dx + d) is the mean over feature channels of `first[y, x] * second[y + dy, x + dx]`,
    zero outside of the map. With `leaky_relu` it is followed by LeakyReLU(0.1).

    Source: Sun et al., CVPR 2018 (PWC-Net), eq. 2, as a mean.
    """
    if kernels.usable(first) and kernels.usable(second):
        return kernels.cost_volume(first, second, displacement, leaky_relu)
    b, c, h, w = first.shape
    window = 2 * displacement + 1
    neighbors = ms.ops.unfold(second, kernel_size=window, padding=displacement)
    neighbors = neighbors.reshape(b, c, window * window, h * w)
    cost = (first.reshape(b, c, 1, h * w) * neighbors).sum(axis=1) / c
    cost = cost.reshape(b, window * window, h, w)
    return apply_leaky_relu(cost) if leaky_relu else cost


def forward_backward(forward: ms.Tensor, backward: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
    """How far the two flows are from cancelling, and how large they are, both (B, 1, H, W) in px^2.

    |f + b|^2 and |f|^2 + |b|^2, with `b` read where `f` points.

    Source: Sundaram, Brox and Keutzer, ECCV 2010, eq. 5.
    """
    returned = warp(backward, forward)
    gap = ((forward + returned) ** 2).sum(axis=1, keepdims=True)
    size = (forward**2 + returned**2).sum(axis=1, keepdims=True)
    return gap, size
