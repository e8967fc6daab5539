"""Occlusion in every mode, and what the modes are computed from."""

import dataclasses
import functools
import re

import numpy as np

from goldens.golden import flow_pixels, flow_planes, pixels
from goldens.graph import InGraph, Several, copied, run, tensors
from uflow import backend as ms
from uflow import registry
from uflow.components import Components
from uflow.ops import geometry

ROUNDING = 6e-8  # relative size of a change of the last bit
SCORES = {"fb_abs": 1.0, "forward_collision": 1.0, "backward_zero": 10.0}  # weights, class defaults


class Inputs:
    """Flows in both directions at pyramid levels 0 to 2, and at each level what masks are computed from."""

    def __call__(self, forward, backward):
        found = ()
        for _ in range(3):
            x, y = geometry.destinations(forward)
            gap, size = geometry.forward_backward(forward, backward)
            found = (
                (forward, backward, ms.ops.stack((x, y), axis=1), geometry.inside_frame(forward), gap, size),
            ) + found
            forward, backward = geometry.upsample_flow(forward), geometry.upsample_flow(backward)
        return found


def at_start(component):
    """What acts before the step at which the component is switched on."""
    none = {"photometric": "l1", "smoothness": "none", "normalization": "none", "selfsup": "none"}
    chosen = {axis: registry.build(axis, name) for axis, name in none.items()}
    return Components(occlusion=component, **chosen).active_at(0, 100).occlusion


def component_of(mode):
    if mode.endswith("_inactive"):
        return at_start(registry.build("occlusion", mode.removesuffix("_inactive"), {"start": 0.5}))
    combined = re.fullmatch(r"uflow(\d*)(?:_no([a-z]+))?", mode)
    if not combined:
        return registry.build("occlusion", mode)
    # uflow1000: all weights 1000; uflow_nofbabs: without fb_abs, whose constant part upstream keeps
    weights = {f"{sign}_weight": float(combined[1] or weight) for sign, weight in SCORES.items()}
    off = {sign: False for sign in SCORES if sign.replace("_", "") == combined[2]}
    if combined[2] and not off:
        raise KeyError(f"{mode}: no sign of {', '.join(SCORES)} is called {combined[2]}")
    return registry.build("occlusion", "uflow", weights | off | {"inactive_bias": bool(off)})


def check_occlusion(golden):
    soft = golden.tolerance("soft")
    for case in [match[1] for match in golden.matching(r"(.+)/flow2_fw")]:
        flows = [flow_planes(golden[f"{case}/flow2_{way}"]) for way in ("fw", "bw")]
        for way, (forward, backward) in {"fw": flows, "bw": flows[::-1]}.items():
            levels = run(Inputs(), forward, backward)[::-1]
            full, back = levels[2][:2]
            golden.check(f"{case}/warp_{way}_L0", flow_pixels(levels[2][2]), soft)
            for level, (_, _, _, inside, square, total) in enumerate(levels[::-1]):
                golden.check(f"{case}/valid_{way}_L{level}", pixels(inside), golden.tolerance("hard"))
                golden.check(f"{case}/fb_sq_diff_{way}_L{level}", pixels(square), relative(soft))
                golden.check(f"{case}/fb_sum_sq_{way}_L{level}", pixels(total), relative(soft))
            matches = golden.matching(re.escape(case) + rf"/(not_occ|occ)_(.+)_{way}")
            components = [component_of(match[2]) for match in matches]
            near = near_threshold(golden, case, way, full, back)
            cell = InGraph(Several(*components))
            found = copied(cell(*tensors([full, back])))
            for i, (match, visible) in enumerate(zip(matches, found, strict=True)):
                got = pixels(visible) if match[1] == "not_occ" else 1 - pixels(visible)
                if match[2] in near:
                    golden.check(match[0], got, golden.tolerance("hard"), near[match[2]])
                else:
                    golden.check(match[0], got, soft, noise=functools.partial(moved, cell, full, back, found, i))


def moved(cell, forward, backward, found, i):
    """How far a mask moves with the last bit of the flows: a sigmoid of a score times 1000 shows their rounding."""
    farthest = 0.0
    for seed in range(3):
        draw = np.random.default_rng(seed)
        near = [(x * (1 + ROUNDING * draw.standard_normal(x.shape))).astype(np.float32) for x in (forward, backward)]
        farthest = max(farthest, float(np.abs(copied(cell(*tensors(near)))[i] - found[i]).max()))
    return farthest


def relative(tolerance):
    """The squares of flows are large: the tolerance of masks, of their size."""
    return dataclasses.replace(tolerance, of_max=tolerance.absolute)


def near_threshold(golden, case, way, forward, backward):
    """Where hard masks may differ from the reference's: where its own value is as near to the threshold as it says."""
    gap, size = golden[f"{case}/fb_sq_diff_{way}_L0"], golden[f"{case}/fb_sum_sq_{way}_L0"]
    near = float(re.search(r"\|value-threshold\|\s*<\s*([\d.e-]+)", golden.entry["tol"])[1])
    brox, fb_abs = registry.build("occlusion", "brox"), registry.build("occlusion", "fb_abs")
    found = {
        "none": np.zeros(gap.shape, bool),
        "brox": np.abs(gap - (brox.alpha * size + brox.beta)) < near,
        "fb_abs": np.abs(np.sqrt(gap) - fb_abs.threshold) < near,
    }
    for soft, hard in (("wang", "wangthres"), ("wang4", "wang4thres")):
        key = f"{case}/not_occ_{soft}_{way}"
        value = golden[key] if key in golden else pixels(run(registry.build("occlusion", soft), forward, backward))
        found[hard] = np.abs(value - registry.build("occlusion", hard).threshold) < near
    return found
