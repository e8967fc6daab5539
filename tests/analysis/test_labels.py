"""Labels in lines: nothing is lost, and lines fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.labels import fold


@pytest.mark.parametrize(
    ("label", "lines"),
    [
        ("wang", ["wang"]),
        ("occlusion+smoothness+photometric", ["occlusion+", "smoothness+", "photometric"]),
        ("census + first order", ["census +", "first order"]),
        ("abcdefghijklmnop", ["abcdefghijkl", "mnop"]),
        ("", [""]),
    ],
)
def test_examples(label, lines):
    assert fold(label, 12) == lines


@given(st.text(st.sampled_from("ab +_-,/"), max_size=60), st.integers(1, 20))
def test_nothing_is_lost_and_every_line_fits(label, width):
    lines = fold(label, width)
    assert "".join(lines).replace(" ", "") == label.replace(" ", "")
    assert all(len(line) <= width for line in lines)
