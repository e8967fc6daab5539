"""The total loss in all variants, and whole training steps."""

import functools
import re

import numpy as np

from goldens.golden import EXACT, Bound, flow_pixels, flow_planes, pixels, planes
from goldens.graph import copied, numpy, tensors
from goldens.masks import SCORES
from goldens.networks import OPTIONS, architecture, weights_of
from uflow import backend as ms
from uflow import optimizer, registry
from uflow.components import Components
from uflow.losses.objective import Objective
from uflow.losses.terms import Losses
from uflow.models import reference_weights
from uflow.models.flow_network import FlowNetwork
from uflow.ops import geometry

PHOTO = {"l1": "l1", "robust_l1": "charbonnier", "ddflow": "ddflow"}
# what a variant or a training step may set, beside the network
SETTINGS = {
    "occ",
    "gt",
    "only_forward",
    "distance_metrics",
    "stop_gradient_mask",
    "smoothness_edge_weighting",
    "smoothness_at_level",
    "selfsup_mask",
    "fb_sigma_teacher",
    "fb_sigma_student",
}
NETWORK = OPTIONS.keys() | {"normalize_before_cost_volume"}
LEAVES = ("aug", "trans", "teach")
ROUNDING = 1e-7  # relative size of a change of the last bit


def occlusion_of(mode, scores=None, **options):
    if mode == "uflow":
        scores = scores or {}
        options |= {f"{k}_weight": v for k, v in scores.get("occ_weights", SCORES).items()}
        options |= {f"{k}_threshold": v for k, v in scores.get("occ_thresholds", {}).items()}
        options |= {f"{k}_clip": v for k, v in scores.get("occ_clip_max", {}).items()}
    return registry.build("occlusion", mode, {} if mode == "none" else options)


class Variant(ms.nn.Cell):
    """Photometric, smoothness and self-supervision terms of several choices of components on the same flows.

    Args:
        choices: of components; the terms of all of them are stacked.
        only_forward: see `Losses`.
    """

    def __init__(self, choices, only_forward):
        super().__init__()
        self.losses = ms.nn.CellList([Losses(choice, only_forward) for choice in choices])

    def construct(self, flow, student, teacher, weights, images, occluded):
        terms = ()
        for losses in self.losses:
            terms = terms + losses(images, flow, teacher, student, occluded)[:3]
        terms = ms.ops.stack(terms)
        return (terms * weights).sum(), terms


class VariantGradient(ms.nn.Cell):
    def __init__(self, choices, only_forward):
        super().__init__()
        self.gradient = ms.value_and_grad(Variant(choices, only_forward), (0, 1, 2), has_aux=True)

    @ms.jit
    def construct(self, flow, student, teacher, weights, images, occluded):
        return self.gradient(flow, student, teacher, weights, images, occluded)


def variant_of(entry, changes):
    """Losses of a variant by the reference's names, and the choices of components that give them."""
    if unknown := (entry["defaults"] | changes).keys() - SETTINGS:
        raise KeyError(f"settings that no component has: {sorted(unknown)}")
    chosen = entry["defaults"] | changes
    weights, distances = entry["weights"], entry["defaults"]["distance_metrics"] | chosen["distance_metrics"]
    smoothing = {
        "edge_constant": weights["edge_constant"],
        "edge_weighting": chosen["smoothness_edge_weighting"],
        "level": chosen["smoothness_at_level"],
    }
    if changes.get("gt"):
        occlusion = registry.build("occlusion", "ground_truth")
    else:
        scores = entry["defaults"]["occ"]
        occlusion = occlusion_of(changes["occ"], scores, stop_gradient=chosen["stop_gradient_mask"])
    taught = {
        "crop_height": entry["crop"][0],
        "crop_width": entry["crop"][1],
        "mask": chosen["selfsup_mask"],
        "sigma_teacher": chosen["fb_sigma_teacher"],
        "sigma_student": chosen["fb_sigma_student"],
    }
    common = {"occlusion": occlusion, "normalization": registry.build("normalization", "none")}
    none = {axis: registry.build(axis, "none") for axis in ("smoothness", "selfsup")}

    def choice(photometric, options, **others):
        return Components(photometric=registry.build("photometric", photometric, options), **common, **none | others)

    choices = [
        choice(
            PHOTO[distances["photo"]],
            {},
            smoothness=registry.build("smoothness", "first_order", smoothing),
            selfsup=registry.build("selfsup", "teacher_student", taught),
        ),
        choice("ssim", {}, smoothness=registry.build("smoothness", "second_order", smoothing)),
        choice("census", {"distance": distances["census"]}),
    ]
    return (("photo", "smooth1", "selfsup"), ("ssim", "smooth2", None), ("census", None, None)), choices


def check_total_loss(golden):
    losses, grads = golden.tolerance("losses"), golden.tolerance("grads")
    images = planes(np.concatenate([golden["in/image0"], golden["in/image1"]]))
    flows = {k: flow_planes(np.concatenate([golden[f"in/{k}_fw"], golden[f"in/{k}_bw"]])) for k in LEAVES}
    occluded = planes(golden["in/gt_occ"])
    first = next(iter(golden.entry["variants"].values()))
    check_mid(golden, variant_of(golden.entry, first)[1][0].occlusion, images, flows["aug"], losses)
    for variant, changes in golden.entry["variants"].items():
        names, choices = variant_of(golden.entry, changes)
        terms = [name for group in names for name in group]
        cell = VariantGradient(choices, changes.get("only_forward", False))
        found = {}
        for name in filter(golden.entry["weights"].get, terms):
            weights = np.array([golden.entry["weights"][name] * (term == name) for term in terms], np.float32)
            inputs = tensors([flows["aug"], flows["trans"], flows["teach"], weights, images, occluded])
            (value, _), gradients = copied(cell(*inputs))
            found[name] = value, gradients
        values, gradients = zip(*found.values(), strict=True)
        found["total"] = sum(values), [sum(parts) for parts in zip(*gradients, strict=True)]
        for name, (value, gradients) in found.items():
            golden.check(f"{variant}/loss/{name}", value, losses)
            for leaf, gradient in zip(LEAVES, gradients, strict=True):
                for way, part in zip(("fw", "bw"), np.split(flow_pixels(gradient), 2), strict=True):
                    key = f"{variant}/grad/{name}/{leaf}_{way}"
                    if key in golden:
                        golden.check(key, part, grads)
                    else:  # nothing must get a gradient that gets none in the reference
                        golden.compare(key, part, np.zeros_like(part), EXACT)


class Middle(ms.nn.Cell):
    """What the first variant's photometric terms compare and count."""

    def __init__(self, occlusion):
        super().__init__()
        self.occlusion = occlusion

    @ms.jit
    def construct(self, second, forward, backward):
        forward = geometry.upsample_flow(geometry.upsample_flow(forward))
        backward = geometry.upsample_flow(geometry.upsample_flow(backward))
        visible = self.occlusion(forward, backward)
        return geometry.warp(second, forward), visible, geometry.inside_frame(forward)


def check_mid(golden, occlusion, images, flow, tolerance):
    half = len(images) // 2
    found = numpy(Middle(occlusion)(*tensors([images[half:], flow[:half], flow[half:]])))
    for name, values in zip(("warped", "not_occ", "valid"), found, strict=True):
        golden.check(f"mid/{name}_fw", pixels(values), EXACT if name == "valid" else tolerance)


PHOTOMETRIC = {"census": "census", "ssim": "ssim", "photo": "charbonnier"}  # by the name of the loss
SMOOTHNESS = {"smooth1": "first_order", "smooth2": "second_order"}


class Step(ms.nn.Cell):
    """Reported values and gradients of an objective."""

    def __init__(self, objective, trained):
        super().__init__(auto_prefix=False)
        self.objective = objective
        self.gradient = ms.value_and_grad(objective, None, trained, has_aux=True)

    @ms.jit
    def construct(self, frames, seen, weights, keep):
        (_, reported), gradients = self.gradient(*frames, *seen, weights, keep, keep)
        return reported, gradients


class Update(ms.nn.Cell):
    def __init__(self, update):
        super().__init__(auto_prefix=False)
        self.update = update

    @ms.jit
    def construct(self, gradients, learning_rate, powers):
        return self.update(gradients, learning_rate, powers)


def one_of(names, weights):
    """Which of several terms, of which the project has one at a time, a loss has."""
    chosen = [name for name in names if name in weights]
    if len(chosen) != 1:
        raise KeyError(f"the loss must have exactly one of {', '.join(names)}, its weights are {weights}")
    return chosen[0]


def step_components(entry, photometric, smooth):
    net, weights = entry["net"], entry["loss_weights"]
    smoothing = {
        "level": net["smoothness_at_level"],
        "edge_weighting": net["smoothness_edge_weighting"],
        "edge_constant": weights.get("edge_constant", 0.0),
    }
    crop = {"crop_height": entry["crop"][0], "crop_width": entry["crop"][1]}
    normalized = net.get("normalize_before_cost_volume", True)
    return Components(
        photometric=registry.build("photometric", PHOTOMETRIC[photometric]),
        occlusion=occlusion_of(net["occlusion_estimation"]),
        smoothness=registry.build("smoothness", SMOOTHNESS[smooth], smoothing),
        normalization=registry.build("normalization", "center_scale" if normalized else "none"),
        selfsup=registry.build("selfsup", "teacher_student", crop),
    )


class Training:
    """Steps of the optimizer from the reference's weights, the first one with the reference's own gradients.

    Adam divides a gradient by its size, so rounding decides the direction of every weight whose gradient is next to
    nothing: after one free step two runs of the reference itself differ by more than its tolerance. With the given
    gradients the weights of step 1 are the reference's, and from there on little is left of that.
    """

    def __init__(self, golden, names):
        entry = golden.entry
        components = step_components(entry, *names[:2])
        self.options = architecture({key: value for key, value in entry["net"].items() if key in NETWORK})
        network = FlowNetwork(self.options, components.normalization)
        reference_weights.load(network, weights_of(golden))
        self.parameters = dict(network.parameters_and_names())
        self.start = self.weights()
        self.update = optimizer.build("adam", network.trainable_params())
        self.step = Step(Objective(network, components), self.update.trained)
        self.apply = Update(self.update)
        self.loss_weights = np.array([entry["loss_weights"][name] for name in names], np.float32)
        self.rate = np.float32(entry["lr"])
        seen, frames = planes(golden["batch"]), planes(golden["batch_orig"])
        self.pairs = [tuple(tensors([x[:, 0], x[:, 1]])) for x in (frames, seen)]
        self.keep = np.ones((self.options.levels, 2 * len(frames)), np.float32)

    def weights(self):
        return {name: parameter.asnumpy().copy() for name, parameter in self.parameters.items()}

    def terms_and_gradients(self):
        """The weighted terms and the total, and the gradients by name."""
        reported, gradients = copied(self.step(*self.pairs, *tensors([self.loss_weights, self.keep])))
        return np.append(reported[1:4] * self.loss_weights, reported[0]), dict(
            zip(self.parameters, gradients, strict=True)
        )

    def change_last_bits(self, values, seed):
        """Sets the weights to values that are those given up to their last bit."""
        generator = np.random.default_rng(seed)
        for name, value in values.items():
            change = 1 + ROUNDING * generator.standard_normal(value.shape)
            self.parameters[name].set_data(ms.Tensor((value * change).astype(np.float32)))

    @functools.cached_property
    def near_start(self):
        """Terms and gradients from weights that are the reference's up to their last bit."""
        found = []
        for seed in range(16):
            self.change_last_bits(self.start, seed)
            found.append(self.terms_and_gradients())
        return found

    def run(self, gradients, count, seed=None):
        """Terms of each step and the weights after the last.

        Args:
            gradients: of the first step, by name.
            count: of steps.
            seed: to change the last bit of the weights after the first step, if given.
        """
        for name, value in self.start.items():
            self.parameters[name].set_data(ms.Tensor(value))
        for moment in (*self.update.moment1, *self.update.moment2):
            moment.set_data(ms.ops.zeros(moment.shape))
        found = []
        for number in range(count):
            terms, own = self.terms_and_gradients()
            found.append(terms)
            given = own if number else gradients
            given = tuple(tensors(given[name] for name in self.parameters))
            self.apply(given, *tensors([self.rate, self.update.powers(number)]))
            if number == 0 and seed is not None:
                self.change_last_bits(self.weights(), seed)
        return np.array(found), self.weights()


def nearest_gradients(golden, training, gradients, wanted):
    """The gradients of the first step, or all of them from weights with other last bits if those are the reference's.

    An activation that is 0 up to rounding takes one or the other slope of LeakyReLU: the reference's own gradients jump
    by up to 8 % of their maximum when its weights change by their last bit.
    """
    tolerance = golden.tolerance("grads")

    def worst(found):
        return max(np.abs(found[name] - value).max() / tolerance.limit(value) for name, value in wanted.items())

    if worst(gradients) <= 1:
        return gradients
    near = min((found for _, found in training.near_start), key=worst)
    before, after = worst(gradients), worst(near)
    text = f"gradients of step 0: off by {before:.3g} of what is allowed, by {after:.3g} with other last bits"
    golden.conditioned.append(text)
    return near


def check_train_step(golden):
    entry = golden.entry
    names = (one_of(PHOTOMETRIC, entry["loss_weights"]), one_of(SMOOTHNESS, entry["loss_weights"]), "selfsup")
    training = Training(golden, names)
    _, gradients = training.terms_and_gradients()
    wanted = reference_weights.weights(training.options)
    given = {w.parameter: w.converted(golden[key]) for w in wanted if (key := f"g/{w.plain}") in golden}
    gradients = nearest_gradients(golden, training, gradients, given)
    for weight in wanted:
        key, got = f"g/{weight.plain}", gradients[weight.parameter]
        if weight.parameter in given:
            golden.compare(key, got, given[weight.parameter], golden.tolerance("grads"))
        else:  # the features of the finest level are handed to nobody
            given[weight.parameter] = np.zeros_like(got)
            golden.compare(key, got, given[weight.parameter], EXACT)

    count = len(golden.matching(r"s\d+/loss/total-loss"))
    terms, after = training.run(given, count)

    @functools.cache
    def others():
        return [training.run(given, count, seed) for seed in range(8)]

    def spread(number, i):
        """Twice, for both the reference and this are as far from the exact course as the others are from this one."""
        near = training.near_start if number == 0 else [(o[0][number], None) for o in others()]
        return 2 * max(abs(found[i] - terms[number, i]) for found, _ in near)

    for number in range(count):
        for i, name in enumerate((*names, "total")):
            noise = functools.partial(spread, number, i)
            golden.check(f"s{number}/loss/{name}-loss", terms[number, i], golden.tolerance("loss"), noise=noise)
    farthest = Bound(absolute=float(re.search(r"(\d+)\*lr", entry["tol"])[1]) * entry["lr"])
    median = Bound(absolute=float(re.search(r"median < ([\d.e-]+)", entry["tol"])[1]))
    last = {w.parameter: w.converted(golden[f"w{count}/{w.plain}"]) for w in wanted}
    for weight in wanted:
        name = weight.parameter
        golden.compare(f"w{count}/{weight.plain}", after[name], last[name], farthest)

    def apart(one, two):
        return np.median(np.concatenate([np.abs(one[name] - two[name]).ravel() for name in after]))

    noise = functools.cache(lambda: 2 * max(apart(o[1], after) for o in others()))
    golden.compare(f"median of w{count}", 1 + apart(after, last), np.ones(()), median, noise=noise)
