"""The same network and losses in PyTorch, written as one would write them there; needs the extra `bench`.

Only what the benchmark times: census, range map, second-order smoothness, normalization with shared statistics and
self-supervision with resized crops. Names of modules are those of `uflow.models.flow_network`, so that parameters can
be carried over by name.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uflow.models.architecture import CONTEXT, DENSE, DISPLACEMENT, Architecture


class Convolution(nn.Conv2d):
    """Convolution that keeps the size (for stride 1), with or without LeakyReLU(0.1)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1, active: bool = True):
        super().__init__(inputs, outputs, 3, stride, dilation, dilation)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = super().forward(x)
        return F.leaky_relu(y, 0.1) if self.active else y


class Pyramid(nn.Module):
    """Features at 1/2, 1/4, ... of the size."""

    def __init__(self, options: Architecture):
        super().__init__()
        levels, inputs = [], 3
        for layers, outputs in options.pyramid():
            cells = []
            for i in range(layers):
                cells.append(Convolution(inputs, outputs, stride=2 if i == 0 else 1))
                inputs = outputs
            levels.append(nn.Sequential(*cells))
        self.levels = nn.ModuleList(levels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps of all levels, finest first."""
        x, features = 2 * image - 1, []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """Dense block and flow head of a level."""

    def __init__(self, options: Architecture, inputs: int):
        super().__init__()
        cells = []
        for count in DENSE:
            outputs = options.channels(count)
            cells.append(Convolution(inputs, outputs))
            inputs += outputs
        self.block = nn.ModuleList(cells)
        self.head = Convolution(outputs, 2, active=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and flow."""
        for cell in self.block:
            y = cell(x)
            x = torch.cat((x, y), 1)
        return y, self.head(y)


class Upsampling(nn.Module):
    """Transposed convolution that doubles the size."""

    def __init__(self, channels: int, outputs: int):
        super().__init__()
        self.convolution = nn.ConvTranspose2d(channels, outputs, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W)."""
        return self.convolution(x)


class Context(nn.Module):
    """Dilated refinement."""

    def __init__(self, options: Architecture):
        super().__init__()
        inputs, cells = options.channels(DENSE[-1]) + 2, []
        for count, dilation in CONTEXT:
            outputs = options.channels(count)
            cells.append(Convolution(inputs, outputs, dilation=dilation))
            inputs = outputs
        cells.append(Convolution(inputs, 2, active=False))
        self.layers = nn.Sequential(*cells)

    def forward(self, features: Tensor, flow: Tensor) -> Tensor:
        """What to add to the flow."""
        return self.layers(torch.cat((features, flow), 1))


class FlowNetwork(nn.Module):
    """The network of `uflow.models.flow_network` with its default switches."""

    def __init__(self, options: Architecture):
        super().__init__()
        self.options = options
        self.pyramid = Pyramid(options)
        sizes = [channels for _, channels in options.pyramid()]
        upsampled, cost = options.channels(options.context_channels), (2 * DISPLACEMENT + 1) ** 2
        decoders, upsamplings = [], []
        for level in range(2, options.levels + 1):
            inputs = cost + sizes[level - 1] + (0 if level == options.levels else 2 + upsampled)
            decoders.append(Decoder(options, inputs))
            upsamplings.append(Upsampling(options.channels(DENSE[-1]), upsampled))
        self.decoders, self.upsamplings = nn.ModuleList(decoders), nn.ModuleList(upsamplings)
        self.context = Context(options)

    def forward(self, first: list[Tensor], second: list[Tensor], groups: int) -> Tensor:
        """Flow at a quarter of the size."""
        flow_up = context_up = None
        for level in range(self.options.levels, 1, -1):
            mine, other = first[level - 1], second[level - 1]
            if flow_up is not None:
                other = warp(other, flow_up)
            x = torch.cat((F.leaky_relu(cost_volume(*normalized(mine, other, groups)), 0.1), mine), 1)
            if flow_up is not None:
                x = torch.cat((context_up, flow_up, x), 1)
            features, flow = self.decoders[level - 2](x)
            if flow_up is not None:
                flow = flow + flow_up
            if level > 2:
                flow_up = upsampled(flow)
                context_up = self.upsamplings[level - 2](features)
        return flow + self.context(features, flow)

    def both_directions(self, frames: Tensor) -> Tensor:
        """Flows of first frames, then of second ones, (2B, 2, H/4, W/4)."""
        features = self.pyramid(frames)
        return self(features, [swapped(f) for f in features], 2)


def swapped(x: Tensor) -> Tensor:
    """The batch with its halves exchanged."""
    return x.roll(x.shape[0] // 2, 0)


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear with half-pixel centers."""
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)


def upsampled(flow: Tensor) -> Tensor:
    """A flow on the grid of twice the size."""
    return 2 * resized(flow, 2 * flow.shape[2], 2 * flow.shape[3])


def coordinates(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel moves to, x and y."""
    _, _, h, w = flow.shape
    return torch.arange(w) + flow[:, 0], torch.arange(h)[:, None] + flow[:, 1]


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """The image read where the flow points, 0 outside."""
    _, _, h, w = flow.shape
    x, y = coordinates(flow)
    grid = torch.stack((2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1), -1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def inside(flow: Tensor) -> Tensor:
    """1 where the flow stays in the frame."""
    _, _, h, w = flow.shape
    x, y = coordinates(flow)
    return ((x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)).to(flow.dtype)[:, None]


def normalized(first: Tensor, second: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Both feature maps centered and scaled by statistics that a direction's images share."""
    b = first.shape[0]
    both = torch.stack((first, second)).unflatten(1, (groups, b // groups))
    variance, mean = torch.var_mean(both, dim=(3, 4, 5), correction=0)
    mean, variance = (m.mean(dim=(0, 2)).repeat_interleave(b // groups)[:, None, None, None] for m in (mean, variance))
    deviation = torch.sqrt(variance + 1e-16)
    return (first - mean) / deviation, (second - mean) / deviation


def cost_volume(first: Tensor, second: Tensor) -> Tensor:
    """Correlation with the neighborhood, (B, 81, H, W)."""
    _, _, h, w = first.shape
    padded = F.pad(second, (DISPLACEMENT,) * 4)
    reach = range(2 * DISPLACEMENT + 1)
    return torch.stack([(first * padded[:, :, y : y + h, x : x + w]).mean(1) for y in reach for x in reach], 1)


def range_map(flow: Tensor) -> Tensor:
    """How much the flow brings to each pixel."""
    b, _, h, w = flow.shape
    x, y = coordinates(flow)
    x0, y0 = x.floor(), y.floor()
    right, below = x - x0, y - y0
    total = flow.new_zeros(b, h * w)
    for dx, dy, weight in (
        (0, 0, (1 - right) * (1 - below)),
        (1, 0, right * (1 - below)),
        (0, 1, (1 - right) * below),
        (1, 1, right * below),
    ):
        column, row = x0 + dx, y0 + dy
        counts = (column >= 0) & (column <= w - 1) & (row >= 0) & (row <= h - 1)
        index = (row.clamp(0, h - 1) * w + column.clamp(0, w - 1)).long()
        total = total.scatter_add(1, index.flatten(1), (weight * counts).flatten(1))
    return total.view(b, 1, h, w)


def census(image: Tensor, patch: int = 7) -> Tensor:
    """Soft census transform, (B, patch^2, H W)."""
    gray = 255 * (image * image.new_tensor([0.2989, 0.5870, 0.1140])[:, None, None]).sum(1, keepdim=True)
    difference = F.unfold(gray, patch, padding=patch // 2) - gray.flatten(2)
    return difference * torch.rsqrt(0.81 + difference**2)


def census_loss(image: Tensor, reconstruction: Tensor, visible: Tensor, patch: int = 7) -> Tensor:
    """Robust soft Hamming distance of the visible inner pixels."""
    b, _, h, w = image.shape
    square = (census(image) - census(reconstruction)) ** 2
    hamming = (square / (0.1 + square)).sum(1).view(b, 1, h, w)
    mask = torch.zeros_like(visible)
    border = patch // 2
    mask[:, :, border:-border, border:-border] = visible[:, :, border:-border, border:-border]
    return ((hamming.abs() + 0.01) ** 0.4 * mask).sum() / (mask.detach() + 1e-6).sum()


def robust(x: Tensor) -> Tensor:
    """Charbonnier penalty."""
    return torch.sqrt(x**2 + 1e-6)


def smoothness(image: Tensor, flow: Tensor, constant: float) -> Tensor:
    """Edge-aware second-order smoothness."""
    along_x = torch.exp(-(constant * (image[..., 2:] - image[..., :-2])).abs().mean(1, keepdim=True))
    along_y = torch.exp(-(constant * (image[..., 2:, :] - image[..., :-2, :])).abs().mean(1, keepdim=True))
    change_x, change_y = flow.diff(n=2, dim=3), flow.diff(n=2, dim=2)
    return ((along_x * robust(change_x)).mean() + (along_y * robust(change_y)).mean()) / 2


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the terms, and what they need to know."""

    smoothness: float
    edge_constant: float
    selfsup: float = 0.0
    crop: int = 0
    sigma_teacher: float = 0.003
    sigma_student: float = 0.03


def loss(network: FlowNetwork, images: Tensor, weights: Weights) -> Tensor:
    """The whole loss of a batch, (2B, 3, H, W), first frames, then second ones."""
    half = images.shape[0] // 2
    flow = network.both_directions(images)
    full = upsampled(upsampled(flow))
    visible = (range_map(swapped(full)).clamp(0, 1) * inside(full)).detach()
    reconstruction = warp(swapped(images), full)
    total = sum(census_loss(images[s], reconstruction[s], visible[s]) for s in (slice(half), slice(half, None))) / 2
    small = F.avg_pool2d(F.avg_pool2d(images, 2), 2)
    total = total + weights.smoothness * smoothness(small, flow, weights.edge_constant)
    if weights.selfsup:
        total = total + weights.selfsup * taught(network, images, weights)
    return total


def taught(network: FlowNetwork, images: Tensor, weights: Weights) -> Tensor:
    """The student, who sees a crop, follows the teacher, who sees everything."""
    with torch.no_grad():
        teacher = network.both_directions(images)
        trusted = cropped(agreement(teacher, weights.sigma_teacher), weights.crop // 4)
        target = cropped(teacher, weights.crop // 4)
        h, w = teacher.shape[2:]
        growth = teacher.new_tensor([w / (w - weights.crop // 2), h / (h - weights.crop // 2)])
        target = target * growth[:, None, None]
    student = network.both_directions(cropped(images, weights.crop))
    with torch.no_grad():
        mask = trusted * (1 - agreement(student, weights.sigma_student))
    return (mask * robust(target - student)).sum() / mask.numel()


def cropped(x: Tensor, crop: int) -> Tensor:
    """The central part, brought back to the size."""
    h, w = x.shape[2:]
    return resized(x[:, :, crop : h - crop, crop : w - crop], h, w)


def agreement(flow: Tensor, sigma: float) -> Tensor:
    """How far the flows of both directions cancel inside of the frame."""
    _, _, h, w = flow.shape
    gap = ((flow + warp(swapped(flow), flow)) ** 2).sum(1, keepdim=True)
    return torch.exp(-gap / (sigma**2 * (h**2 + w**2))) * inside(flow)
