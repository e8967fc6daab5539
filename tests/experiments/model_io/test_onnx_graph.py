"""What ONNX Runtime makes of the graph: geometry by hand, and every option of the network against MindSpore."""

import numpy as np
import onnx
import onnxruntime
import pytest
from goldens.graph import Fixed, run
from onnx import helper

from experiments.model_io import onnx_graph
from experiments.training import checkpoints
from uflow import backend as ms
from uflow import registry
from uflow.models.flow_network import FlowNetwork
from uflow.models.inference import Inference
from uflow.network.pwc import Pwc
from uflow.normalization.center_scale import CenterScale

NETWORKS = {
    "paper": ({"levels": 3}, {}, (50, 70)),
    "one 1x1, free images": ({"levels": 2, "level1_layers": 4, "level1_1x1": 2}, {"across_images": False}, (36, 30)),
    "PWC-Net's sizes, shared": (
        {"levels": 3, "original_layer_sizes": True, "shared_decoder": True, "context_channels": 16},
        {"across_channels": False},
        (40, 24),
    ),
    "shared, no context": (
        {"levels": 3, "shared_decoder": True, "context": False, "accumulate_flow": False},
        {"center": False, "across_channels": False, "across_images": False},
        (32, 48),
    ),
    "no cost volume": ({"levels": 3, "cost_volume": False}, {"scale": False}, (33, 56)),
    "no warp": ({"levels": 3, "feature_warp": False, "context": False}, None, (32, 40)),
    "one pixel wide": ({"levels": 4, "level1_filters": 24}, {}, (17, 9)),
}


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    yield
    ms.set_context(mode=before)


def network_of(options, switches, seed=5):
    """A network with random biases too, and heads that make flows of several px at each level."""
    name = "none" if switches is None else "center_scale"
    network = FlowNetwork(Pwc(width=0.125, **options), registry.build("normalization", name, switches))
    generator = np.random.default_rng(seed)
    for place, parameter in network.parameters_and_names():
        shape = parameter.shape
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) == 4 else 0.3
        scale *= 2 if "head" in place else 1
        parameter.set_data(ms.Tensor((scale * generator.standard_normal(shape)).astype(np.float32)))
    return network.set_train(False)


def model_of(network, height, width, **more):
    weights = {name: p.asnumpy() for name, p in checkpoints.parameters_of((network,)).items()}
    options = {"height": height, "width": width, "properties": {}} | more
    return onnx_graph.model(network.options, network.normalization, weights, **options)


def session_of(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def smooth(*shape, seed=0):
    """Images whose neighboring pixels are alike, so that rounding of coordinates does not matter much."""
    noise = np.random.default_rng(seed).random(shape, np.float32)
    for axis in (2, 3):
        noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)) / 3
    return noise


@pytest.fixture(scope="module")
def agreement():
    """The flow of two pairs by MindSpore and by ONNX Runtime, by network."""
    found = {}

    def flows(name):
        if name not in found:
            options, switches, (h, w) = NETWORKS[name]
            network = network_of(options, switches)
            pair = smooth(2, 3, h, w, seed=1), smooth(2, 3, h, w, seed=2)
            model = model_of(network, h, w)
            session = session_of(model)
            ours = Inference(network)(*map(ms.Tensor, pair)).asnumpy()
            found[name] = network, model, session, pair, ours
        return found[name]

    return flows


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_the_flow_that_mindspore_finds(agreement, name):
    network, model, session, (first, second), ours = agreement(name)
    (theirs,) = session.run(None, {"first": first, "second": second})
    assert theirs.shape == ours.shape == (2, 2, *NETWORKS[name][2])
    largest = np.abs(ours).max()
    assert largest > 3  # else warping would be tested by nothing
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5 * largest)
    # level 2 hands its features to no finer level, all other weights count
    unused = {place for place, _ in network.parameters_and_names()} - {t.name for t in model.graph.initializer}
    assert all(place.startswith("upsamplings.0.") for place in unused)


def test_a_pair_has_the_same_flow_alone_and_in_a_batch(agreement):
    _, model, session, (first, second), _ = agreement("paper")
    (together,) = session.run(None, {"first": first, "second": second})
    (alone,) = session.run(None, {"first": first[1:], "second": second[1:]})
    np.testing.assert_allclose(alone[0], together[1], atol=1e-5 * np.abs(alone).max())
    (swapped,) = session.run(None, {"first": second, "second": first})
    assert np.abs(swapped - together).max() > 0.1


def test_a_fixed_batch_and_what_the_file_says(agreement):
    network = agreement("paper")[0]
    model = model_of(network, 50, 70, batch=3, properties={"version": "1.2", "protocol": "full/1"})
    assert {p.key: p.value for p in model.metadata_props} == {"version": "1.2", "protocol": "full/1"}
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [3, 2, 50, 70]
    assert session_of(model).get_inputs()[0].shape == [3, 3, 50, 70]


def test_a_normalization_that_cannot_be_written_is_named(agreement, monkeypatch):
    monkeypatch.delattr(CenterScale, "onnx")
    with pytest.raises(
        ValueError, match=r"'center_scale' cannot be written as ONNX \(possible: none, group, instance, l2, layer\)"
    ):
        model_of(agreement("paper")[0], 50, 70)


def evaluated(write, *inputs):
    """The value of what `write` adds to a graph for some inputs."""
    graph = onnx_graph.Graph()
    names = [f"input{i}" for i in range(len(inputs))]
    output = write(graph, *names)
    given = dict(zip(names, inputs, strict=True))
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, x.shape) for n, x in given.items()]
    made = helper.make_graph(
        graph.nodes,
        "part",
        values,
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(v, n) for n, v in graph.values.items()],
    )
    opset = [helper.make_opsetid("", onnx_graph.OPSET)]
    session = session_of(helper.make_model(made, opset_imports=opset, ir_version=onnx_graph.IR_VERSION))
    return session.run(None, given)[0]


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        *((name, {}) for name in registry.names("normalization")),
        ("layer", {"each": "pixel", "epsilon": 0.5}),
        ("group", {"channel_groups": 3, "epsilon": 0.5}),
        ("l2", {"epsilon": 0.5}),
    ],
)
def test_every_normalization_is_what_mindspore_makes_of_it(name, switches):
    component = registry.build("normalization", name, switches)
    first, second = (1 + 2 * np.random.default_rng(7).standard_normal((2, 1, 6, 4, 5))).astype(np.float32)
    found = evaluated(lambda graph, x, y: graph.concat(*component.onnx(graph, x, y)), first, second)
    np.testing.assert_allclose(found, np.concatenate(run(Fixed(component, 1), first, second), 1), atol=5e-6)


def test_group_normalization_of_a_batch_by_hand():
    x = np.arange(2 * 4 * 3 * 2, dtype=np.float32).reshape(2, 4, 3, 2) ** 1.5
    component = registry.build("normalization", "group", {"channel_groups": 2, "epsilon": 0.5})
    grouped = x.astype(np.float64).reshape(2, 2, 12)
    wanted = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + 0.5)
    found = evaluated(lambda graph, one, other: component.onnx(graph, one, other)[1], np.zeros_like(x), x)
    np.testing.assert_allclose(found, wanted.reshape(x.shape), atol=1e-5)


def test_warping_reads_at_the_destination_and_zero_outside():
    image = np.array([[1, 2, 4], [10, 20, 40]], np.float32).reshape(1, 1, 2, 3)
    flow = np.zeros((1, 2, 2, 3), np.float32)
    flow[0, :, 0] = [[0.5, 1.0, 0.25], [0.0, 1.0, 0.0]]  # right by 1/2; to (2, 1); a quarter out of the frame
    flow[0, :, 1] = [[-0.5, 5.0, 0.0], [0.0, 0.0, -0.5]]  # half out; far out; up by 1/2
    warped = evaluated(lambda graph, x, f: graph.warp(x, f, 2, 3), image, flow)
    np.testing.assert_allclose(warped[0, 0], [[1.5, 40, 3], [5, 0, 22]], atol=1e-5)


def test_warping_works_on_a_single_pixel():
    image, flow = np.full((1, 1, 1, 1), 8.0, np.float32), np.array([0.25, -0.5], np.float32).reshape(1, 2, 1, 1)
    assert evaluated(lambda graph, x, f: graph.warp(x, f, 1, 1), image, flow).item() == pytest.approx(3.0)


def test_costs_are_means_of_products_row_by_row():
    first, second = np.zeros((2, 1, 2, 3, 4), np.float32)
    first[0, :, 1, 1] = 3, -5
    second[0, :, 2, 3] = 4, 2  # at (x + 2, y + 1): (3 * 4 - 5 * 2) / 2 = 1
    second[0, :, 0, 1] = 0, 2  # at (x, y - 1): -5, which the activation makes -0.5
    cost = evaluated(lambda graph, x, y: graph.cost_volume(x, y, 3, 4), first, second)
    wanted = np.zeros((1, 81, 3, 4), np.float32)
    wanted[0, 9 * (4 + 1) + 4 + 2, 1, 1] = 1
    wanted[0, 9 * (4 - 1) + 4, 1, 1] = -0.5
    np.testing.assert_allclose(cost, wanted, atol=1e-6)
