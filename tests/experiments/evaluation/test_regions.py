import numpy as np
import pytest

from experiments.data.pairs import Pair
from experiments.evaluation.regions import (
    NAMES,
    boundary_distance,
    by_distance,
    by_speed,
    by_visibility,
    known,
    motion_boundaries,
    regions,
)


def pair_of(flow, **truth):
    frame = np.zeros((*flow.shape[1:], 3), np.uint8)
    return Pair("p", frame, frame, np.asarray(flow, np.float32), **truth)


def step(height, width, column, jump, axis=1):
    """No motion, and from a column on a motion of `jump` px."""
    flow = np.zeros((2, height, width), np.float32)
    flow[0, :, column:] = jump
    return flow if axis == 1 else np.ascontiguousarray(flow.transpose(0, 2, 1))


@pytest.mark.parametrize("axis", [0, 1])
def test_both_sides_of_a_jump_are_a_boundary(axis):
    everywhere = np.ones((3, 6) if axis == 1 else (6, 3), bool)
    found = motion_boundaries(step(3, 6, 4, 1.5, axis), everywhere)
    found = found if axis == 1 else found.T
    assert found.tolist() == [[False, False, False, True, True, False]] * 3


def test_a_jump_exceeds_its_limit_as_a_vector():
    flow = np.zeros((2, 1, 2), np.float32)
    flow[:, 0, 1] = 3, 4  # length 5
    assert not motion_boundaries(flow, np.ones((1, 2), bool), jump=5).any()
    assert motion_boundaries(flow, np.ones((1, 2), bool), jump=4.9).all()


def test_an_even_change_of_motion_is_no_boundary():
    flow = np.zeros((2, 4, 50), np.float32)
    flow[0] = np.arange(50)  # 1 px from column to column
    assert np.isinf(boundary_distance(flow, np.ones((4, 50), bool))).all()


def test_what_is_not_known_makes_no_boundary():
    known_part = np.ones((1, 6), bool)
    known_part[0, 3] = False
    assert not motion_boundaries(step(1, 6, 4, 9.0), known_part).any()


def test_distances_are_euclidean():
    flow = np.zeros((2, 5, 6), np.float32)
    flow[0, 0, 0] = 5.0  # boundary: (0, 0), (0, 1), (1, 0)
    distance = boundary_distance(flow, np.ones((5, 6), bool))
    assert distance[0, 0] == distance[0, 1] == distance[1, 0] == 0
    assert distance[1, 1] == 1 and distance[4, 5] == pytest.approx(np.hypot(4, 4)) and distance[0, 5] == 4


def test_pixels_by_distance_to_a_boundary():
    pair = pair_of(step(2, 200, 20, 9.0))  # boundary: columns 19 and 20
    found = by_distance(pair, known(pair))
    columns = {name: np.flatnonzero(mask[1]) for name, mask in found.items()}
    assert columns["d0-10"].tolist() == list(range(10, 30))
    assert columns["d10-60"].tolist() == [*range(0, 10), *range(30, 80)]
    assert columns["d60-140"].tolist() == list(range(80, 160))


def test_sparse_truth_has_no_boundaries():
    valid = np.zeros((4, 40), bool)
    valid[:, ::2] = True
    assert by_distance(pair_of(step(4, 40, 20, 9.0), valid=valid), valid) == {}
    valid[:, :20] = True  # 75 %
    assert set(by_distance(pair_of(step(4, 40, 10, 9.0), valid=valid), valid)) == {"d0-10", "d10-60", "d60-140"}


def test_pixels_by_speed():
    flow = np.zeros((2, 1, 6), np.float32)
    flow[0, 0] = 0, 9.99, 10, 24, 39.99, 40
    flow[1, 0, 3] = 32  # (24, 32) is 40 long
    pair = pair_of(flow)
    found = {name: mask[0].tolist() for name, mask in by_speed(pair, known(pair)).items()}
    assert found == {
        "s0-10": [True, True, False, False, False, False],
        "s10-40": [False, False, True, False, True, False],
        "s40+": [False, False, False, True, False, True],
    }


def test_pixels_by_visibility_are_the_counted_ones():
    occluded = np.array([[True, True, False, False]])
    valid = np.array([[True, False, True, False]])
    pair = pair_of(np.zeros((2, 1, 4)), occluded=occluded, valid=valid)
    found = {name: mask[0].tolist() for name, mask in by_visibility(pair, known(pair)).items()}
    assert found == {"all": [True, False, True, False], "noc": [False, False, True, False],
                     "occ": [True, False, False, False]}  # fmt: skip
    assert set(by_visibility(pair_of(np.zeros((2, 1, 4))), valid)) == {"all"}


def test_regions_have_their_names():
    pair = pair_of(step(4, 40, 20, 9.0), occluded=np.zeros((4, 40), bool))
    assert tuple(regions(pair, known(pair))) == NAMES
