"""How the terms are put together: directions, gradients that are stopped, and the options of the objective."""

import dataclasses
import functools
import types

import numpy as np
import pytest
from goldens.graph import Fixed, copied, numpy, run, tensors

from uflow import backend as ms
from uflow import registry
from uflow.components import Components
from uflow.losses.objective import REPORTED, Objective
from uflow.losses.supervised import SupervisedObjective, supervised_loss
from uflow.losses.terms import Losses
from uflow.models.architecture import Architecture
from uflow.models.directions import both_directions
from uflow.models.flow_network import FlowNetwork, initialize
from uflow.ops import geometry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NETWORK = Architecture(levels=2, width=1 / 16, cost_volume=True)
SIZE = (32, 32)


def choose(occlusion="wang", occlusion_options=None, **selfsup):
    taught = {"crop_height": 4, "crop_width": 4, **selfsup}
    return Components(
        photometric=registry.build("photometric", "charbonnier"),
        occlusion=registry.build("occlusion", occlusion, occlusion_options or {}),
        smoothness=registry.build("smoothness", "first_order", {"edge_constant": 1.0}),
        normalization=registry.build("normalization", "center_scale"),
        selfsup=registry.build("selfsup", "teacher_student", taught),
    )


def pair(seed=0, batch=2):
    generator = np.random.default_rng(seed)
    images = generator.random((2 * batch, 3, *SIZE), np.float32)
    flows = [generator.standard_normal((2 * batch, 2, 8, 8)).astype(np.float32) for _ in range(3)]
    return images, flows, (generator.random((batch, 1, *SIZE)) > 0.3).astype(np.float32)


class Terms(ms.nn.Cell):
    """The weighted terms, with gradients by the flow, the teacher's and the student's."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses
        self.gradient = ms.value_and_grad(self.total, (0, 1, 2), has_aux=True)

    def total(self, flow, teacher, student, images, occluded):
        terms = self.losses(images, flow, teacher, student, occluded)[:3]
        return terms[0] + 10 * terms[1] + 100 * terms[2], terms

    @ms.jit
    def construct(self, flow, teacher, student, images, occluded):
        return self.gradient(flow, teacher, student, images, occluded)


@functools.cache
def compiled_terms(components, **options):
    """One graph for all tests that ask for it; compiling is what takes the time."""
    return Terms(Losses(components, **options))


def terms_of(components, images, flows, occluded, **options):
    (_, terms), gradients = copied(compiled_terms(components, **options)(*tensors([*flows, images, occluded])))
    return np.array(terms), gradients


def swapped(x):
    return np.concatenate(np.split(x, 2)[::-1])


def test_both_directions_count_alike_and_by_half():
    images, flows, occluded = pair()
    both, gradients = terms_of(choose(), images, flows, occluded)
    backward, _ = terms_of(choose(), swapped(images), [swapped(f) for f in flows], occluded)
    np.testing.assert_allclose(backward, both, rtol=1e-5)
    assert (gradients[1] == 0).all()  # the teacher
    assert (gradients[0] != 0).any() and (gradients[2] != 0).any()
    first, one_way = terms_of(choose(), images, flows, occluded, only_forward=True)
    second, _ = terms_of(choose(), swapped(images), [swapped(f) for f in flows], occluded, only_forward=True)
    np.testing.assert_allclose(first + second, both, rtol=1e-5)
    assert (one_way[0][2:] == 0).all() and (one_way[2][2:] == 0).all()


def test_the_true_occlusion_masks_the_forward_direction_and_leaves_out_the_other():
    images, flows, occluded = pair()
    nothing, _ = terms_of(choose("ground_truth"), images, flows, np.zeros_like(occluded))
    plain, _ = terms_of(choose("none"), images, flows, occluded, only_forward=True)
    np.testing.assert_allclose(nothing, plain, rtol=1e-6)
    masked, _ = terms_of(choose("ground_truth"), images, flows, occluded)
    assert masked[0] != pytest.approx(plain[0], rel=1e-3)
    changed = images.copy()
    changed[:2] = np.where(occluded > 0, 1 - images[:2], images[:2])  # what is hidden may look as it likes
    again, _ = terms_of(choose("ground_truth"), changed, flows, occluded)
    assert again[0] == pytest.approx(masked[0], rel=1e-5)


def test_the_mask_passes_a_gradient_only_if_it_is_asked_to():
    images, flows, occluded = pair()
    stopped = terms_of(choose(), images, flows, occluded)
    through = terms_of(choose(occlusion_options={"stop_gradient": False}), images, flows, occluded)
    np.testing.assert_allclose(stopped[0], through[0], rtol=1e-6)
    assert np.abs(stopped[1][0] - through[1][0]).max() > 0.05 * np.abs(stopped[1][0]).max()


class Gradient(ms.nn.Cell):
    def __init__(self, objective, trained):
        super().__init__(auto_prefix=False)
        self.gradient = ms.value_and_grad(objective, None, trained, has_aux=True)

    @ms.jit
    def construct(self, *inputs):
        return self.gradient(*inputs)


@functools.cache
def compiled_objective(components, taught):
    """A network, its teacher and the gradient of the objective; one graph for all tests that ask for it."""
    network, teacher = (FlowNetwork(NETWORK, components.normalization) for _ in range(2))
    options = {"teacher": teacher} if taught else {}
    objective = Objective(network, components, **options)
    return network, teacher, Gradient(objective, network.trainable_params())


def outcome(components, seen=None, moves=None, teacher_seed=None):
    """Reported values and gradients of the network's parameters."""
    network, teacher, gradient = compiled_objective(components, teacher_seed is not None)
    initialize(network, 0)
    if teacher_seed is not None:
        initialize(teacher, teacher_seed)
    images, _, _ = pair()
    frames = np.split(images, 2)
    keep = np.ones((NETWORK.levels, 4), np.float32)
    inputs = [*frames, *(frames if seen is None else seen), np.ones(3, np.float32), keep, keep]
    inputs += [np.zeros((2, 1, *SIZE), np.float32)] + ([] if moves is None else [moves])
    (_, reported), gradients = copied(gradient(*tensors(inputs)))
    return dict(zip(REPORTED, reported, strict=True)), gradients


def test_a_frozen_teacher_teaches_what_it_knew():
    alive, gradients = outcome(choose())
    same, same_gradients = outcome(choose(teacher="frozen"), teacher_seed=0)
    other, _ = outcome(choose(teacher="frozen"), teacher_seed=1)
    assert same["selfsup"] == pytest.approx(alive["selfsup"], rel=1e-5)
    for one, two in zip(gradients, same_gradients, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    assert other["selfsup"] != pytest.approx(alive["selfsup"], rel=1e-3)
    assert other["photometric"] == alive["photometric"]
    with pytest.raises(ValueError, match="needs the teacher's network"):
        outcome(choose(teacher="frozen"))


def test_the_teacher_sees_the_original_or_the_augmented_frames():
    images, _, _ = pair()
    seen = [1 - frame for frame in np.split(images, 2)]
    original, _ = outcome(choose(), seen=seen)
    augmented, _ = outcome(choose(teacher_image="augmented"), seen=seen)
    assert augmented["selfsup"] != pytest.approx(original["selfsup"], rel=1e-3)
    assert augmented["photometric"] == original["photometric"]


def test_shifts_and_the_advection_mask_work_in_a_whole_step():
    shifted = choose(max_shift_height=4, max_shift_width=4, mask="advection")
    still, _ = outcome(shifted, moves=np.zeros((2, 2), np.int32))
    moved, gradients = outcome(shifted, moves=np.array([[4, -4], [-4, 0]], np.int32))
    plain, _ = outcome(choose(mask="advection"))
    assert still["selfsup"] == pytest.approx(plain["selfsup"], rel=1e-5)
    assert moved["selfsup"] != pytest.approx(plain["selfsup"], rel=1e-3)
    assert all(np.isfinite(g).all() for g in gradients)


def test_components_that_are_not_active_yet_cost_nothing():
    late = dataclasses.replace(choose(), occlusion=registry.build("occlusion", "wang", {"start": 0.5}))
    assert registry.entry_of(late.active_at(49, 100).occlusion).name == "none"
    assert registry.entry_of(late.active_at(50, 100).occlusion).name == "wang"


def test_what_moves_out_of_the_frame_counts_for_nothing():
    images, flows, occluded = pair()
    flows[0][:, 0] += 40
    terms, gradients = terms_of(choose("none"), images, flows, occluded)
    assert terms[0] == 0
    inside, _ = terms_of(choose("none"), images, [f * 0 for f in flows], occluded)
    assert inside[0] > 0.1


def test_what_is_visible_in_the_forward_direction_follows_from_the_backward_flow():
    images, flows, occluded = pair()
    before, _ = terms_of(choose(), images, flows, occluded, only_forward=True)
    flows[0][2:, 0] += 3  # the backward direction alone
    after, _ = terms_of(choose(), images, flows, occluded, only_forward=True)
    assert abs(after[0] - before[0]) > 1e-3 * before[0]
    assert after[1] == before[1]


def test_flows_at_a_quarter_of_the_size_lead_from_frame_to_frame_at_full_size():
    generator = np.random.default_rng(0)
    wide = generator.random((2, 3, 32, 40), np.float32)
    images = np.concatenate([wide[..., 8:], wide[..., :-8]])  # the second frames show it 8 px further to the right
    flow = np.zeros((4, 2, 8, 8), np.float32)
    flow[:2, 0], flow[2:, 0] = 2, -2
    _, flows, occluded = pair()
    terms, _ = terms_of(choose("none"), images, [flow, *flows[1:]], occluded)
    assert terms[0] == pytest.approx(3e-3, rel=1e-3)  # nothing is left but the epsilon of each color


def test_what_moves_out_of_a_crop_is_looked_up_in_the_larger_frame():
    scene = np.random.default_rng(0).random((1, 3, 48, 56), np.float32)
    around = np.ones((2, 4, 48, 48), np.float32)
    # the second frames show the scene 8 px further to the right, and their last 4 columns are outside of the frame
    around[:1, :3], around[1:, :3] = scene[..., 8:], scene[..., :-8]
    around[1, :, :, -4:] = 0
    images = around[:, :3, 8:-8, 8:-8]
    flow = np.zeros((2, 2, 8, 8), np.float32)
    flow[:1, 0], flow[1:, 0] = 2, -2
    nothing = {"selfsup": registry.build("selfsup", "none"), "smoothness": registry.build("smoothness", "none")}
    components = dataclasses.replace(choose(), **nothing)  # the range map has holes where the other crop ends
    given = [images, flow, flow, flow, np.zeros((1, 1, *SIZE), np.float32), np.zeros((2, 2), np.int32), around]
    term, _, _, visible, _ = numpy(Values(Losses(components, margin=8))(*tensors(given)))
    wanted = np.ones((2, 1, *SIZE), np.float32)
    wanted[0, ..., -4:] = 0
    np.testing.assert_array_equal(visible, wanted)
    assert term == pytest.approx(3e-3, rel=1e-3)  # nothing is left but the epsilon of each color


@pytest.mark.parametrize("name, hidden, term", [("wang", 0, 0), ("ground_truth", 20 / 1024, 6 * 20 / 1024)])
def test_what_moves_out_of_a_crop_is_hidden_only_where_that_is_known(name, hidden, term):
    around = np.ones((2, 4, 48, 48), np.float32)
    flow = np.zeros((2, 2, 8, 8), np.float32)
    flow[0, 0], flow[1, 0] = 1, -1  # the last four columns move out of the crop, and stay in the frame
    occluded = np.zeros((1, 1, *SIZE), np.float32)
    occluded[..., :5, -4:] = 1
    nothing = {"selfsup": registry.build("selfsup", "none"), "smoothness": registry.build("smoothness", "none")}
    components = dataclasses.replace(choose(name, {"penalty": 12.0}), **nothing)
    given = [around[:, :3, 8:-8, 8:-8], flow, flow, flow, occluded, np.zeros((2, 2), np.int32), around]
    _, _, _, visible, agreement = numpy(Values(Losses(components, margin=8))(*tensors(given)))
    assert 1 - visible.mean() == pytest.approx(hidden, abs=1e-7)
    assert agreement == pytest.approx(term, abs=1e-6)  # the penalty is for what the mask hides


class Values(ms.nn.Cell):
    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    @ms.jit
    def construct(self, *inputs):
        return self.losses(*inputs)


class Agreement(ms.nn.Cell):
    """The term of agreement, and its gradient by the flow."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses
        self.gradient = ms.value_and_grad(self.term, 1)

    def term(self, images, flow):
        return self.losses(images, flow)[4]

    @ms.jit
    def construct(self, images, flow):
        return self.gradient(images, flow)


def test_hidden_pixels_and_flows_that_do_not_cancel_cost_what_is_asked():
    nothing = {"selfsup": registry.build("selfsup", "none"), "smoothness": registry.build("smoothness", "none")}
    options = {"penalty": 12.0, "consistency": 0.5}
    components = dataclasses.replace(choose("wang", options), **nothing)
    images, _, _ = pair(batch=1)
    flow = np.zeros((2, 2, 8, 8), np.float32)
    flow[0, 0], flow[1, 0] = 2, -1  # 8 px to the right and 4 px back
    cell = Agreement(Losses(components))
    term, gradient = copied(cell(*tensors([images, flow])))
    # the backward flow reaches all but the last 4 columns, the forward flow all but the first 8; of the pixels that
    # stay in the frame none is nearer than 4 px to cancelling in x, and all cancel in y
    hidden, gap = (4 / 32 + 8 / 32) / 2, (16 + 1e-6) ** 0.5 + 1e-3
    assert term == pytest.approx(12 * hidden + 0.5 * gap, rel=1e-5)
    assert (gradient[:, 0] != 0).any(axis=(1, 2)).all()  # both flows
    flow[1, 0] = -2
    assert copied(cell(*tensors([images, flow])))[0] == pytest.approx(12 * 8 / 32 + 0.5 * 2e-3, rel=1e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_smoothness_is_asked_of_the_flow_and_the_frame_of_its_level(level):
    images, flows, occluded = pair()
    smooth = registry.build("smoothness", "first_order", {"edge_constant": 1.0, "level": level})
    nothing = {"occlusion": registry.build("occlusion", "none"), "selfsup": registry.build("selfsup", "none")}
    components = dataclasses.replace(choose(), smoothness=smooth, **nothing)

    def wanted(images, flow):
        for _ in range(2 - level):
            flow = geometry.upsample_flow(flow)
        return smooth(geometry.image_at_level(images, level), flow)

    found = numpy(Values(Losses(components))(*tensors([images, flows[0]])))[1]
    assert found == pytest.approx(float(run(wanted, images, flows[0])), rel=1e-5)


MOVES = {
    "shifts": (
        ("teacher_student", {"crop_height": 4, "crop_width": 4, "max_shift_width": 4, "sigma_teacher": 10.0}),
        np.array([[4, 0], [-4, 0]], np.int32),
    ),
    "affine": (
        ("arflow", {"mask": "advection"}),
        registry.build("selfsup", "arflow").draw_moves(np.random.default_rng(0), *SIZE),
    ),
}


@pytest.mark.parametrize("kind", MOVES)
def test_moves_of_the_frames_are_exchanged_with_the_direction(kind):
    images, flows, _ = pair()
    chosen, moves = MOVES[kind]
    components = dataclasses.replace(choose("brox"), selfsup=registry.build("selfsup", *chosen))
    nothing = np.zeros((2, 1, *SIZE), np.float32)
    both, forward = Values(Losses(components)), Values(Losses(components, True))
    whole = numpy(both(*tensors([images, *flows, nothing, moves])))[2]
    back = [swapped(images), *(swapped(f) for f in flows), nothing, moves[::-1].copy()]
    parts = [numpy(forward(*tensors(x)))[2] for x in ([images, *flows, nothing, moves], back)]
    assert whole == pytest.approx(float(sum(parts)), rel=1e-5) and parts[0] != pytest.approx(float(parts[1]), rel=1e-3)


class Guesses(ms.nn.Cell):
    """A network whose estimates are parts of the images it is given."""

    def __init__(self, sequence):
        super().__init__()
        self.options = types.SimpleNamespace(sequence=sequence)

    def features(self, images):
        return (images,)

    def construct(self, first, second, keep=None, groups=1):
        flow = first[0][:, :2, ::4, ::4] - second[0][:, :2, ::4, ::4]
        return 3 * flow, 2 * flow, flow


def test_the_loss_of_a_sequence_is_that_of_each_estimate_where_the_flow_is_known_too():
    images, _, _ = pair()
    first, second = np.split(images, 2)
    truth, valid = np.full((2, 2, *SIZE), 0.5, np.float32), np.ones((2, 1, *SIZE), np.float32)
    flow = (first - second)[:, :2, ::4, ::4]
    each = [float(run(supervised_loss, factor * flow, truth, valid)) for factor in (3, 2, 1)]
    for sequence, wanted in ((0.0, each[0]), (0.5, each[0] + each[1] / 2 + each[2] / 4)):
        loss, _ = SupervisedObjective(Guesses(sequence))(*tensors([first, second, truth, valid]))
        assert float(loss) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("selfsup", ["none", "teacher_student"])
def test_the_loss_of_a_sequence_is_that_of_each_estimate_by_how_old_it_is(selfsup):
    images, _, _ = pair()
    chosen = {"crop_height": 4, "crop_width": 4, "sigma_teacher": 10.0} if selfsup == "teacher_student" else {}
    components = dataclasses.replace(choose("brox"), selfsup=registry.build("selfsup", selfsup, chosen))
    keep, weights = np.ones((1, 4), np.float32), np.array([1, 10, 100], np.float32)
    inputs = tensors([*np.split(images, 2) * 2, weights, keep, keep])

    def guessed(frames):
        return (frames - swapped(frames))[:, :2, ::4, ::4]

    flow = guessed(images)
    view = guessed(run(Fixed(components.selfsup.student_view, None), images)) if chosen else flow
    totals, photometric = [], []
    for factor in (3, 2, 1):  # the teacher's last estimate is the target of all
        terms = numpy(Values(Losses(components))(*tensors([images, factor * flow, 3 * flow, factor * view])))
        totals.append(float(terms[0] + 10 * terms[1] + 100 * terms[2]))
        photometric.append(float(terms[0]))
    for sequence, wanted in ((0.0, totals[0]), (0.5, totals[0] + totals[1] / 2 + totals[2] / 4)):
        loss, reported = Objective(Guesses(sequence), components)(*inputs)
        assert float(loss) == pytest.approx(wanted, rel=1e-5) == float(reported[0])
        assert float(reported[1]) == pytest.approx(photometric[0], rel=1e-5)


def test_a_student_whose_frames_stay_is_its_teacher():
    components = dataclasses.replace(choose(), selfsup=registry.build("selfsup", "arflow"))
    stays = np.broadcast_to(np.eye(2, 3, dtype=np.float32), (2, 2, 2, 3))
    still, _ = outcome(components, moves=np.ascontiguousarray(stays))
    moved, gradients = outcome(components, moves=MOVES["affine"][1])
    assert still["selfsup"] == pytest.approx(0, abs=1e-5) and moved["selfsup"] > 0.1
    assert moved["photometric"] == still["photometric"] and all(np.isfinite(g).all() for g in gradients)


def test_the_advection_mask_of_the_teacher_follows_from_the_teachers_flows():
    images, flows, occluded = pair()
    flow, teacher, student = (np.zeros_like(flows[0]) for _ in range(3))
    student[:] = 3  # forward and backward do not cancel: nothing of the student's view is visible
    terms, _ = terms_of(choose("brox", mask="advection"), images, [flow, teacher, student], occluded)
    assert terms[2] == pytest.approx(2 * ((9 + 1e-6) ** 0.5), rel=1e-5)  # all pixels count
    terms, _ = terms_of(choose("brox", mask="advection"), images, [flow, student, teacher], occluded)
    assert terms[2] == 0  # a teacher that does not know, and a student that does


class Parts(ms.nn.Cell):
    """The flows that the terms are made of."""

    def __init__(self, network, selfsup):
        super().__init__(auto_prefix=False)
        self.network, self.selfsup = network, selfsup

    @ms.jit
    def construct(self, images, seen, keep, student_keep):
        flow = both_directions(self.network, seen, keep)
        student = both_directions(self.network, self.selfsup.student_view(seen), student_keep)
        return flow, both_directions(self.network, images), student


def test_the_objective_gives_each_term_its_frames_and_its_dropout():
    components = choose(sigma_teacher=10.0)
    network = FlowNetwork(NETWORK, components.normalization)
    initialize(network, 0)
    images, _, _ = pair()
    seen = 1 - images**2
    keep, student_keep = np.ones((2, NETWORK.levels, 4), np.float32)
    keep[1], student_keep[0, 1] = 0, 0
    weights = np.array([2, 3, 500], np.float32)
    flow, taught, student = numpy(Parts(network, components.selfsup)(*tensors([images, seen, keep, student_keep])))
    wanted = numpy(Values(Losses(components))(*tensors([images, flow, taught, student])))[:3]
    inputs = [*np.split(images, 2), *np.split(seen, 2), weights, keep, student_keep]
    (_, reported), _ = numpy(Gradient(Objective(network, components), network.trainable_params())(*tensors(inputs)))
    np.testing.assert_allclose(reported[1:4], wanted, rtol=1e-4)
    assert reported[0] == pytest.approx(float(np.dot(weights, wanted)), rel=1e-4)
