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
    drawn = np.stack([component.draw_moves(np.random.default_rng(seed), 64, 64) for seed in range(200)])
    assert drawn.dtype == np.int32 and (drawn % 4 == 0).all()
    assert set(drawn[..., 0].ravel()) == {-12, -8, -4, 0, 4, 8, 12} and set(drawn[..., 1].ravel()) == {-4, 0, 4}
    np.testing.assert_array_equal(drawn[7], component.draw_moves(np.random.default_rng(7), 64, 64))


def arflow(**options):
    return registry.build("selfsup", "arflow", options)


def move(there, shift=(0, 0)):
    """A move and what undoes it, as `draw_moves` gives one."""
    whole = np.eye(3)
    whole[:2, :2], whole[:2, 2] = there, shift
    return np.stack([whole, np.linalg.inv(whole)])[:, :2].astype(np.float32)


TURN = [[0, -1], [1, 0]]  # x to y and y to -x: clockwise, as y points down
STILL = move(np.eye(2))


def test_a_quarter_turn_moves_pixels_and_turns_their_flow():
    component, random = arflow(), np.random.default_rng(0)
    image = random.random((2, 3, 8, 8), np.float32)
    turned = run(Level(component.view, 0), image, move(TURN))
    np.testing.assert_allclose(turned, np.rot90(image, -1, (2, 3)), atol=2e-6)
    given = random.standard_normal((2, 2, 8, 8)).astype(np.float32)
    found = run(Level(component.flow_view, 2), given, move(TURN), move(TURN))
    wanted = np.rot90(np.stack([-given[:, 1], given[:, 0]], axis=1), -1, (2, 3))
    np.testing.assert_allclose(found, wanted, atol=2e-6)


class Level(Made):
    """A view at a pyramid level, whose other arguments are tensors."""

    def __init__(self, view, level):
        self.view, self.level = view, level

    def __call__(self, x, *moves):
        return self.view(x, self.level, *moves)


def test_a_shift_between_the_frames_is_flow_and_is_divided_once_per_level():
    # the first frame is moved by (8, 4) px, the second by (12, -4): at level 2 the flow changes by (1, -2)
    component = arflow()
    given = np.broadcast_to(np.arange(12, dtype=np.float32), (1, 2, 8, 12))
    found = run(Level(component.flow_view, 2), given, move(np.eye(2), (8, 4)), move(np.eye(2), (12, -4)))
    wanted = given[:, :, :, :-2] + np.array([1, -2], np.float32).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(found[:, :, 1:, 2:], wanted[:, :, 1:], atol=1e-5)
    assert (found[:, :, 0] == 0).all() and (found[:, :, :, :2] == 0).all()  # from outside of the frame


@pytest.mark.parametrize("level", [0, 2])
def test_the_flow_of_moved_frames_leads_where_the_moved_pixel_is(level):
    """An affine flow stays affine, which bilinear reading gives exactly."""
    component, random = arflow(), np.random.default_rng(level)
    moves = component.draw_moves(random, 64, 96).astype(np.float64)
    h, w = 64 // 2**level, 96 // 2**level
    own = 0.05 * random.standard_normal((2, 3))
    middle = np.array([(w - 1) / 2, (h - 1) / 2])
    y, x = np.mgrid[:h, :w]
    pixels = np.stack([x - middle[0], y - middle[1], np.ones((h, w))])

    def mapped(affine, places):
        scaled = affine.copy()
        scaled[:, 2] /= 2**level
        return np.einsum("ij,jhw->ihw", scaled, places)

    flow = np.einsum("ij,jhw->ihw", own, pixels)
    found = run(Level(component.flow_view, level), flow[None].astype(np.float32), *moves.astype(np.float32))[0]
    source = mapped(moves[0, 1], pixels)
    ones = np.ones((1, h, w))
    ends = source + np.einsum("ij,jhw->ihw", own, np.concatenate([source, ones]))
    wanted = mapped(moves[1, 0], np.concatenate([ends, ones])) - pixels[:2]
    inside = (np.abs(source) <= middle.reshape(2, 1, 1) - 0.01).all(0)
    assert inside.mean() > (0.99 if level == 0 else 0.8)
    np.testing.assert_allclose(found[:, inside], wanted[:, inside], atol=2e-4)


def test_both_frames_are_moved_by_their_own_move():
    images = np.random.default_rng(0).random((4, 3, 8, 8), np.float32)
    seen = run(arflow().student_view, images, np.stack([STILL, move(TURN)]))
    np.testing.assert_allclose(seen[:2], images[:2], atol=1e-6)
    np.testing.assert_allclose(seen[2:], np.rot90(images[2:], -1, (2, 3)), atol=2e-6)


def test_the_students_error_is_in_px_of_the_frame_and_a_mean_of_what_counts():
    component, none = arflow(mask="advection"), arflow(mask="none")
    visible = np.ones((2, 1, 8, 12), np.float32)
    visible[:, :, :2] = 0
    student = flow(1.5, -1)
    student[:, :, :2] = 100  # where the teacher is wrong
    # |.5| and |-1| of level 2 are 2 and 4 px, their mean 3
    inputs = [flow(1), flow(-1), student, flow(), STILL, STILL]
    assert run(component, *inputs, visible) == pytest.approx(3, rel=1e-6)
    rows = (2 * (99 + 100) / 2 + 6 * 0.75) / 8
    assert run(none, *inputs) == pytest.approx(4 * rows, rel=1e-6)
    # half of what is seen of a pixel counts by half: six rows at 1 and two at a half, where the error is 4 * 99.5
    visible[:, :, :2] = 0.5
    assert run(component, *inputs, visible) == pytest.approx((6 * 3 + 398) / 7, rel=1e-6)
    # the last of twelve columns moves out of the frame, where a teacher is taught nothing
    student[:, :, :, 11] = 100
    assert run(component, *inputs, visible) == pytest.approx((6 * 3 + 398) / 7, rel=1e-6)
    # where nothing is seen there is nothing to learn
    assert run(component, *inputs, 0 * visible) == 0


def test_a_teacher_is_trusted_where_its_flows_cancel_in_px_of_the_frame():
    # back by 1 - g of 1 px forward: 16 g^2 against .01 * 16 (1 + (1 - g)^2) + .5, which is .745 at g = .216
    still = flow(size=(8, 12))
    for gap, error in ((0.21, 4), (0.22, 0)):
        inputs = [flow(1), flow(gap - 1), flow(1, 2), still, STILL, STILL]
        assert run(arflow(), *inputs) == pytest.approx(error, rel=1e-5)  # |2| of level 2 in y, and x and y are averaged


def test_the_mask_is_moved_with_the_frame():
    visible = np.zeros((1, 1, 8, 8), np.float32)
    visible[..., 0, 0] = 1  # the upper left corner, a quarter turn later the upper right one
    student = flow(size=(8, 8), batch=1)
    student[..., 0, 7] = 2
    still = flow(size=(8, 8), batch=1)
    assert run(
        arflow(mask="advection"), still, still, student, still, move(TURN), move(TURN), visible
    ) == pytest.approx(8, rel=1e-5)


def test_only_the_student_learns_from_moved_frames():
    random = np.random.default_rng(1)
    flows = [random.standard_normal((2, 2, 16, 24)).astype(np.float32) for _ in range(4)]
    moves = arflow().draw_moves(random, 64, 96)
    visible = random.random((2, 1, 16, 24), np.float32)
    inputs = [*flows, *moves, visible]
    loss, gradients = run_gradient(arflow(mask="advection"), inputs, np.float32(1), [0, 1, 2, 3, 6])
    assert np.isfinite(loss) and loss > 0
    teacher, teacher_back, student, student_back, mask = gradients
    assert (student != 0).any()
    assert all((gradient == 0).all() for gradient in (teacher, teacher_back, student_back, mask))


@pytest.mark.parametrize("size", [(64, 64), (384, 512), (96, 320)])
def test_moves_are_drawn_until_both_views_lie_in_the_frame(size):
    component = arflow()
    half = (np.array(size[::-1]) - 1) / 2
    corners = np.array([[x, y, 1] for x in (-half[0], half[0]) for y in (-half[1], half[1])]).T
    zooms, mirrored, between = [], 0, []
    for seed in range(200):
        moves = component.draw_moves(np.random.default_rng(seed), *size)
        assert moves.shape == (2, 2, 2, 3) and moves.dtype == np.float32
        for there, back in moves.astype(np.float64):
            assert (np.abs(back @ corners) <= half[:, None] * (1 + 1e-5)).all()
            both = np.vstack([there, [0, 0, 1]]) @ np.vstack([back, [0, 0, 1]])
            np.testing.assert_allclose(both, np.eye(3), atol=1e-3)
        first, second = (np.vstack([there, [0, 0, 1]]) for there in moves[:, 0].astype(np.float64))
        zooms.append(np.sqrt(np.abs(np.linalg.det(first))))
        mirrored += np.linalg.det(first) < 0
        between.append((second @ np.linalg.inv(first))[:2, :2])
    np.testing.assert_array_equal(moves, component.draw_moves(np.random.default_rng(199), *size))
    assert 1 <= min(zooms) < 1.2 and 1.45 < max(zooms) <= 1.5 and 70 < mirrored < 130
    turns = [np.arctan2(each[1, 0] - each[0, 1], np.trace(each)) for each in between]
    assert -0.0151 < min(turns) < -0.012 and 0.012 < max(turns) < 0.0151
    ratios = [np.sqrt(np.linalg.det(each)) for each in between]
    assert 1 / 1.0151 < min(ratios) < 0.988 and 1.012 < max(ratios) < 1.0151


def test_a_view_that_cannot_lie_in_the_frame_is_not_moved():
    component = arflow(zoom=1.0, rotation=0.2, squeeze=1.0, translation=0.0, zoom_between=1.0, flip=False,
                       rotation_between=0.0, translation_between=0.0)  # fmt: skip
    moves = component.draw_moves(np.random.default_rng(0), 64, 96)
    np.testing.assert_allclose(moves, np.stack([STILL, STILL]))


def test_superpixels_are_hidden_behind_noise_as_a_whole():
    component = build(occluders=3, occluder_size=0.25, occluder_shape="superpixel", resize=False)
    noise = component.draw_occluders(np.random.default_rng(0), 32, 48)  # a view of 16x32, cells of 4x4
    marked = noise[0, 3].reshape(4, 4, 8, 4).transpose(0, 2, 1, 3).reshape(32, 16)
    assert (marked.min(1) == marked.max(1)).all() and marked.max(1).sum() == 3
    # upright stripes, 6 px wide, cut the cells: each superpixel lies in one stripe, so a hidden part has one color
    view = np.zeros((4, 3, 16, 32), np.float32)
    view[2:] = np.array([0.1, 0.9])[(np.arange(32) // 6) % 2]  # the first frames have no edges
    seen = run(component.hidden, view, noise)
    np.testing.assert_array_equal(seen[:2], view[:2])
    hidden = (seen[2:] != view[2:]).any(1)
    np.testing.assert_array_equal(seen[2:], np.where(hidden[:, None], noise[:, :3], view[2:]))
    assert 3 * 4 <= hidden[0].sum() <= 3 * 48 and not (hidden[0] == (noise[0, 3] == 1)).all()
    assert (
        build(occluders=100, occluder_shape="superpixel").draw_occluders(np.random.default_rng(0), 32, 48)[0, 3] == 1
    ).all()
