"""Scenes built by hand, whose flow, occlusions and frames are known."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from experiments.data.synthetic import layers as scene_layers
from experiments.data.synthetic.layers import Layer, Outline, Sinusoids, picture, truth

H, W = 40, 56


def _layer(center, shift, outline=None, matrix=((1, 0), (0, 1))):
    return Layer(np.array(center, float), np.array(shift, float), np.array(matrix, float), outline)


def _textures(count, seed=0, length=14.0):
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        angles = random.uniform(0, 2 * np.pi, 6)
        waves = 2 * np.pi / length * np.stack([np.cos(angles), np.sin(angles)], 1)
        amplitudes = random.uniform(0.01, 0.05, (3, 6))
        made.append(Sinusoids(waves, random.uniform(0, 6, 6), amplitudes, random.uniform(0.4, 0.6, 3)))
    return made


DISK = _layer((20, 18), (-5, 3), Outline(radius=8))
BUMPY = _layer((34, 20), (-4.3, 1.7), Outline(radius=9, aspect=1.6, bumps=3, height=0.25, phase=1.0))
TURNED = _layer((30, 22), (3.2, -2.1), Outline(9, 1.4, 4, 0.2, 0.5), ((1.05, -0.2), (0.25, 0.95)))
GROUND = _layer((27.5, 19.5), (4, -1))
SLOPED = _layer((27.5, 19.5), (2.5, 1.5), None, ((1.02, 0.05), (-0.06, 0.97)))
SCENES = {
    "one disk": [GROUND, DISK],
    "overlapping": [GROUND, DISK, BUMPY],
    "the other way round": [GROUND, BUMPY, DISK],
    "affine": [SLOPED, BUMPY, TURNED],
}


def test_flow_and_occlusions_of_a_disk_in_front_of_a_pan():
    flow, outside, covered = truth([GROUND, DISK], H, W)
    y, x = np.mgrid[:H, :W]
    disk = np.hypot(x - 20, y - 18) < 8
    assert np.array_equal(flow[0], np.where(disk, -5, 4))
    assert np.array_equal(flow[1], np.where(disk, 3, -1))
    # the background at p ends at p + (4, -1); the disk in the second frame is around (15, 21)
    hidden = ~disk & (np.hypot(x + 4 - 15, y - 1 - 21) < 8)
    assert hidden.sum() > 50 and np.array_equal(covered, hidden)
    assert np.array_equal(outside, ~disk & ((x > W - 1 - 4) | (y < 1)))


def _inside(layer, x, y):
    """Whether a point of the first frame lies in a layer, by angles."""
    shape = layer.outline
    if shape is None:
        return True
    dx, dy = (x - layer.center[0]) * shape.aspect, (y - layer.center[1]) / shape.aspect
    angle = np.arctan2(dy, dx)
    return np.hypot(dx, dy) < shape.radius * (1 + shape.height * np.cos(shape.bumps * angle + shape.phase))


def _by_force(layers):
    """Flow, outside, covered: pixel by pixel, layer by layer, from the definitions."""
    flow, outside, covered = np.zeros((2, H, W)), np.zeros((H, W), bool), np.zeros((H, W), bool)
    for y in range(H):
        for x in range(W):
            point = np.array([x, y], float)
            owner = max(k for k, layer in enumerate(layers) if _inside(layer, x, y))
            layer = layers[owner]
            target = layer.center + layer.shift + layer.matrix @ (point - layer.center)
            flow[:, y, x] = target - point
            outside[y, x] = not (0 <= target[0] <= W - 1 and 0 <= target[1] <= H - 1)
            for front in layers[owner + 1 :]:
                source = front.center + np.linalg.solve(front.matrix, target - front.center - front.shift)
                covered[y, x] |= not outside[y, x] and bool(_inside(front, *source))
    return flow, outside, covered


@pytest.mark.parametrize("name", SCENES)
def test_truth_equals_brute_force(name):
    flow, outside, covered = truth(SCENES[name], H, W)
    expected = _by_force(SCENES[name])
    assert np.abs(flow - expected[0]).max() < 1e-12
    assert np.array_equal(outside, expected[1]) and np.array_equal(covered, expected[2])
    assert covered.any() and outside.any()


def _warp(image, flow, order):
    y, x = np.mgrid[:H, :W].astype(float)
    return np.stack([map_coordinates(c, [y + flow[1], x + flow[0]], order=order, mode="mirror") for c in image])


def _interior(flow):
    """Pixels whose 9x9 neighborhood has one motion: no soft edge takes part."""
    step = np.zeros((H, W), bool)
    for axis in (1, 2):
        jump = np.abs(np.diff(flow, axis=axis)).max(0) > 0.6
        edge = np.argwhere(jump)
        for y, x in edge:
            step[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = True
    return ~step


@pytest.mark.parametrize("name", SCENES)
def test_the_second_frame_warped_by_the_flow_is_the_first(name):
    layers = SCENES[name]
    textures = _textures(len(layers))
    first, second = (picture(layers, textures, H, W, second=frame) for frame in (False, True))
    flow, outside, covered = truth(layers, H, W)
    inner = np.zeros((H, W), bool)
    inner[6:-6, 6:-6] = True

    def error(flow):
        return np.abs(_warp(second, flow, 5) - first).max(0)

    # the soft edge of a shape near the target blends two colors: stay two pixels away from what is covered
    visible = inner & ~outside & _interior(flow) & ~_near(covered, 2)
    assert visible.mean() > 0.1
    assert error(flow)[visible].max() < 1 / 255
    hidden = covered & inner
    assert np.median(error(flow)[hidden]) > 5 / 255
    for wrong in (-flow, flow[::-1], flow * [[[1]], [[-1]]], flow * 0, flow + 1):
        assert error(wrong)[visible].mean() > 3 / 255


def _near(mask, reach):
    padded = np.pad(mask, reach)
    return np.any([padded[r : r + H, c : c + W] for r in range(2 * reach + 1) for c in range(2 * reach + 1)], axis=0)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("layer", [DISK, BUMPY, TURNED])
def test_a_pixel_shows_the_share_of_it_that_a_shape_covers(layer, second):
    flat = [Sinusoids(np.zeros((1, 2)), np.zeros(1), np.zeros((3, 1)), np.full(3, level)) for level in (0.0, 1.0)]
    fine = (np.arange(9) - 4) / 9
    x, y = (np.arange(W)[:, None] + fine).reshape(1, -1), (np.arange(H)[:, None] + fine).reshape(-1, 1)
    if second:
        x, y = x - layer.center[0] - layer.shift[0], y - layer.center[1] - layer.shift[1]
        (a, b), (c, d) = np.linalg.inv(layer.matrix)
        x, y = layer.center[0] + a * x + b * y, layer.center[1] + c * x + d * y
    shares = _inside(layer, x, y).reshape(H, 9, W, 9).mean((1, 3))
    assert ((shares > 0) & (shares < 1)).sum() > 20
    assert np.abs(picture([GROUND, layer], flat, H, W, second)[0] - shares).max() < 0.1


def test_drawing_only_the_box_of_a_shape_changes_nothing(monkeypatch):
    for layers in SCENES.values():
        textures = _textures(len(layers))
        boxed = [*truth(layers, H, W), picture(layers, textures, H, W, False), picture(layers, textures, H, W, True)]
        with monkeypatch.context() as patch:
            patch.setattr(
                scene_layers, "_box", lambda layer, height, width, second: (slice(0, height), slice(0, width))
            )
            whole = [
                *truth(layers, H, W),
                picture(layers, textures, H, W, False),
                picture(layers, textures, H, W, True),
            ]
        for a, b in zip(boxed, whole, strict=True):
            assert np.abs(a.astype(float) - b).max() < 1e-12


def test_shapes_may_lie_outside_the_frame():
    layers = [GROUND, _layer((-30, 20), (4, 0), Outline(8)), _layer((20, 200), (4, 0), Outline(8))]
    flow, outside, covered = truth(layers, H, W)
    assert np.all(flow[0] == 4) and not covered.any()
    assert np.isfinite(picture(layers, _textures(3), H, W, True)).all()
