import numpy as np
import pytest

from experiments.data.pairs import DataError, Pair

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_a_pair_needs_no_ground_truth():
    pair = Pair("one", IMAGE, IMAGE)
    assert pair.flow is None and pair.occluded is None and pair.valid is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"second": np.zeros((4, 5, 3), np.uint8)},
        {"second": np.zeros((4, 6, 3), np.float32)},
        {"flow": np.zeros((4, 6, 2), np.float32)},
        {"flow": np.zeros((2, 4, 6), np.float64)},
        {"flow": np.zeros((2, 6, 4), np.float32)},
        {"occluded": np.zeros((4, 6), np.uint8)},
        {"valid": np.zeros((6, 4), bool)},
    ],
)
def test_arrays_of_another_shape_or_type_are_refused_by_name(wrong):
    with pytest.raises(DataError, match=f"pair one: {next(iter(wrong))} must be"):
        Pair("one", **{"first": IMAGE, "second": IMAGE, **wrong})
