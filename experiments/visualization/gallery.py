"""One picture of every component on one procedural scene: what it sees, hides, smooths, normalizes or learns from.

    python -m experiments.visualization.gallery --out docs

writes `gallery.md` and `images/gallery/AXIS/NAME.png` into a folder. Components of your own are drawn too, with
--extensions. Nothing is trained: the flows are the true ones, and a component is asked nothing but what training asks.
The scene has a change of brightness, two shapes that move against the background, and exact occlusions.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from experiments.cli import flags, terminal
from experiments.data.pairs import Pair
from experiments.data.synthetic.layers import Layer, truth
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.scenes import arranged, draw, generator
from experiments.records.atomic import check_writable
from experiments.records.json_files import atomic_write
from experiments.visualization import flow_colors, run_gallery
from experiments.visualization.panels import visibility_picture
from uflow import backend as ms
from uflow import extensions, registry
from uflow.ops.geometry import inside_frame, warp

HEIGHT, WIDTH = 64, 96
SCENE = SceneOptions(seed=3, shapes_min=2, shapes_max=2, gain=0.3, offset=0.1)
PAIR = 1  # of the scenes, one that moves by some px and hides some pixels
STRIDE = 3  # px, between the pixels of the frame that a loss is asked for
WINDOW = 9  # px, the side of the part of the frame whose photometric loss a pixel of the picture shows
# What components that have these options are drawn with: the scene is too small for the usual crop, px, and a mixture
# of all its losses looks like none of them.
CHANGED = {"crop_height": 16, "crop_width": 16, "census_weight": 1.0}

PAGE = f"""# Gallery of components

One picture of every component, all on one scene of {HEIGHT}x{WIDTH} px. Nothing is trained: flows are the true ones.
`python -m experiments.visualization.gallery --out FOLDER` draws them, with `--extensions FILE` those of your own too
([extensions.md](extensions.md)). What each component computes is in the table of the README.

| first frame | second frame |
|---|---|
| ![first frame](images/gallery/scene/first.png) | ![second frame](images/gallery/scene/second.png) |

| true flow | white: seen in the second frame |
|---|---|
| ![true flow](images/gallery/scene/flow.png) | ![visible pixels](images/gallery/scene/visible.png) |

The second frame is brighter or darker than the first, which a loss should not take for motion.
"""
ABOUT = {
    "photometric": f"""Photometric losses

The loss of the {WINDOW}x{WINDOW} px around each pixel, between the first frame and the second one, warped by the true
flow: dark is none, light the most of this picture. What is light along the shapes is occluded, so no loss can be right
there; what is light elsewhere is taken for wrong flow although the flow is right.""",
    "occlusion": """Occlusion

The mask that training would use, from the true flows of both directions at a quarter of the size, as a network has
them: white counts, black is hidden or leads out of the frame.""",
    "smoothness": """Smoothness

What it costs if one pixel's flow departs by 1 px from a flow that is 0: light is the most of this picture. Where it is
dark, along edges of the image, flow may change.""",
    "normalization": """Normalization of features

The matching cost of the marked pixel with every pixel of the second frame, whose brightness is another one: light is
the best match; the ring is where the pixel really went. Features are colors and their derivatives.""",
    "selfsup": """Self-supervision

How strongly a student is pulled at each pixel of its view, that is the length of the gradient by its flow: light is the
most of this picture. The student knows the true flow but for motion that leaves its view, for which it says 0; one
whose frames are moved says 0 everywhere.""",
}


@dataclasses.dataclass(frozen=True)
class Scene:
    """A pair with the flows of both directions, (2, H, W), px."""

    pair: Pair
    forward: np.ndarray
    backward: np.ndarray

    @property
    def frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Both frames, float32 (1, 3, H, W), in [0, 1]."""
        frames = self.pair.first, self.pair.second
        one, two = (frame.transpose(2, 0, 1)[None].astype(np.float32) / 255 for frame in frames)
        return one, two


def scene(height: int = HEIGHT, width: int = WIDTH) -> Scene:
    """The scene of all pictures, at a size."""
    layers, _, _ = arranged(SCENE, height, width, generator(SCENE, "test", PAIR), "gallery")
    pair = draw(SCENE, height, width, generator(SCENE, "test", PAIR), "gallery")
    # layers are only shifted here, so that the scene played backward has the opposite shifts
    back = [Layer(layer.center + layer.shift, -layer.shift, outline=layer.outline) for layer in layers]
    return Scene(pair, pair.flow, truth(back, height, width)[0].astype(np.float32))


def tensor(array: np.ndarray) -> ms.Tensor:
    """An array as a tensor of float32."""
    return ms.Tensor(np.ascontiguousarray(array, np.float32))


def compiled(component: Any, by: int | None = None) -> Callable[..., np.ndarray]:
    """A component as a graph, as in training, that gives an array; its gradient by the argument `by`, if given."""

    class Called(ms.nn.Cell):
        def construct(self, *tensors: ms.Tensor) -> ms.Tensor:
            return component(*tensors)

    asked = Called() if by is None else ms.grad(Called(), by)
    return lambda *tensors: asked(*tensors).asnumpy()


def every(of: Scene) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Places in a picture, row and column, and the pixels of the frame that they show: one of `STRIDE` each way."""
    height, width = of.pair.first.shape[:2]
    return [(at, (STRIDE * at[0], STRIDE * at[1])) for at in np.ndindex(-(-height // STRIDE), -(-width // STRIDE))]


def photometric(component: Any, of: Scene) -> np.ndarray:
    """The loss of the window around every `STRIDE`-th pixel, (H / STRIDE, W / STRIDE)."""
    run = compiled(component)
    image, other = (tensor(frame) for frame in of.frames)
    reconstruction = warp(other, tensor(of.forward[None]))
    height, width = of.pair.first.shape[:2]
    places = every(of)
    found = np.zeros(np.add(places[-1][0], 1), np.float32)
    for at, pixel in places:
        visible = np.zeros((1, 1, height, width), np.float32)
        rows, columns = (slice(max(0, middle - WINDOW // 2), middle + WINDOW // 2 + 1) for middle in pixel)
        visible[..., rows, columns] = 1
        found[at] = run(image, reconstruction, tensor(visible)).item()
    return found


def occlusion(component: Any, of: Scene) -> np.ndarray:
    """The visibility of every pixel, (H, W), in [0, 1]; 0 of what leads out of the frame."""
    flows = [smoothed(flow) for flow in (of.forward, of.backward)]
    true = [tensor(of.pair.occluded[None, None])] if "true_occlusion" in registry.entry_of(component).needs else []
    return compiled(component)(*flows, *true)[0, 0] * inside_frame(flows[0]).asnumpy()[0, 0]


def smoothed(flow: np.ndarray) -> ms.Tensor:
    """A flow (2, H, W) as smooth as a network's, which is estimated at a quarter of the size, (1, 2, H, W), px."""
    height, width = flow.shape[1:]
    small = 4 * quarter(flow).asnumpy()[0]
    return tensor(
        np.stack([cv2.resize(channel, (width, height), interpolation=cv2.INTER_LINEAR) for channel in small])[None]
    )


def smoothness(component: Any, of: Scene) -> np.ndarray:
    """The loss of a flow of 1 px at one pixel and 0 elsewhere, one of `STRIDE` each way."""
    run, image = compiled(component), tensor(of.frames[0])
    height, width = of.pair.first.shape[:2]
    still = run(image, tensor(np.zeros((1, 2, height, width)))).item()
    places = every(of)
    found = np.zeros(np.add(places[-1][0], 1), np.float32)
    for at, (y, x) in places:
        flow = np.zeros((1, 2, height, width), np.float32)
        flow[..., y, x] = 1
        found[at] = height * width * (run(image, tensor(flow)).item() - still)
    return found


def normalization(component: Any, of: Scene) -> np.ndarray:
    """The mean product of the marked pixel's features with those of every pixel of the second frame, (H, W)."""
    one, two = component(*(tensor(features(frame)) for frame in of.frames), 1)
    y, x = marked(of)[0]
    return (one.asnumpy()[0, :, y, x][:, None, None] * two.asnumpy()[0]).mean(axis=0)


def features(frame: np.ndarray) -> np.ndarray:
    """Colors and their derivatives along x and y, (1, 9, H, W), of a frame (1, 3, H, W)."""
    return np.concatenate((frame, np.gradient(frame, axis=3), np.gradient(frame, axis=2)), axis=1)


def marked(of: Scene) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of the fastest pixels that both frames show the one nearest to the middle, (row, column), and where it goes."""
    speed = np.where(of.pair.occluded, 0, np.hypot(*of.forward))
    places = np.argwhere(np.isclose(speed, speed.max()))
    y, x = map(int, min(places, key=lambda place: np.abs(2 * place - speed.shape).max()))
    return (y, x), (round(y + float(of.forward[1, y, x])), round(x + float(of.forward[0, y, x])))


def selfsup(component: Any, of: Scene) -> np.ndarray:
    """The length of the gradient by the student's flow at level 2 of its view, (H', W'); 0 without a student."""
    height, width = of.pair.first.shape[:2]
    if "teacher" not in registry.entry_of(component).needs:
        return np.zeros((height // 4, width // 4), np.float32)
    teacher, back = quarter(of.forward), quarter(of.backward)
    pulled = compiled(component, by=2)
    if component.moved:
        still = tensor(np.zeros_like(teacher.asnumpy()))
        seen = cv2.resize(
            1 - of.pair.occluded.astype(np.float32), (width // 4, height // 4), interpolation=cv2.INTER_AREA
        )
        moves = component.draw_moves(np.random.default_rng(0), height, width)
        return np.hypot(*pulled(teacher, back, still, still, *map(tensor, moves), tensor(seen[None, None]))[0])
    # flows go through the view as images do: their length changes with the size of the view, which is no matter here
    both = np.pad(np.stack((of.forward, of.backward)), ((0, 0), (0, 1), (0, 0), (0, 0)))
    seen = component.student_view(tensor(both), None).asnumpy()[:, :2]
    student, student_back = (quarter(flow * inside_frame(tensor(flow[None])).asnumpy()[0]) for flow in seen)
    return np.hypot(*pulled(teacher, back, student, student_back)[0])


def quarter(flow: np.ndarray) -> ms.Tensor:
    """A flow (2, H, W) at pyramid level 2, (1, 2, H / 4, W / 4), px of that grid."""
    height, width = flow.shape[1:]
    small = [cv2.resize(channel, (width // 4, height // 4), interpolation=cv2.INTER_AREA) / 4 for channel in flow]
    return tensor(np.stack(small)[None])


MAPS = {
    "photometric": photometric,
    "occlusion": occlusion,
    "smoothness": smoothness,
    "normalization": normalization,
    "selfsup": selfsup,
}


def built(axis: str, name: str) -> Any:
    """The component with its default options, but for those of `CHANGED`."""
    fields = {field.name for field in dataclasses.fields(registry.entry(axis, name).cls)}
    return registry.build(axis, name, {key: value for key, value in CHANGED.items() if key in fields})


def picture(axis: str, name: str, of: Scene) -> np.ndarray:
    """The picture of a component on a scene, uint8 (H', W', 3), RGB."""
    found = MAPS[axis](built(axis, name), of)
    if axis == "occlusion":
        return cv2.cvtColor(visibility_picture(found), cv2.COLOR_GRAY2RGB)
    if axis == "normalization":
        level = (found - found.min()) / max(float(np.ptp(found)), 1e-12)
    else:
        level = np.maximum(found, 0) / max(float(found.max()), 1e-12)
    drawn = cv2.applyColorMap(np.rint(255 * level).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1].copy()
    if axis == "normalization":
        (y, x), (to_y, to_x) = marked(of)
        drawn = drawn.repeat(4, axis=0).repeat(4, axis=1)
        cv2.drawMarker(drawn, (4 * x + 2, 4 * y + 2), (255, 255, 255), cv2.MARKER_CROSS, 12, 2)
        cv2.circle(drawn, (4 * to_x + 2, 4 * to_y + 2), 10, (255, 80, 60), 2)
    return drawn


def place(axis: str, name: str) -> str:
    """Where the picture of a component lies, from the folder of the page."""
    return f"images/gallery/{axis}/{name}.png"


def page() -> str:
    """The page, Markdown."""
    parts = [PAGE]
    for axis in MAPS:
        parts.append(f"\n## {ABOUT[axis]}\n")
        names = registry.names(axis)
        for start in range(0, len(names), 3):
            row = names[start : start + 3]
            parts.append(f"\n| {' | '.join(f'`{name}`' for name in row)} |\n|{'---|' * len(row)}\n")
            parts.append(f"| {' | '.join(f'![{axis} {name}]({place(axis, name)})' for name in row)} |\n")
    return "".join(parts)


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m experiments.visualization.gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.shared("out", required=True, help="folder of gallery.md and of its pictures")
    made.shared("extensions")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Draws everything; 0 done, 2 wrong usage or a folder that cannot be written to."""
    given = parser().parse_args(argv)
    out = given.out.expanduser()
    try:
        extensions.load(given.extensions)
        check_writable(out)
        ms.set_context(mode=ms.GRAPH_MODE)
        shown = scene()
        longest = flow_colors.longest_motion(shown.forward)
        visible = cv2.cvtColor(visibility_picture(~shown.pair.occluded), cv2.COLOR_GRAY2RGB)
        drawn = {"first": shown.pair.first, "second": shown.pair.second, "visible": visible}
        drawn["flow"] = flow_colors.colors(shown.forward, longest)
        for name, content in drawn.items():
            written(out / place("scene", name), content)
        for axis in MAPS:
            for name in registry.names(axis):
                written(out / place(axis, name), picture(axis, name, shown))
                print(f"{axis} {name}", flush=True)
        atomic_write(out / "gallery.md", page())
    except (ValueError, OSError) as error:
        print(f"experiments.visualization.gallery: {error}", file=sys.stderr)
        return 2
    return 0


def written(path: pathlib.Path, content: np.ndarray) -> None:
    """Writes a picture, of a readable size, as a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, run_gallery.png(run_gallery.sized(content)))


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
