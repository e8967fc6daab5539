"""Distances, census, SSIM and the other parts that losses are made of; smoothness; the supervised loss."""

import functools
import re

import numpy as np

from goldens.golden import flow_pixels, flow_planes, pixels, planes
from goldens.graph import Fixed, InGraph, Made, Several, copied, run, run_gradient, tensors
from uflow import registry
from uflow.losses.supervised import supervised_loss
from uflow.ops import geometry, robust
from uflow.photometric import census

ROUNDING = 6e-8  # relative size of a change of the last bit
# weighted_ssim's arguments in the cases of the file, which their names stand for
SSIM = {
    "default": {},
    "c1c2": {"factors": "both", "c1": 1e-4, "c2": 9e-4},
    "c2inf": {"factors": "luminance", "c1": 1e-4},
    "eps": {"epsilon": 0.1},
}


class SsimSum(Made):
    """The sum over patches of error times visible share, by which the file differentiates."""

    def __init__(self, component):
        self.component = component

    def __call__(self, reconstruction, image, visible):
        error, share = self.component.patches(image, reconstruction, visible)
        return (error * share).sum()


def check_losses_basic(golden):
    values, grads = golden.tolerance("values"), golden.tolerance("grads")
    check_scalars(golden, values, grads)
    for case in [match[1] for match in golden.matching(r"(.+)/image_a")]:
        first, second = planes(golden[f"{case}/image_a"]), planes(golden[f"{case}/image_b"])
        mask = planes(golden[f"{case}/mask"])
        check_differences(golden, case, first, values)
        for match in golden.matching(re.escape(case) + r"/zero_mask_border_p(\d+)"):
            check_census(golden, case, int(match[1]), first, second, mask, values, grads)
        check_ssim(golden, case, first, second, mask, values, grads)
        if f"{case}/feat" in golden:
            features = planes(golden[f"{case}/feat"])
            got = pixels(run(geometry.unit_activation, features))
            golden.check(f"{case}/normalize_for_feature_metric_loss", got, values)


def check_scalars(golden, values, grads):
    x = golden["scalar/x"]
    other = golden.entry["params"]["abs_robust_alt"]
    for name, function in {
        "l1": Fixed(ByName(), "l1"),
        "robust_l1": Fixed(ByName(), "robust_l1"),
        "abs_robust": Fixed(ByName(), "ddflow"),
        "abs_robust_alt": Fixed(robust.ddflow, other["eps"], other["q"]),
    }.items():
        got, (gradient,) = run_gradient(function, [x], np.ones_like(x), [0])
        golden.check(f"scalar/{name}", got, values)
        golden.check(f"scalar/{name}_grad", gradient, grads)


class ByName(Made):
    def __call__(self, x, name):
        return robust.penalty(name, x)


def check_differences(golden, case, image, tolerance):
    for match in golden.matching(re.escape(case) + r"/image_grads_s(\d+)_gh"):
        stride = int(match[1])
        rows, columns = run(
            Several(Fixed(geometry.difference_along_rows, stride), Fixed(geometry.difference_along_columns, stride)),
            image,
        )
        golden.check(f"{case}/image_grads_s{stride}_gh", pixels(rows), tolerance)
        golden.check(f"{case}/image_grads_s{stride}_gw", pixels(columns), tolerance)
    if f"{case}/image_averages_ah" in golden:
        rows, columns = run(Several(geometry.average_along_rows, geometry.average_along_columns), image)
        golden.check(f"{case}/image_averages_ah", pixels(rows), tolerance)
        golden.check(f"{case}/image_averages_aw", pixels(columns), tolerance)


class Hamming(Made):
    def __init__(self, patch, *threshold):
        self.patch, self.threshold = patch, threshold

    def __call__(self, first, second):
        first = census.census_transform(first, self.patch)
        return census.soft_hamming(first, census.census_transform(second, self.patch), *self.threshold)


def check_census(golden, case, patch, first, second, mask, values, grads):
    b, _, h, w = first.shape
    key = f"p{patch}"
    golden.check(f"{case}/zero_mask_border_{key}", pixels(run(Fixed(census.inner, patch // 2), mask)), values)
    for match in golden.matching(re.escape(f"{case}/census_a_{key}_b") + r"(\d+)"):
        transform = run(Fixed(census.census_transform, patch), first).reshape(b, patch**2, h, w)
        golden.check(match[0], pixels(transform)[int(match[1])][None], values)
    for match in golden.matching(re.escape(f"{case}/soft_hamming_{key}") + r"(?:_t(\d)(\d+))?"):
        threshold = [float(f"{match[1]}.{match[2]}")] if match[1] else []  # t05: 0.5
        got = run(Hamming(patch, *threshold), first, second).reshape(b, 1, h, w)
        golden.check(match[0], pixels(got), values)
    masks = {"mask": mask, "ones": np.ones_like(mask), "zeros": np.zeros_like(mask)}
    for match in golden.matching(re.escape(f"{case}/census_loss_{key}_") + r"(.+)_ones"):
        component = registry.build("photometric", "census", {"patch": patch, "distance": match[1]})
        stem = f"{case}/census_loss_{key}_{match[1]}"
        for name, visible in masks.items():
            if name == "mask" and f"{stem}_mask_grad_b" in golden:
                loss, (by_second, by_mask) = run_gradient(component, [first, second, visible], np.float32(1), [1, 2])
                golden.check(f"{stem}_mask_grad_b", pixels(by_second), grads)
                golden.check(f"{stem}_mask_grad_mask", pixels(by_mask), grads)
            else:
                loss = run(component, first, second, visible)
            golden.check(f"{stem}_{name}", loss, values)


def check_ssim(golden, case, first, second, mask, values, grads):
    for match in golden.matching(re.escape(case) + r"/ssim_(.+)_err"):
        component = registry.build("photometric", "ssim", SSIM[match[1]])
        cell = InGraph(component.patches)
        error, share = copied(cell(*tensors([second, first, mask])))
        noise = functools.partial(moved, cell, second, first, mask, error)
        golden.check(match[0], pixels(error), values, noise=noise)
        golden.check(f"{case}/ssim_{match[1]}_w", pixels(share), values)
        key = f"{case}/ssim_{match[1]}_grad_x_of_sum_err_w"
        if key in golden:
            _, (gradient,) = run_gradient(SsimSum(component), [second, first, mask], np.float32(1), [0])
            golden.check(key, pixels(gradient), grads)


def moved(cell, image, reconstruction, mask, error):
    """How far the errors of patches move with the last bit of the images.

    Variances are differences of nearly equal numbers, divided by no more than 9e-6.
    """
    farthest = 0.0
    for seed in range(4):
        draw = np.random.default_rng(seed)
        near = [
            (x * (1 + ROUNDING * draw.standard_normal(x.shape))).astype(np.float32) for x in (image, reconstruction)
        ]
        farthest = max(farthest, float(np.abs(copied(cell(*tensors([*near, mask])))[0] - error).max()))
    return farthest


class AtLevel(Made):
    """A smoothness component on whole frames and the flow of its level."""

    def __init__(self, component):
        self.component = component

    def __call__(self, images, flow):
        return self.component(geometry.image_at_level(images, self.component.level), flow)


def smoothness_of(match):
    name = {"smooth1": "first_order", "smooth2": "second_order"}[match["order"]]
    options = {"level": match["level"], "edge_constant": match["constant"], "edge_weighting": match["weighting"]}
    return AtLevel(registry.build("smoothness", name, options))


def check_smoothness(golden):
    losses, grads = golden.tolerance(), golden.tolerance("grads")
    for case in [match[1] for match in golden.matching(r"(.+)/image0")]:
        images = planes(np.concatenate([golden[f"{case}/image0"], golden[f"{case}/image1"]]))
        pattern = r"/(?P<order>smooth\d)_(?P<weighting>[a-z]+)_L(?P<level>\d)_c(?P<constant>[\d.]+)"
        levels = {}
        for match in golden.matching(re.escape(case) + pattern):
            levels.setdefault(match["level"], {})[match[0]] = smoothness_of(match)
        for level, terms in levels.items():
            flow = flow_planes(np.concatenate([golden[f"{case}/flow_{way}_L{level}"] for way in ("fw", "bw")]))
            for key, value in zip(terms, run(Several(*terms.values()), images, flow), strict=True):
                golden.check(key, value, losses)
            for key, function in terms.items():
                if f"{key}_grad_fw" in golden:
                    _, (gradient,) = run_gradient(function, [images, flow], np.float32(1), [1])
                    golden.check(f"{key}_grad_fw", flow_pixels(gradient)[: len(flow) // 2], grads)


def check_supervised(golden):
    flow = flow_planes(golden["flow2"])
    for case in [match[1] for match in golden.matching(r"(.+)/gt")]:
        truth, valid = flow_planes(golden[f"{case}/gt"]), planes(golden[f"{case}/valid"])
        for name, inputs in (("valid", [flow, truth, valid]), ("none", [flow, truth])):
            loss, (gradient,) = run_gradient(supervised_loss, inputs, np.float32(1), [0])
            golden.check(f"{case}/loss_{name}", loss, golden.tolerance())
            golden.check(f"{case}/grad_{name}", flow_pixels(gradient), golden.tolerance())
