import numpy as np
import pytest

from experiments.visualization.flow_colors import colors, longest_motion, wheel


def color_of(u, v, longest=1.0):
    return tuple(int(c) for c in colors(np.array([[[u]], [[v]]], np.float32), longest)[0, 0])


def test_directions_have_the_colors_of_the_wheel():
    assert color_of(0, 0) == (255, 255, 255)
    assert color_of(1, 0) == (255, 0, 0)
    # a quarter of the circle is 13.75 of 55 places; from red to yellow in 15
    assert color_of(0, 1) == (255, round(255 * 13.75 / 15), 0)
    assert color_of(-1, 0) == (0, round(255 * (36 - 27.5) / 11), 255)
    assert color_of(0, -1) == (round(255 * (41.25 - 36) / 13), 0, 255)


def test_half_the_motion_is_half_as_colored_and_a_longer_one_is_darker():
    assert color_of(1, 0, 2.0) == (255, 128, 128)
    assert color_of(3, 0, 2.0) == (191, 0, 0)


def test_unknown_pixels_are_black_and_do_not_set_the_scale():
    flow = np.array([[[1.0, 100.0, np.nan]], [[0.0, 0.0, 0.0]]], np.float32)
    picture = colors(flow, valid=np.array([[True, False, True]]))
    assert picture[0].tolist() == [[255, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert longest_motion(flow, np.array([[True, False, True]])) == 1.0
    assert longest_motion(np.full((2, 2, 2), np.nan)) == 0.0


def test_the_longest_motion_of_a_float32_flow_is_within_its_own_scale():
    random = np.random.default_rng(0)
    for u, v in random.uniform(-9, 9, (200, 2)).astype(np.float32):
        flow = np.array([[[u]], [[v]]])
        assert colors(flow).max() == 255, (u, v)


def test_the_legend_shows_each_motion_where_it_leads():
    legend = wheel(21)
    assert legend.shape == (21, 21, 3) and legend.dtype == np.uint8
    assert legend[10, 10].tolist() == [255, 255, 255]
    assert legend[10, 20].tolist() == [255, 0, 0]
    assert legend[20, 10].tolist() == list(color_of(0, 1))
    assert legend[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("longest", [None, 0.0])
def test_no_motion_at_all_is_white(longest):
    assert (colors(np.zeros((2, 3, 4), np.float32), longest) == 255).all()
