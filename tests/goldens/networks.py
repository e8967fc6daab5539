"""The network in all its variants, level dropout, normalization and cost volume, inference."""

import re

import numpy as np

from goldens.golden import Bound, Golden, flow_pixels, pixels, planes
from goldens.graph import Fixed, Several, assert_same, copied, numpy, run, run_gradient, tensors
from goldens.masks import component_of
from uflow import backend as ms
from uflow import registry
from uflow.models import inference, reference_weights
from uflow.models.architecture import Architecture
from uflow.models.flow_network import FlowNetwork
from uflow.ops import geometry

OPTIONS = {
    "num_levels": "levels",
    "channel_multiplier": "width",
    "dropout_rate": "level_dropout",
    "level1_num_layers": "level1_layers",
    "level1_num_filters": "level1_filters",
    "level1_num_1x1": "level1_1x1",
    "original_layer_sizes": "original_layer_sizes",
    "shared_flow_decoder": "shared_decoder",
    "use_cost_volume": "cost_volume",
    "use_feature_warp": "feature_warp",
    "accumulate_flow": "accumulate_flow",
    "num_channels_upsampled_context": "context_channels",
}
# the manifest gives no tolerance for gradients of the networks; this is the one of gradients of the losses
GRADIENTS = Bound(of_max=1e-3)
ROUNDING = 1e-7  # relative size of a change of the last bit


def architecture(*arguments):
    """The network that the arguments of the reference's classes describe; what it does not have is an error."""
    given = {key: value for part in arguments for key, value in part.items()}
    given.pop("normalize_before_cost_volume", None)
    options = {OPTIONS[key]: value for key, value in given.items()}
    if options.get("context_channels") == 0:
        options |= {"context_channels": 1, "context": False}
    return Architecture(**options)


def weights_of(golden, prefix="w/"):
    return {match[1]: golden[match[0]] for match in golden.matching(re.escape(prefix) + "(.+)")}


def network_of(golden):
    entry = golden.entry
    options = architecture(entry["feature_kwargs"], entry["flow_kwargs"])
    normalized = entry["flow_kwargs"].get("normalize_before_cost_volume", True)
    network = FlowNetwork(options, registry.build("normalization", "center_scale" if normalized else "none"))
    reference_weights.load(network, weights_of(golden))
    return network


class Model(ms.nn.Cell):
    """Mean square of the flow, and features and flows of two frames in both directions."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, first, second, keep=None):
        features, others = self.network.pyramid(first), self.network.pyramid(second)
        forward = self.network(features, others, keep)
        backward = self.network(others, features, keep)
        return (forward[0] ** 2).mean(), features, others, forward, backward


class ModelGradient(ms.nn.Cell):
    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.parameters = network.trainable_params()
        self.gradient = ms.value_and_grad(Model(network), None, self.parameters, has_aux=True)

    @ms.jit
    def construct(self, first, second):
        return self.gradient(first, second)


def check_model(golden):
    network = network_of(golden)
    frames = [planes(golden["image0"]), planes(golden["image1"])]
    model = ModelGradient(network)
    (loss, *found), gradients = copied(model(*tensors(frames)))
    assert_same(gradients, copied(model(*tensors(frames)))[1])
    features, flows = golden.tolerance("features"), golden.tolerance("flows")
    for i, maps in enumerate(found[:2]):
        for level, values in enumerate(maps):
            if f"features_i{i}_L{level}" in golden:
                golden.check(f"features_i{i}_L{level}", pixels(values), features)
    for way, levels in zip(("flow12", "flow21"), found[2:], strict=True):
        assert len(levels) == len(golden.matching(rf"{way}_\d"))
        for level, values in enumerate(levels):
            golden.check(f"{way}_{level}", flow_pixels(values), flows)
    golden.check("gradloss", loss, GRADIENTS)
    wanted = gradients_wanted(golden, network)
    found = gradients_by_key(network, gradients, wanted)
    if far := {key: value for key, value in wanted.items() if distance(found[key], value) > GRADIENTS.of_max}:
        near = nearest_gradients(model, frames, network, far)
        for key in far:
            before, after = distance(found[key], far[key]), distance(near[key], far[key])
            golden.conditioned.append(
                f"{key}: {before:.3g} of the maximum, {after:.3g} from weights with other last bits"
            )
        found |= near
    for key, got in found.items():
        golden.compare(key, got, wanted[key][2], GRADIENTS)


def gradients_wanted(golden, network):
    """The reference's gradients, or their norms, by key: a function of ours and the value it should have."""
    wanted = {}
    for weight in reference_weights.weights(network.options):
        key, name = f"gradw/{weight.plain}", weight.parameter
        if key in golden:
            wanted[key] = (name, np.asarray, weight.converted(golden[key]))
        if f"{key}_norm" in golden:
            wanted[f"{key}_norm"] = (name, np.linalg.norm, golden[f"{key}_norm"])
    return wanted


def gradients_by_key(network, gradients, wanted):
    named = {name: value for (name, _), value in zip(network.parameters_and_names(), gradients, strict=True)}
    return {key: function(named[name]) for key, (name, function, _) in wanted.items()}


def distance(got, wanted):
    """Of a gradient from the reference's, as a share of the largest value."""
    return np.abs(got - wanted[2]).max() / np.abs(wanted[2]).max()


def nearest_gradients(model, frames, network, wanted):
    """Our gradients nearest to the reference's by key, from weights that are the reference's up to their last bit.

    An activation that is 0 up to rounding takes one or the other slope of LeakyReLU, and with it some gradients jump by
    up to 2 %. Such a gradient is the reference's if a change of the weights by their last bit makes it so.
    """
    parameters = dict(network.parameters_and_names())
    start = {name: parameter.asnumpy().copy() for name, parameter in parameters.items()}
    nearest = {}
    for seed in range(24):
        generator = np.random.default_rng(seed)
        for name, value in start.items():
            change = 1 + ROUNDING * generator.standard_normal(value.shape)
            parameters[name].set_data(ms.Tensor((value * change).astype(np.float32)))
        for key, got in gradients_by_key(network, copied(model(*tensors(frames)))[1], wanted).items():
            if key not in nearest or distance(got, wanted[key]) < distance(nearest[key], wanted[key]):
                nearest[key] = got
        if all(distance(got, wanted[key]) <= GRADIENTS.of_max for key, got in nearest.items()):
            break
    return nearest


class Dropped(ms.nn.Cell):
    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.model = Model(network)

    @ms.jit
    def construct(self, first, second, keep):
        return self.model(first, second, keep)[3]


def check_dropout(golden):
    base = Golden(golden.directory, golden.entry["base"])
    frames = [planes(base["image0"]), planes(base["image1"])]
    rate = float(re.search(r"keep iff draw > (\d+(?:\.\d+)?)", golden.entry["notes"])[1])
    model = Dropped(network_of(base))
    for case in [match[1] for match in golden.matching(r"draws_(.+)")]:
        keep = (golden[f"draws_{case}"] > np.float32(rate)).astype(np.float32)
        flows = numpy(model(*tensors([*frames, np.repeat(keep[:, None], len(frames[0]), axis=1)])))
        for level, values in enumerate(flows):
            golden.check(f"flow12_{case}_{level}", flow_pixels(values), golden.tolerance())


class CostAfterNormalization:
    def __init__(self, normalization):
        self.normalization = normalization

    def __call__(self, first, second):
        return geometry.apply_leaky_relu(geometry.cost_volume(*self.normalization(first, second, 1)))


def check_normalize_cost(golden):
    tolerance = golden.tolerance()
    for case in [match[1] for match in golden.matching(r"(.+)/f1")]:
        maps = [planes(golden[f"{case}/f1"]), planes(golden[f"{case}/f2"])]
        matches = golden.matching(re.escape(case) + r"/norm_n(\d)_c(\d)_ch(\d)_im(\d)_0")
        names = ("scale", "center", "across_channels", "across_images")
        switches = [{name: match[i + 1] == "1" for i, name in enumerate(names)} for match in matches]
        components = [Fixed(registry.build("normalization", "center_scale", s), 1) for s in switches]
        for match, found in zip(matches, run(Several(*components), *maps), strict=True):
            for i, values in enumerate(found):
                golden.check(f"{match[0][:-1]}{i}", pixels(values), tolerance)
        costs = {
            m[0]: Fixed(geometry.cost_volume, int(m[1])) for m in golden.matching(re.escape(case) + r"/cost_d(\d+)")
        }
        usual = registry.build("normalization", "center_scale")
        for key, function in {**costs, f"{case}/normcost": CostAfterNormalization(usual)}.items():
            values, gradients = run_gradient(function, maps, planes(golden[f"{key}_cotangent"]), [0, 1])
            golden.check(f"{key}_lrelu" if key.endswith("normcost") else key, pixels(values), tolerance)
            for i, gradient in enumerate(gradients):
                golden.check(f"{key}_grad_f{i + 1}", pixels(gradient), tolerance)


class AllOcclusions(ms.nn.Cell):
    """The flow, the flow at a quarter of the size, and the visibility by several components."""

    def __init__(self, inferring, occlusions):
        super().__init__(auto_prefix=False)
        self.inferring = inferring
        self.occluding = ms.nn.CellList([inference.OcclusionInference(inferring, o) for o in occlusions])

    @ms.jit
    def construct(self, first, second):
        visible = ()
        for cell in self.occluding:
            visible = visible + (cell(first, second)[1],)
        return self.inferring(first, second), self.inferring.quarter(first, second)[0], visible


def check_inference(golden):
    base = Golden(golden.directory, re.search(r"model_\w+", golden.entry["weights"])[0])
    images = planes(golden["images"])
    size = tuple(given or own for given, own in zip(golden.entry["input_hw"], images.shape[-2:], strict=True))
    inferring = inference.Inference(network_of(base), size, shared_statistics=True)
    matches = golden.matching(r"occ_(.+)")
    cell = AllOcclusions(inferring, [component_of(match[1]) for match in matches])
    flow, quarter, visible = numpy(cell(*tensors([images[:, 0], images[:, 1]])))
    tolerance = golden.tolerance()
    golden.check("flow", flow_pixels(flow), tolerance)
    golden.check("flow_raw", flow_pixels(quarter), tolerance)
    for match, values in zip(matches, visible, strict=True):
        golden.check(match[0], 1 - pixels(values), tolerance)
