"""Warping, resizing and the range map."""

import re

import numpy as np

from experiments.data.augmentation import resize
from goldens.golden import EXACT, flow_pixels, flow_planes, pixels, planes
from goldens.graph import Fixed, Several, run, run_gradient
from uflow import backend as ms
from uflow.ops import geometry


def destinations(flow):
    x, y = geometry.destinations(flow)
    return ms.ops.stack((x, y), axis=1)


def sample(image, coordinates):
    return geometry.sample(image, coordinates[:, 0], coordinates[:, 1])


def warp_squared(image, flow):
    return geometry.warp(image, flow) ** 2


def check_warp_ops(golden):
    tolerance = golden.tolerance()
    for case in [match[1] for match in golden.matching(r"(.+)/(?:source)")]:
        source = golden[f"{case}/source"]
        if f"{case}/grad_flow_of_sum_sq" in golden:
            still = np.zeros((len(source), 2, *source.shape[1:3]), np.float32)
            _, (gradient,) = run_gradient(warp_squared, [planes(source), still], np.ones_like(planes(source)), [1])
            golden.check(f"{case}/grad_flow_of_sum_sq", flow_pixels(gradient), EXACT)
            continue
        cotangent = planes(golden[f"{case}/cotangent"])
        function, where, by = sample, "coords", "coords"
        if f"{case}/flow" in golden:
            function, where, by = geometry.warp, "flow", "warp"
            flow = flow_planes(golden[f"{case}/flow"])
            golden.check(f"{case}/warp", flow_pixels(run(destinations, flow)), tolerance)
            golden.check(f"{case}/mask_invalid", pixels(run(geometry.inside_frame, flow)), golden.tolerance("mask"))
        given = flow_planes(golden[f"{case}/{where}"])
        values, (by_source, by_place) = run_gradient(function, [planes(source), given], cotangent, [0, 1])
        golden.check(f"{case}/resampled", pixels(values), tolerance)
        golden.check(f"{case}/grad_source", pixels(by_source), tolerance)
        golden.check(f"{case}/grad_{by}", flow_pixels(by_place), tolerance)
    for case in [match[1] for match in golden.matching(r"(.+)/flow") if f"{match[1]}/source" not in golden]:
        places = run(destinations, flow_planes(golden[f"{case}/flow"])[None])
        golden.check(f"{case}/warp", flow_pixels(places)[0], tolerance)


def check_resize(golden):
    tolerance = golden.tolerance()
    for case in [match[1] for match in golden.matching(r"(.+)/image")]:
        image, flow = planes(golden[f"{case}/image"]), flow_planes(golden[f"{case}/flow"])
        _, _, h, w = image.shape

        matches = golden.matching(re.escape(case) + r"/resize_(\d+)x(\d+)_img")
        sizes = [(int(match[1]), int(match[2])) for match in matches]
        double, halve = Fixed(geometry.resize, 2 * h, 2 * w), Fixed(geometry.resize, h // 2, w // 2)
        doubled, halved, *images = run(Several(double, halve, *[Fixed(geometry.resize, *s) for s in sizes]), image)
        flows = run(Several(geometry.downsample_flow, *[Fixed(geometry.resize_flow, *s) for s in sizes]), flow)
        golden.check(f"{case}/upsample_img", pixels(doubled)[: len(golden[f"{case}/upsample_img"])], tolerance)
        golden.check(f"{case}/downsample_img", pixels(halved), tolerance)
        golden.check(f"{case}/downsample_flow", flow_pixels(flows[0]), tolerance)
        cotangent = flow_planes(golden[f"{case}/upsample_flow_cotangent"])
        values, (gradient,) = run_gradient(geometry.upsample_flow, [flow], cotangent, [0])
        golden.check(f"{case}/upsample_flow", flow_pixels(values), tolerance)
        golden.check(f"{case}/upsample_flow_grad", flow_pixels(gradient), tolerance)
        for size, image, resized in zip(sizes, images, flows[1:], strict=True):
            key = f"{case}/resize_{size[0]}x{size[1]}"
            golden.check(f"{key}_img", pixels(image), tolerance)
            golden.check(f"{key}_flow", flow_pixels(resized), tolerance)
            mask = planes(golden[f"{case}/mask"])[:, 0]
            # sparse flows are resized on the way from the data set, before there are tensors
            sparse = [resize.resize_sparse_flow(f, m, *size) for f, m in zip(flow, mask, strict=True)]
            golden.check(f"{key}_maskedflow", flow_pixels(np.stack([f for f, _ in sparse])), tolerance)
            golden.check(f"{key}_maskedflow_mask", pixels(np.stack([m[None] for _, m in sparse])), tolerance)
    for match in golden.matching(r"(rank\d)/resize_(\d+)x(\d+)"):
        x, size = golden[f"{match[1]}/x"], (int(match[2]), int(match[3]))
        flat = planes(x).reshape(-1, x.shape[-1], *x.shape[-3:-1])
        golden.check(
            match[0],
            pixels(run(Fixed(geometry.resize, *size), flat)).reshape(*x.shape[:-3], *size, x.shape[-1]),
            tolerance,
        )
    for match in golden.matching(r"(upstream_test)/sparse_flow_(\d+)x(\d+)"):
        flow, mask = np.zeros((2, 8, 8), np.float32), np.zeros((8, 8), np.float32)
        flow[1, 0, 0], mask[0, 0] = 1, 1  # (y, x) = (1, 0) in the reference's test
        flow, mask = resize.resize_sparse_flow(flow, mask, int(match[2]), int(match[3]))
        golden.check(match[0], flow_pixels(flow), EXACT)
        golden.check(match[0].replace("flow", "mask"), mask[..., None], EXACT)


def check_range_map(golden):
    for case in [match[1] for match in golden.matching(r"(.+)/flow")]:
        flow = flow_planes(golden[f"{case}/flow"])
        plain, still = {}, {}
        for match in golden.matching(re.escape(case) + r"/(zero_)?ds(\d+)(?:_b\d_r(\d))?"):
            key, function = match[0], Fixed(geometry.range_map, int(match[2]), match[3] != "0")
            if f"{key}_cotangent" in golden:
                cotangent = planes(golden[f"{key}_cotangent"])
                values, (gradient,) = run_gradient(function, [flow], cotangent, [0])
                golden.check(f"{key}_grad", flow_pixels(gradient), golden.tolerance("grads"))
                golden.check(key, pixels(values), golden.tolerance())
            else:
                (still if match[1] else plain)[key] = function
        for functions, given in ((plain, flow), (still, np.zeros_like(flow))):
            if not functions:
                continue
            given = given[: len(golden[next(iter(functions))])]
            for key, values in zip(functions, run(Several(*functions.values()), given), strict=True):
                golden.check(key, pixels(values), golden.tolerance())
