r"""SLIC superpixels of images: clusters of pixels that are near in place and color, by operators of any device.

Source: Achanta et al., TPAMI 2012: k-means from a regular grid with the distance $\sqrt{d_c^2 + (m d_s / S)^2}$, $d_c$
in CIELAB, $d_s$ in px, $S$ the side of the grid's cells, $m$ the compactness. Each pixel looks at the centers of its
own cell and of the eight around it, as in Jampani et al., ECCV 2018 (without its network), so that all shapes are known
when a graph is compiled. Left out are the first move of the centers to places with a small gradient, for they begin as
means of their cells, and the last step, which hands stray pixels to what surrounds them.
"""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import columns, counted, rows

ITERATIONS = 5  # ten bring it hardly nearer to scikit-image's: 78 % of its borders instead of 77, at 8 px of 96x128
_SEEN, _COUNT = 5, 6  # channels of a pixel: color and place, what distances are of; its weight; what is averaged
_FAR = 1e30  # of centers beyond the border


def lab(image: ms.Tensor) -> ms.Tensor:
    """CIELAB of sRGB in [0, 1], (B, 3, H, W): lightness in [0, 100], then a and b; the white point is D65."""
    linear = ms.ops.where(image > 0.04045, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)
    red, green, blue = linear[:, :1], linear[:, 1:2], linear[:, 2:]
    x = (0.412453 * red + 0.357580 * green + 0.180423 * blue) / 0.95047
    y = 0.212671 * red + 0.715160 * green + 0.072169 * blue
    z = (0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.08883
    light = ms.ops.concat((x, y, z), axis=1)
    light = ms.ops.where(light > 0.008856, light ** (1 / 3), 7.787 * light + 16 / 116)
    x, y, z = light[:, :1], light[:, 1:2], light[:, 2:]
    return ms.ops.concat((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=1)


def superpixel_means(image: ms.Tensor, side: int, compactness: float) -> ms.Tensor:
    """The image with every pixel replaced by the mean color of its superpixel, (B, 3, H, W); it passes no gradient.

    Args:
        image: (B, 3, H, W), sRGB in [0, 1].
        side: of the cells of the grid that the superpixels begin as, px; those at the right and lower border are cut.
        compactness: the difference in CIELAB that counts as much as a distance of `side`.
    """
    chosen, centers = clustered(image, side, compactness)
    return painted(image, side, chosen, centers[..., _COUNT:])


def marked_superpixels(image: ms.Tensor, side: int, compactness: float, marks: ms.Tensor) -> ms.Tensor:
    """Of every pixel the mark of its superpixel, (B, 1, H, W); it passes no gradient.

    Args:
        image: (B, 3, H, W), sRGB in [0, 1].
        side: as for `superpixel_means`.
        compactness: as for `superpixel_means`.
        marks: (1, 1, ceil(H / side), ceil(W / side)), of the cells that the superpixels begin as.
    """
    chosen, centers = clustered(image, side, compactness)
    b, n, _ = centers.shape
    return painted(image, side, chosen, ms.ops.tile(marks.reshape(1, n, 1), (b, 1, 1)))


def clustered(image: ms.Tensor, side: int, compactness: float) -> tuple[ms.Tensor, ms.Tensor]:
    """Which of the nine centers around its cell a pixel belongs to, (B, N, P, 9), and the centers, (B, N, 9)."""
    _, _, h, w = image.shape
    height, width = (h + side - 1) // side, (w + side - 1) // side
    near = neighbors(height, width)
    pixels = cells(features(image, compactness / side), side, height, width)
    sums, centers, chosen = pixels.sum(axis=2), 0, 0
    for _ in range(ITERATIONS):
        centers = means(sums, centers)
        chosen = nearest(pixels, centers, near)
        sums = gathered(chosen, pixels, near)
    return chosen, means(sums, centers)


def painted(image: ms.Tensor, side: int, chosen: ms.Tensor, values: ms.Tensor) -> ms.Tensor:
    """Of every pixel of the image what its superpixel has, (B, C, H, W), of the values of all, (B, N, C)."""
    b, _, h, w = image.shape
    height, width = (h + side - 1) // side, (w + side - 1) // side
    near = neighbors(height, width)
    found = ms.ops.matmul(chosen, around(values, ms.ops.zeros_like(values[:, :1]), near))
    found = found.reshape(b, height, width, side, side, values.shape[2]).transpose(0, 5, 1, 3, 2, 4)
    found = found.reshape(b, values.shape[2], height * side, width * side)
    return ms.ops.stop_gradient(found[:, :, :h, :w])


def features(image: ms.Tensor, scale: float) -> ms.Tensor:
    """What is known of each pixel, (B, 9, H, W): CIELAB, x and y times `scale`, 1, and RGB."""
    b, _, h, w = image.shape
    one = ms.ops.ones_like(image[:, :1])
    x, y = scale * columns(w).reshape(1, 1, 1, w) * one, scale * rows(h).reshape(1, 1, h, 1) * one
    return ms.ops.concat((lab(image), x, y, one, image), axis=1)


def cells(x: ms.Tensor, side: int, height: int, width: int) -> ms.Tensor:
    """Pixels by the cell of the grid that they lie in, (B, height * width, side^2, C); 0 beyond the border."""
    b, c, h, w = x.shape
    x = ms.ops.pad(x, (0, width * side - w, 0, height * side - h))
    x = x.reshape(b, c, height, side, width, side).transpose(0, 2, 4, 3, 5, 1)
    return x.reshape(b, height * width, side * side, c)


def neighbors(height: int, width: int) -> ms.Tensor:
    """The cells around each cell, itself in the middle, (height * width * 9,); the number of cells stands for none."""
    nine = counted(9)
    y = counted(height).reshape(height, 1, 1) + nine // 3 - 1
    x = counted(width).reshape(1, width, 1) + nine % 3 - 1
    inside = ms.ops.logical_and(ms.ops.logical_and(x >= 0, x < width), ms.ops.logical_and(y >= 0, y < height))
    return ms.ops.where(inside, y * width + x, height * width).reshape(-1)


def around(x: ms.Tensor, none: ms.Tensor, near: ms.Tensor) -> ms.Tensor:
    """What the cells around each cell have, (B, N, 9, C), of what each has, (B, N, C), and what there is beyond."""
    b, n, c = x.shape
    return ms.ops.gather(ms.ops.concat((x, none), axis=1), near, 1).reshape(b, n, 9, c)


def nearest(pixels: ms.Tensor, centers: ms.Tensor, near: ms.Tensor) -> ms.Tensor:
    """Which center around its cell is nearest to a pixel, (B, N, P, 9): 1 for it, 0 for the others."""
    seen = centers[..., :_SEEN]
    # |p - c|^2 less |p|^2, the same for all nine, is -2 p c + |c|^2: one product, with the 1 that is a pixel's weight
    keys = ms.ops.concat((-2 * seen, (seen * seen).sum(axis=2, keepdims=True)), axis=2)
    none = ms.ops.concat((ms.ops.zeros_like(seen[:, :1]), ms.ops.full_like(seen[:, :1, :1], _FAR)), axis=2)
    squared = ms.ops.BatchMatMul(transpose_b=True)(pixels[..., :_COUNT], around(keys, none, near))
    return ms.ops.one_hot(squared.argmin(axis=3), 9, 1.0, 0.0).astype(pixels.dtype)


def gathered(chosen: ms.Tensor, pixels: ms.Tensor, near: ms.Tensor) -> ms.Tensor:
    """Sums over the pixels that have chosen a center, (B, N, C); they lie in the cells around its own."""
    b, n, _, c = pixels.shape
    given = ms.ops.BatchMatMul(transpose_a=True)(chosen, pixels)  # by each cell to its nine, (B, N, 9, C)
    padded = ms.ops.concat((given, ms.ops.zeros_like(given[:, :1])), axis=1).reshape(b, 9 * n + 9, c)
    back = near.reshape(n, 9) * 9 + 8 - counted(9)  # a cell is the opposite neighbor of its neighbor
    return ms.ops.gather(padded, back.reshape(-1), 1).reshape(b, n, 9, c).sum(axis=2)


def means(sums: ms.Tensor, empty: ms.Tensor | int) -> ms.Tensor:
    """Centers of sums over their pixels, (B, N, 9); `empty` where there are none."""
    count = sums[..., _SEEN:_COUNT]
    return ms.ops.where(count > 0, sums / ms.ops.clamp(count, 1), empty)
