"""Contract of self-supervision, values by hand, and scenes whose answer is known."""

import numpy as np
import pytest
from goldens.graph import Made, run, run_gradient

from uflow import registry
from uflow.components import Components


def build(**options):
    return registry.build("selfsup", "teacher_student", {"crop_height": 8, "crop_width": 8} | options)


def flow(x=0.0, y=0.0, size=(8, 12), batch=2):
    found = np.zeros((batch, 2, *size), np.float32)
    found[:, 0], found[:, 1] = x, y
    return found


class Loss(Made):
    """The loss with the masks that `advection` needs, as arguments a graph can be given."""

    def __init__(self, component):
        self.component = component

    def __call__(self, teacher, teacher_back, student, student_back, teacher_visible, student_visible):
        flows = (teacher, teacher_back, student, student_back)
        return self.component(*flows, None, None, teacher_visible, student_visible)


@pytest.mark.parametrize("mask", ["gaussian", "ddflow", "advection"])
@pytest.mark.parametrize("resize", [True, False])
def test_contract(mask, resize):
    generator = np.random.default_rng(0)
    component = build(mask=mask, resize=resize)
    images = generator.random((4, 3, 32, 48), np.float32)

    def view(images):
        return component.student_view(images, None)

    seen = run(view, images)
    assert seen.shape == ((4, 3, 32, 48) if resize else (4, 3, 16, 32))
    teacher = generator.standard_normal((2, 2, 8, 12)).astype(np.float32) / 10
    student = generator.standard_normal((2, 2, seen.shape[2] // 4, seen.shape[3] // 4)).astype(np.float32)
    visible = np.ones((2, 1, 8, 12), np.float32)
    hidden = np.zeros_like(student[:, :1])
    inputs = [teacher, -teacher, student, 3 + student, visible, hidden]
    loss, gradients = run_gradient(Loss(component), inputs, np.float32(1), [0, 1, 2, 3])
    assert loss.shape == () and np.isfinite(loss) and loss > 0
    teacher, teacher_back, student, student_back = gradients
    assert (teacher == 0).all() and (teacher_back == 0).all()  # the teacher learns nothing
    assert (student != 0).any() and (student_back == 0).all()  # nor do masks pass a gradient


def test_the_mean_is_over_all_pixels_and_not_over_those_that_count():
    # the teacher's flows cancel, the student's do not (gap 40 px): every pixel of the crop counts fully but those
    # whose teacher moves out of the frame, which are the first of twelve columns; without resizing they are cut off
    component = build(mask="ddflow", resize=False)
    inputs = [flow(-1), flow(1), flow(3, size=(4, 8)), flow(37, size=(4, 8))]
    assert run(component, *inputs) == pytest.approx(((16 + 1e-6) ** 0.5 + 1e-3), rel=1e-5)
    # a student that sees what the teacher sees has nothing to learn
    inputs[3] = flow(-3, size=(4, 8))
    inside = 3 / 8 * ((16 + 1e-6) ** 0.5 + 1e-3)  # 3 of 8 columns move out of view
    assert run(component, *inputs) == pytest.approx(inside, rel=1e-5)
    # also where any gap would do
    component = build(sigma_teacher=10.0, sigma_student=10.0, resize=False)
    assert run(component, *inputs) == pytest.approx(inside, rel=2e-3)


def test_without_self_supervision_nothing_is_added():
    none = registry.build("selfsup", "none")
    others = {"photometric": "l1", "occlusion": "none", "smoothness": "none", "normalization": "none"}
    components = Components(selfsup=none, **{axis: registry.build(axis, name) for axis, name in others.items()})
    assert not registry.entry_of(none).needs and none.weight == 0 and components.starts(100) == ()
    assert [components.weights_at(step, 100)[2] for step in (0, 50, 99)] == [0, 0, 0]


def test_the_gaussian_mask_is_relative_to_the_size_of_the_whole_image():
    # squared gap 4 against sigma^2 (8^2 + 12^2) with sigma = 1: exp(-4 / 208), also for a student of 4 x 8
    component = build(sigma_teacher=10.0, sigma_student=1.0, resize=False)
    inputs = [flow(), flow(), flow(size=(4, 8)), flow(0, 2, size=(4, 8))]
    student, wanted = inputs[2], (1 - np.exp(-4 / 208)) * 2e-3
    assert run(component, inputs[0], inputs[1], student, inputs[3]) == pytest.approx(wanted, rel=1e-3)


def test_the_teacher_is_trusted_by_its_own_sigma():
    # squared gap 4 against 0.2^2 (8^2 + 12^2); nothing agrees in the student's flows
    component = build(sigma_teacher=0.2, sigma_student=1e-5, resize=False)
    inputs = [flow(), flow(0, 2), flow(3, size=(4, 8)), flow(3, size=(4, 8))]
    wanted = np.exp(-4 / (0.04 * 208)) * ((9 + 1e-6) ** 0.5 + 1e-3)
    assert run(component, *inputs) == pytest.approx(wanted, rel=1e-4)


def test_a_tolerance_in_px_is_one_of_the_frame_whatever_its_size():
    # a gap of 2 px at a quarter of the size is 8 px of the frame: exp(-1) with a tolerance of 8 px
    component = build(sigma_teacher=8.0, sigma_student=1e-4, sigma_unit="px", resize=False)
    inputs = [flow(), flow(0, 2), flow(3, size=(4, 8)), flow(3, size=(4, 8))]
    assert run(component, *inputs) == pytest.approx(np.exp(-1) * ((9 + 1e-6) ** 0.5 + 1e-3), rel=1e-5)


def test_occluders_hide_parts_of_the_second_frame_behind_noise():
    component = build(occluders=3, occluder_size=0.25, resize=False)
    noise = component.draw_occluders(np.random.default_rng(0), 32, 48)
    np.testing.assert_array_equal(noise, component.draw_occluders(np.random.default_rng(0), 32, 48))
    assert noise.shape == (1, 4, 16, 32) and set(np.unique(noise[:, 3])) == {0, 1}
    assert build(occluders=3).draw_occluders(np.random.default_rng(0), 32, 48).shape == (1, 4, 32, 48)
    areas = []
    for seed in range(50):
        hidden = build(occluders=1, occluder_size=0.25).draw_occluders(np.random.default_rng(seed), 32, 48)[0, 3]
        rows, columns = hidden.any(1).sum(), hidden.any(0).sum()
        assert hidden.sum() == rows * columns and 1 <= rows <= 8 and 1 <= columns <= 12
        areas.append((rows, columns))
    assert len(set(areas)) > 20 and max(r for r, _ in areas) == 8 and max(c for _, c in areas) == 12
    view = np.full((4, 3, 16, 32), 2, np.float32)
    seen = run(component.hidden, view, noise)
    assert (seen[:2] == 2).all()
    np.testing.assert_array_equal(seen[2:], np.where(noise[:, 3:] == 1, noise[:, :3], 2).repeat(2, axis=0))


def test_rows_and_columns_are_cut_by_their_own_options():
    component = build(crop_height=4, crop_width=8, resize=False)
    rows, columns = np.meshgrid(np.arange(8.0), np.arange(12.0), indexing="ij")

    def view(x):
        return component.view(x, 1, None)

    seen = run(view, np.stack([columns, rows])[None].astype(np.float32))
    assert seen.shape == (1, 2, 4, 4) and seen[0, :, 0, 0].tolist() == [4, 2]


def test_resizing_the_crop_rescales_the_flow():
    # 8 x 12 at level 2 without 2 on each side is 4 x 8: brought back it is 2 times as high and 1.5 times as wide
    component = build()

    def view(flow):
        return component.flow_view(flow, 2, None, None)

    np.testing.assert_allclose(run(view, flow(2, 3)), flow(2 * 1.5, 3 * 2), rtol=1e-6)


def test_the_advection_mask_is_what_the_occlusion_says_inside_of_the_frame():
    """Upstream it raises: masks exist at full resolution only."""
    component = build(mask="advection", resize=False)
    teacher_visible, student_visible = np.ones((2, 1, 8, 12), np.float32), np.ones((2, 1, 4, 8), np.float32)
    student_visible[..., :2] = 0  # the student does not see two of eight columns
    inputs = [flow(), flow(), flow(3, size=(4, 8)), flow(-3, size=(4, 8)), teacher_visible, student_visible]
    # these two and the last three, which move out of the student's view, count
    assert run(Loss(component), *inputs) == pytest.approx(5 / 8 * ((9 + 1e-6) ** 0.5 + 1e-3), rel=1e-5)
    inputs[4] = np.zeros_like(teacher_visible)
    assert run(Loss(component), *inputs) == 0


def shift_of(component, level):
    def view(x, shift):
        return component.view(x, level, shift)

    def flow_view(x, shift, other):
        return component.flow_view(x, level, shift, other)

    return view, flow_view


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_shift_is_divided_once_per_level(level):
    """Upstream divides cumulatively: the shift at level 2 is an eighth of that at full resolution."""
    component = build(max_shift_width=8, max_shift_height=8, resize=False)
    size = (32 // 2**level, 48 // 2**level)
    rows, columns = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in size), indexing="ij")
    view, flow_view = shift_of(component, level)
    seen = run(view, np.stack([columns, rows])[None], np.array([-8, 4], np.int32))
    assert seen[0, :, 0, 0].tolist() == [(8 - 8) / 2**level, (8 + 4) / 2**level]
    assert seen.shape[2:] == (size[0] - 16 // 2**level, size[1] - 16 // 2**level)
    # the first frame's view moves by (-8, 4), the second's by (4, 0): what stands still moves by (-12, 4) in the view
    moved = run(flow_view, flow(size=size), np.array([-8, 4], np.int32), np.array([4, 0], np.int32))
    np.testing.assert_array_equal(moved[0, :, 0, 0], np.array([-12, 4]) / 2**level)


def test_both_frames_are_seen_by_their_own_shift():
    component = build(max_shift_width=8, resize=False)
    column = np.broadcast_to(np.arange(48, dtype=np.float32), (4, 3, 32, 48)).copy()
    seen = run(component.student_view, column, np.array([[-8, 0], [4, 0]], np.int32))
    assert (seen[:2, :, :, 0] == 0).all() and (seen[2:, :, :, 0] == 12).all()


def test_shifts_are_multiples_of_4_within_the_bounds_of_their_own_direction():
    """Upstream takes the bound of y for both."""
    component = build(crop_width=16, max_shift_width=12, max_shift_height=4)
    drawn = np.stack([component.draw_shifts(np.random.default_rng(seed)) for seed in range(200)])
    assert drawn.dtype == np.int32 and (drawn % 4 == 0).all()
    assert set(drawn[..., 0].ravel()) == {-12, -8, -4, 0, 4, 8, 12} and set(drawn[..., 1].ravel()) == {-4, 0, 4}
    np.testing.assert_array_equal(drawn[7], component.draw_shifts(np.random.default_rng(7)))
