"""How far flows lead, by hand; and what a run is told of it."""

import numpy as np
import pytest

from experiments.training.loop import _left_frame
from uflow import backend as ms
from uflow.losses.extent import flow_extent


def extent(flow, dtype=np.float32):
    return [float(x.asnumpy()) for x in flow_extent(ms.Tensor(np.asarray(flow, dtype)))]


def test_pixels_that_stay_and_lengths_in_diagonals():
    flow = np.zeros((2, 2, 3, 4), np.float32)  # diagonal 5 px
    flow[0, :, 1, 1] = 3, 4  # 5 px, down out of the frame
    flow[1, 0] = -10  # all of 12 pixels out of the frame
    assert extent(flow) == pytest.approx([11 / 24, (5 + 12 * 10) / 24 / 5])


def test_long_flows_in_half_precision_are_finite():
    assert extent(np.full((1, 2, 3, 4), 3000), np.float16) == pytest.approx([0, 3000 * 2**0.5 / 5])


@pytest.mark.parametrize(
    "steps, left",
    [
        ([(0.9, 0.1)] * 10, False),
        ([(0.9, 0.1)] * 6 + [(0.0, 1e9)] * 4, False),  # a few steps do not make a run lost
        ([(0.9, 0.1)] * 4 + [(0.05, 0.5)] * 6, True),  # nor do a few without motion save it
        ([(0.9, 0.0)] * 4 + [(0.5, 1.1)] * 6, True),  # the flow of one direction
        ([(0.1, 1.0)], False),
    ],
)
def test_most_steps_decide_whether_the_flow_has_left_the_frame(steps, left):
    assert bool(_left_frame(steps)) == left
