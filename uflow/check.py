"""Whether components do what their axis asks for, on small scenes: `python -m uflow.check FILE ...` or `--axis AXIS`.

Each component is built with its default options and compiled, as in training. Checked are shapes, finite values,
gradients against finite differences, and what must hold whatever a component computes: a mask lies in [0, 1] and hides
nothing of a still scene, equal images differ least, a constant flow is smooth, directions share no statistics, a
network's flow of a pair does not depend on other pairs. Of components in files that pass, what a reviewer would ask is
told then: what they are, by whom, what float16 does to them, and what they cost beside one of this project.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from uflow import appraisal, extensions, interfaces, registry
from uflow import backend as ms
from uflow.compiled import cell, compiled, differentiated, tensor
from uflow.models.compatibility import next_multiple
from uflow.registry import Entry

USAGE = f"python -m uflow.check FILE_OR_FOLDER ... | --axis {'|'.join(registry.AXES)}"
HEIGHT, WIDTH = 12, 16
VIEW = 256, 320  # of scenes of which a part is cut off
ENTRIES = 5  # of each gradient, of which most must agree: robust losses have kinks, and one may be near
# of finite differences: the largest suffer from curvature, the smallest from rounding
STEPS = (1e-1, 1e-2, 3e-3, 1e-3, 3e-4)
AGREEMENT = 0.05  # of a gradient with one of its finite differences, as a share of the largest entry
# of the loss of unlike images or of a rough flow, for equal images or a constant flow: robust losses leave some
LEFT = 0.3

Check = tuple[str, Callable[[], str]]  # what is checked; why it does not hold, or nothing


def checks(entry: Entry) -> Iterator[Check]:
    """The checks of a component, to be done in this order."""
    component = entry.cls()
    protocol = registry.AXES[entry.axis].contract
    if "teacher" in entry.needs:
        protocol = interfaces.TeacherSelfSupervision
    yield "has what its axis asks for", lambda: _lacking(component, protocol)
    yield from _OF_AXIS.get(entry.axis, _term)(component, entry)


def _lacking(component: Any, protocol: type) -> str:
    classes = [cls for cls in protocol.__mro__ if cls.__module__ == interfaces.__name__]
    names = {name for cls in classes for name in (*cls.__dict__.get("__annotations__", {}), *vars(cls))}
    public = sorted(name for name in names if name == "__call__" or not name.startswith("_"))
    lacking = [name for name in public if not hasattr(component, name)]
    return f"lacks {', '.join(lacking)} (see uflow.interfaces.{protocol.__name__})" if lacking else ""


def _random(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).random(shape)).astype(np.float32)


def _flows(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def _photometric(component: Any, entry: Entry) -> Iterator[Check]:
    image, other = _random(2, 3, HEIGHT, WIDTH), _random(2, 3, HEIGHT, WIDTH, seed=1)
    seen, hidden = np.ones((2, 1, HEIGHT, WIDTH), np.float32), np.zeros((2, 1, HEIGHT, WIDTH), np.float32)
    run, by = compiled(component), differentiated(component, 1)
    yield "a finite scalar", lambda: _not_scalar(run(image, other, seen))
    yield "finite if no pixel is visible", lambda: _not_scalar(run(image, other, hidden))
    yield "least for equal images", lambda: _not_left(run(image, image, seen), run(image, other, seen))
    yield "gradient by the reconstruction", lambda: _wrong_gradient(run, by, [image, other, seen], 1)


def _smoothness(component: Any, entry: Entry) -> Iterator[Check]:
    flat, image = np.full((2, 3, HEIGHT, WIDTH), 0.5, np.float32), 0.5 + _random(2, 3, HEIGHT, WIDTH, scale=1e-3)
    rough = _flows(2, 2, HEIGHT, WIDTH)
    constant = np.broadcast_to(np.float32([[[3.0]], [[-2.0]]]), rough.shape)
    run, by = compiled(component), differentiated(component, 1)
    yield "a finite scalar", lambda: _not_scalar(run(image, rough))
    yield "a level of 0, 1 or 2", lambda: "" if component.level in (0, 1, 2) else f"level is {component.level!r}"
    yield "0 for a constant flow", lambda: _not_left(run(flat, constant), run(flat, rough))
    yield "gradient by the flow", lambda: _wrong_gradient(run, by, [image, rough], 1)


def _term(component: Any, entry: Entry) -> Iterator[Check]:
    """Of an axis that an extension has brought."""
    image, rough = _random(2, 3, HEIGHT, WIDTH), _flows(2, 2, HEIGHT, WIDTH)
    run, by = compiled(component), differentiated(component, 1)
    yield "a finite scalar", lambda: _not_scalar(run(image, rough))
    yield "a level of 0, 1 or 2", lambda: "" if component.level in (0, 1, 2) else f"level is {component.level!r}"
    yield "gradient by the flow", lambda: _wrong_gradient(run, by, [image, rough], 1)


def _occlusion(component: Any, entry: Entry) -> Iterator[Check]:
    forward, backward = _flows(2, 2, HEIGHT, WIDTH, scale=2.0), _flows(2, 2, HEIGHT, WIDTH, scale=2.0, seed=1)
    still, truth = np.zeros_like(forward), [np.zeros((2, 1, HEIGHT, WIDTH), np.float32)]
    truth = truth if "true_occlusion" in entry.needs else []
    run = compiled(component)
    yield "a mask of the frame's size", lambda: _not_shaped(run(forward, backward, *truth), (2, 1, HEIGHT, WIDTH))
    yield "values in [0, 1]", lambda: _outside(run(forward, backward, *truth))
    yield "nothing is hidden in a still scene", lambda: _hidden(run(still, still, *truth))


def _normalization(component: Any, entry: Entry) -> Iterator[Check]:
    shape = 4, 3, HEIGHT, WIDTH
    one, two, other = (_flows(*shape, seed=seed) for seed in range(3))
    weights = [_flows(*shape, seed=seed) for seed in (3, 4)]
    same = np.ones(shape, np.float32)
    changed = np.concatenate((one[:2], other[2:]))
    run = compiled(component, 2)
    summed = appraisal.Summed(component)

    def shapes() -> str:
        found = run(one, two)
        if not isinstance(found, tuple) or len(found) != 2:
            return "gives no pair of maps"
        return _not_shaped(found[0], shape) or _not_shaped(found[1], shape)

    def shared() -> str:
        gap = float(np.abs(run(one, two)[0][:2] - run(changed, two)[0][:2]).max())
        return "" if gap <= 1e-5 else f"the first half of the batch changes by {gap:.3g} with the second (groups = 2)"

    yield "two finite maps of the same shape", shapes
    yield "finite for constant features", lambda: _not_shaped(run(same, same)[0], shape)
    yield "groups share no statistics", shared
    yield (
        "gradient by the features",
        lambda: _wrong_gradient(compiled(summed), differentiated(summed, 0), [one, two, *weights], 0),
    )


def _network(component: Any, entry: Entry) -> Iterator[Check]:
    from uflow.models.flow_network import initialize  # loads MindSpore

    unit = component.multiple
    sizes = [next_multiple(HEIGHT, unit) + k * unit for k in range(9)]
    size = next((size for size in sizes if not component.size_problems(size, size)), sizes[0])
    first, second, other = (_random(2, 3, size, size, seed=seed) for seed in range(3))
    keep = np.ones((getattr(component, "levels", 1), 2), np.float32)
    network, again = (component(registry.build("normalization", "none")) for _ in range(2))
    initialize(network, 0)
    run = compiled(_one_way(network))

    def alone() -> str:
        mixed = [np.stack((frames[0], other[index])) for index, frames in enumerate((first, second))]
        gap = float(np.abs(run(first, second, keep)[0] - run(*mixed, keep)[0]).max())
        return "" if gap <= 1e-4 else f"the first flow changes by {gap:.3g} with the second pair"

    def unlike() -> str:
        one, two = ({n: p.asnumpy() for n, p in cell.parameters_and_names()} for cell in (network, again))
        names = [name for name, value in one.items() if value.ndim != 4 and not np.array_equal(value, two[name])]
        return f"those of {', '.join(names)} are random" if names else ""

    yield "works at multiples of 4", lambda: "" if unit % 4 == 0 else f"multiple is {unit}"
    yield "names no problem of its own multiples", lambda: "; ".join(component.size_problems(size, size))
    yield "a flow at a quarter of the size", lambda: _not_shaped(run(first, second, keep), (2, 2, size // 4, size // 4))
    yield "pairs share nothing", alone
    yield "the same parameters each time", unlike
    yield "gradients of its parameters", lambda: _wrong_gradients(network, [first, second, keep])


def _one_way(network: interfaces.FlowCell) -> Callable[..., ms.Tensor]:
    def flow(first: ms.Tensor, second: ms.Tensor, keep: ms.Tensor) -> ms.Tensor:
        return network(network.features(first), network.features(second), keep, 2)[0]

    return flow


def _wrong_gradients(network: interfaces.FlowCell, arrays: Sequence[np.ndarray]) -> str:
    parameters = network.trainable_params()
    if not parameters:
        return "it has no parameters to train"
    weights = _flows(2, 2, arrays[0].shape[2] // 4, arrays[0].shape[3] // 4)
    one_way = _one_way(network)

    def loss(first: ms.Tensor, second: ms.Tensor, keep: ms.Tensor, by: ms.Tensor) -> ms.Tensor:
        return (one_way(first, second, keep) * by).sum()

    found = ms.grad(cell(loss), None, parameters)(*map(tensor, (*arrays, weights)))
    names = [p.name for p, gradient in zip(parameters, found, strict=True) if not np.isfinite(gradient.asnumpy()).all()]
    if names:
        return f"those of {', '.join(names)} are not finite"
    return "" if any(gradient.asnumpy().any() for gradient in found) else "all are 0"


def _augmentation(component: Any, entry: Entry) -> Iterator[Check]:
    given = _random(2, HEIGHT, WIDTH, 3)
    frames = given.copy()

    def seen(seed: int = 0) -> np.ndarray:
        return np.asarray(component(frames, np.random.default_rng(seed)))

    yield "frames of the same shape", lambda: _not_shaped(seen(), given.shape)
    yield "decided by the generator", lambda: "" if np.array_equal(seen(), seen()) else "equal generators, other frames"
    yield "what is given stays", lambda: "" if np.array_equal(seen() is not None and frames, given) else "it is changed"


def _selfsup(component: Any, entry: Entry) -> Iterator[Check]:
    if "teacher" not in entry.needs:
        return
    height, width = VIEW
    images = _random(4, 3, height, width)
    moves = [component.draw_moves(np.random.default_rng(0), height, width)] if component.moved else []
    view = compiled(component.student_view, *([] if moves else [None]))
    teacher, back = (_flows(2, 2, height // 4, width // 4, seed=seed) for seed in (0, 1))
    run, by = compiled(component), differentiated(component, 2)

    def seen() -> tuple[int, ...]:
        return view(images, *moves).shape

    def given() -> list[np.ndarray]:
        _, _, rows, columns = seen()
        student = [_flows(2, 2, rows // 4, columns // 4, seed=seed) for seed in (2, 3)]
        visible = [np.ones((2, 1, h, w), np.float32) for h, w in ((height // 4, width // 4), (rows // 4, columns // 4))]
        moved = [*moves[0]] if moves else []
        return [teacher, back, *student, *moved, *(visible if component.mask == "advection" and moved else [])]

    yield "a view of both frames", lambda: "" if seen()[:2] == (4, 3) else f"its shape is {seen()}"
    yield "a finite scalar", lambda: _not_scalar(run(*given()))
    yield "gradient by the student's flow", lambda: _wrong_gradient(run, by, given(), 2)


_OF_AXIS = {
    "photometric": _photometric,
    "occlusion": _occlusion,
    "smoothness": _smoothness,
    "normalization": _normalization,
    "selfsup": _selfsup,
    "network": _network,
    "augmentation": _augmentation,
}


def _not_shaped(found: np.ndarray, shape: tuple[int, ...]) -> str:
    if found.shape != shape:
        return f"its shape is {found.shape}, expected {shape}"
    return "" if np.isfinite(found).all() else "has values that are not finite"


def _not_scalar(found: Any) -> str:
    return _not_shaped(found, ())


def _outside(mask: np.ndarray) -> str:
    low, high = float(mask.min()), float(mask.max())
    return "" if 0 <= low and high <= 1 else f"it has values from {low:.3g} to {high:.3g}"


def _hidden(mask: np.ndarray) -> str:
    share = float((mask < 0.5).mean())
    return f"{100 * share:.0f} % of it is hidden" if share else ""


def _not_left(value: float, other: float) -> str:
    value, other = float(value), float(other)
    return "" if abs(value) <= LEFT * abs(other) + 1e-6 else f"it is {value:.3g}, where a bad case has {other:.3g}"


def _wrong_gradient(
    run: Callable[..., np.ndarray], by: Callable[..., np.ndarray], arrays: Sequence[np.ndarray], position: int
) -> str:
    """How most of some entries of a gradient differ from all finite differences, or nothing."""
    gradient = by(*arrays)
    if problem := _not_shaped(gradient, arrays[position].shape):
        return problem
    largest = float(np.abs(gradient).max())
    upper = np.argsort(np.abs(gradient), axis=None)[gradient.size // 2 :]

    def difference(place: tuple[Any, ...], step: float) -> float:
        values = []
        for change in (step, -step):
            moved = arrays[position].copy()
            moved[place] += np.float32(change)
            values.append(float(run(*arrays[:position], moved, *arrays[position + 1 :])))
        return (values[0] - values[1]) / (2 * step)

    wrong = []
    for flat in np.random.default_rng(0).choice(upper, ENTRIES, replace=False):
        place = np.unravel_index(flat, gradient.shape)
        for step in STEPS:
            found = difference(place, step)
            if abs(found - gradient[place]) <= AGREEMENT * max(largest, abs(found)) + 1e-6:
                break
        else:
            wrong.append(f"at {tuple(map(int, place))} it is {gradient[place]:.3g}, the finite difference {found:.3g}")
    return wrong[0] if len(wrong) > ENTRIES // 2 else ""


def failures(entry: Entry) -> int:
    """Checks a component, prints a line for each check, and returns how many failed."""
    failed = 0
    name = f"{entry.axis} {entry.name}"
    try:
        for what, check in checks(entry):
            problem = _tried(check)
            failed += bool(problem)
            print(f"{name}: {what}: {f'failed: {problem}' if problem else 'ok'}", flush=True)
    except Exception as error:  # it cannot even be built
        print(f"{name}: failed: {_sentence(error)}", flush=True)
        failed += 1
    return failed


def _tried(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # whatever the code of others, or the compiler of graphs, can raise
        return _sentence(error)


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -\t")]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def main(argv: Sequence[str] | None = None) -> int:
    """Checks the components of files or of an axis; 0 all is well, 1 a check failed, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["--help"], ["-h"]):
        print(f"{__doc__}\nusage: {USAGE}")
        return 0
    try:
        found = _asked(words)
    except ValueError as error:
        print(f"uflow.check: {error}", file=sys.stderr)
        return 2
    ms.set_context(mode=ms.GRAPH_MODE)
    failed = 0
    for entry in found:
        wrong = failures(entry)
        failed += wrong
        if entry.extension and not wrong:
            for line in appraisal.lines(entry):
                print(f"{entry.axis} {entry.name}: {line}", flush=True)
    print(f"{len(found)} components, {failed} checks failed")
    return 1 if failed else 0


def _asked(words: Sequence[str]) -> list[Entry]:
    """The components that are to be checked; raises `ValueError` if that is none."""
    if words[:1] == ["--axis"]:
        if len(words) != 2 or words[1] not in registry.AXES:
            raise ValueError(f"--axis needs one of {', '.join(registry.AXES)}, got {' '.join(words[1:]) or 'nothing'}")
        return [registry.entry(words[1], name) for name in registry.names(words[1])]
    if not words or words[0].startswith("-"):
        raise ValueError(f"usage: {USAGE}")
    files = extensions.load(words)
    found = [known for known in registry.brought() if known.extension.file in files and not _is_none(known)]
    if not found:
        raise ValueError(f"{', '.join(words)}: brings no component, and of all else nothing is checked here")
    return found


def _is_none(known: Entry) -> bool:
    """True for what an axis of an extension has from the beginning."""
    return registry.AXES[known.axis].term and known.name == "none"


if __name__ == "__main__":
    sys.exit(main())
