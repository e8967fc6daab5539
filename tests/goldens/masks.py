"""Occlusion in every mode, and what the modes are computed from."""

import dataclasses
import re

import numpy as np

from goldens.golden import flow_pixels, flow_planes, pixels
from goldens.graph import InGraph, Several, copied, run, tensors
from uflow import backend as ms
from uflow import ops, registry
from uflow.components import Components

ROUNDING = 6e-8  # relative size of a change of the last bit
NEAR = 1e-4  # hard masks may differ where the value is as near to its threshold
SCORES = {"fb_abs_weight": 1.0, "forward_collision_weight": 1.0, "backward_zero_weight": 10.0}  # class defaults
# what the names of the cases stand for, beside the component of that name with its defaults
OPTIONS = {
    "uflow": ("uflow", SCORES),
    "uflow1000": ("uflow", {}),
    "uflow_nofbabs": ("uflow", SCORES | {"fb_abs": False, "inactive_bias": True}),
}


class Inputs:
    """Flows in both directions at pyramid levels 0 to 2, and at each level what masks are computed from."""

    def __call__(self, forward, backward):
        found = ()
        for _ in range(3):
            x, y = ops.destinations(forward)
            gap, size = ops.forward_backward(forward, backward)
            found = ((forward, backward, ms.ops.stack((x, y), axis=1), ops.inside_frame(forward), gap, size),) + found
            forward, backward = ops.upsample_flow(forward), ops.upsample_flow(backward)
        return found


def at_start(component):
    """What acts before the step at which the component is switched on."""
    none = {"photometric": "l1", "smoothness": "none", "normalization": "none", "selfsup": "none"}
    chosen = {axis: registry.build(axis, name) for axis, name in none.items()}
    return Components(occlusion=component, **chosen).active_at(0, 100).occlusion


def component_of(mode):
    if mode.endswith("_inactive"):
        return at_start(registry.build("occlusion", mode.removesuffix("_inactive"), {"start": 0.5}))
    name, options = OPTIONS.get(mode, (mode, {}))
    return registry.build("occlusion", name, options)


def check_occlusion(golden):
    soft = golden.tolerance("soft")
    for case in [match[1] for match in golden.matching(r"(.+)/flow2_fw")]:
        flows = [flow_planes(golden[f"{case}/flow2_{way}"]) for way in ("fw", "bw")]
        for way, (forward, backward) in {"fw": flows, "bw": flows[::-1]}.items():
            levels = run(Inputs(), forward, backward)[::-1]
            full, back = levels[2][:2]
            gap, size = pixels(levels[2][4]), pixels(levels[2][5])
            golden.check(f"{case}/warp_{way}_L0", flow_pixels(levels[2][2]), soft)
            for level, (_, _, _, inside, square, total) in enumerate(levels[::-1]):
                golden.check(f"{case}/valid_{way}_L{level}", pixels(inside), golden.tolerance("hard"))
                golden.check(f"{case}/fb_sq_diff_{way}_L{level}", pixels(square), relative(soft))
                golden.check(f"{case}/fb_sum_sq_{way}_L{level}", pixels(total), relative(soft))
            matches = golden.matching(re.escape(case) + rf"/(not_occ|occ)_(.+)_{way}")
            components = [component_of(match[2]) for match in matches]
            near = near_threshold(golden, case, way, gap, size)
            cell = InGraph(Several(*components))
            found, spread = copied(cell(*tensors([full, back]))), [0.0] * len(matches)
            # the sigmoid of a score that is multiplied by 1000 shows the rounding of the flows: what a change of their
            # last bit does to a soft mask is allowed beside the tolerance
            for seed in range(3):
                draw = np.random.default_rng(seed)
                changed = [
                    (x * (1 + ROUNDING * draw.standard_normal(x.shape))).astype(np.float32) for x in (full, back)
                ]
                others = copied(cell(*tensors(changed)))
                spread = [max(s, float(np.abs(o - f).max())) for s, o, f in zip(spread, others, found, strict=True)]
            for match, visible, moved in zip(matches, found, spread, strict=True):
                got = pixels(visible) if match[1] == "not_occ" else 1 - pixels(visible)
                allowed = dataclasses.replace(soft, absolute=max(soft.absolute, moved))
                if match[2] in near:
                    allowed = golden.tolerance("hard")
                golden.check(match[0], got, allowed, near.get(match[2]))


def relative(tolerance):
    """The squares of flows are large: the tolerance of masks, of their size."""
    return dataclasses.replace(tolerance, of_max=tolerance.absolute)


def near_threshold(golden, case, way, gap, size):
    """Where hard masks may differ from the reference's, from the reference's own values where it gives them."""
    gap, size = golden[f"{case}/fb_sq_diff_{way}_L0"], golden[f"{case}/fb_sum_sq_{way}_L0"]
    ranges = {f"wang{n}thres": golden[f"{case}/not_occ_wang{n}_{way}"] for n in ("", "4")}
    return {
        "none": np.zeros(gap.shape, bool),
        "brox": np.abs(gap - (0.01 * size + 0.5)) < NEAR,
        "fb_abs": np.abs(np.sqrt(gap) - 1.5) < NEAR,
        **{mode: np.abs(value - 0.75) < NEAR for mode, value in ranges.items()},
    }
