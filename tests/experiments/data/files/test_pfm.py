import struct

import numpy as np
import pytest

from experiments.data.files.file_set import PairFiles, read_pair
from experiments.data.files.pfm import pfm_size, read_pfm
from experiments.data.pairs import DataError

FLOW = np.stack([np.arange(12.0).reshape(3, 4), -100 - np.arange(12.0).reshape(3, 4)]).astype(np.float32)


def pfm(flow, scale="-1.0", kind=b"PF"):
    """The bytes of a flow, written value by value."""
    order = "<" if scale.startswith("-") else ">"
    rows = [
        struct.pack(f"{order}3f", flow[0, y, x], flow[1, y, x], 7.5)
        for y in reversed(range(flow.shape[1]))
        for x in range(flow.shape[2])
    ]
    return kind + f"\n{flow.shape[2]} {flow.shape[1]}\n{scale}\n".encode() + b"".join(rows)


@pytest.mark.parametrize("scale", ["-1.0", "1", "-0.5", "1e+0"])
def test_rows_stand_bottom_up_and_the_sign_of_the_scale_is_the_byte_order(tmp_path, scale):
    path = tmp_path / "a.pfm"
    path.write_bytes(pfm(FLOW, scale))
    read = read_pfm(path)
    assert read.dtype == np.float32 and read.flags["C_CONTIGUOUS"] and np.array_equal(read, FLOW)
    assert pfm_size(path) == (3, 4)


def test_values_that_look_like_white_space_belong_to_the_values(tmp_path):
    flow = np.full((2, 1, 2), np.frombuffer(b"\n\n\n\n", "<f4")[0])
    (tmp_path / "a.pfm").write_bytes(pfm(flow))
    assert np.array_equal(read_pfm(tmp_path / "a.pfm"), flow)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a .pfm file"),
        (b"P6\n4 3\n255\n" + bytes(144), "not a .pfm file"),
        (pfm(FLOW, scale="-0.0"), "not a .pfm file"),
        (pfm(FLOW, scale="-."), "not a .pfm file"),
        (pfm(FLOW, kind=b"Pf"), "of one channel, flow has x, y and a channel that is not used"),
        (pfm(FLOW)[:-1], "cut off, 155 bytes where 4x3 pixels need 156"),
        (pfm(FLOW) + b"\n", "too long, 157 bytes where 4x3 pixels need 156"),
        (b"PF\n0 3\n-1\n", "says 0x3 pixels"),
        (b"PF\n99999 99999\n-1\n", "says 99999x99999 pixels, at most 67,108,864 are read"),
    ],
)
def test_damaged_files_are_refused_naming_path_and_reason(tmp_path, data, reason):
    path = tmp_path / "bad.pfm"
    path.write_bytes(data)
    for read in (pfm_size, read_pfm):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(path) in str(caught.value) and reason in str(caught.value)
    for read in (pfm_size, read_pfm):
        with pytest.raises(DataError, match="none.pfm: flow file is missing"):
            read(tmp_path / "none.pfm")


def test_what_is_no_number_is_unknown(tmp_path):
    import cv2

    flow = FLOW.copy()
    flow[0, 0, 0], flow[1, 1, 1], flow[0, 2, 3] = np.nan, np.inf, 2e9
    (tmp_path / "a.pfm").write_bytes(pfm(flow))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((3, 4, 3), np.uint8))
    pair = read_pair(PairFiles("a", tmp_path / "a.png", tmp_path / "a.png", tmp_path / "a.pfm"))
    unknown = np.zeros((3, 4), bool)
    unknown[0, 0] = unknown[1, 1] = unknown[2, 3] = True
    assert np.array_equal(pair.valid, ~unknown)
    assert np.array_equal(pair.flow, np.where(unknown, 0, FLOW))
