import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.data.files.flow import flo_size, read_flo, read_kitti_flow, unknown, write_flo, write_kitti_flow
from experiments.data.pairs import DataError

FLOW = np.stack([np.arange(12.0).reshape(3, 4), -100 - np.arange(12.0).reshape(3, 4)]).astype(np.float32)


def test_flo_bytes_are_those_of_the_format(tmp_path):
    path = tmp_path / "a.flo"
    write_flo(path, FLOW)
    data = path.read_bytes()
    assert data[:4] == b"PIEH"
    assert struct.unpack("<ii", data[4:12]) == (4, 3)
    assert struct.unpack("<4f", data[12:28]) == (0.0, -100.0, 1.0, -101.0)
    assert len(data) == 12 + 3 * 4 * 8


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 100))
def test_flo_round_trip(tmp_path_factory, height, width, seed):
    flow = np.random.default_rng(seed).normal(0, 50, (2, height, width)).astype(np.float32)
    path = tmp_path_factory.mktemp("flo") / "a.flo"
    write_flo(path, flow)
    assert flo_size(path) == (height, width)
    read = read_flo(path)
    assert read.dtype == np.float32 and np.array_equal(read, flow)


def test_writing_leaves_no_other_file(tmp_path):
    write_flo(tmp_path / "a.flo", FLOW)
    write_kitti_flow(tmp_path / "a.png", FLOW)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.flo", "a.png"]


def _header(magic=202021.25, width=4, height=3):
    return struct.pack("<fii", magic, width, height)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut off"),
        (_header()[:7], "cut off"),
        (_header() + bytes(95), "cut off, 107 bytes where 4x3 pixels need 108"),
        (_header() + bytes(97), "too long"),
        (_header(magic=202021.0) + bytes(96), "not a .flo file"),
        (struct.pack(">fii", 202021.25, 4, 3) + bytes(96), "not a .flo file"),
        (_header(width=0), "says 0x3"),
        (_header(height=-3), "says 4x-3"),
        (_header(width=2**30, height=2**30), "says 1073741824x1073741824"),
    ],
)
def test_damaged_flo_files_are_refused_naming_path_and_reason(tmp_path, data, reason):
    path = tmp_path / "bad.flo"
    path.write_bytes(data)
    for read in (flo_size, read_flo):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(path) in str(caught.value) and reason in str(caught.value)


def test_a_flow_file_that_is_all_hole_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "sparse.flo"
    with open(path, "wb") as file:
        file.write(_header(width=99_999, height=99_999))
        file.truncate(12 + 8 * 99_999**2)
    with pytest.raises(DataError, match=r"sparse.flo: says 99999x99999 pixels, at most 67,108,864 are read"):
        flo_size(path)
    with pytest.raises(DataError, match=r"sparse.flo: has more than 1,073,741,824 bytes, which no flow file may have"):
        read_flo(path)


def test_missing_flo_file(tmp_path):
    with pytest.raises(DataError, match="none.flo: flow file is missing"):
        read_flo(tmp_path / "none.flo")


def test_flow_of_another_layout_is_not_written(tmp_path):
    for write in (write_flo, write_kitti_flow):
        with pytest.raises(DataError, match=r"must have shape \(2, H, W\), got \(3, 4, 2\)"):
            write(tmp_path / "a", FLOW.transpose(1, 2, 0))
    assert not any(tmp_path.iterdir())


def test_unknown_flow_is_large_or_not_a_number():
    flow = np.zeros((2, 1, 5), np.float32)
    flow[0, 0] = [1e9, 1.1e9, 0, 0, -2e9]
    flow[1, 0, 2] = np.nan
    assert unknown(flow).tolist() == [[False, True, True, False, True]]


def test_kitti_png_has_the_channels_of_the_development_kit(tmp_path):
    path = tmp_path / "a.png"
    valid = np.ones((3, 4), bool)
    valid[0, 0] = False
    write_kitti_flow(path, FLOW, valid)
    blue, green, red = np.moveaxis(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), -1, 0)
    assert blue.dtype == np.uint16
    assert red[0].tolist() == [0, 2**15 + 64, 2**15 + 128, 2**15 + 192]
    assert green[0].tolist() == [0, 2**15 - 101 * 64, 2**15 - 102 * 64, 2**15 - 103 * 64]
    assert np.array_equal(blue, valid)


def test_kitti_round_trip_is_exact_to_half_a_step(tmp_path):
    random = np.random.default_rng(0)
    flow = random.uniform(-500, 500, (2, 5, 7)).astype(np.float32)
    valid = random.random((5, 7)) > 0.3
    write_kitti_flow(tmp_path / "a.png", flow, valid)
    read, known = read_kitti_flow(tmp_path / "a.png")
    assert read.dtype == np.float32 and np.array_equal(known, valid)
    assert np.abs(read - flow)[:, valid].max() <= 0.5 / 64 + 1e-4
    assert np.all(read[:, ~valid] == 0)


def test_kitti_writer_clips_and_refuses_what_is_not_finite(tmp_path):
    flow = np.full((2, 1, 2), 600, np.float32)
    flow[:, 0, 1] = -600
    write_kitti_flow(tmp_path / "a.png", flow)
    assert read_kitti_flow(tmp_path / "a.png")[0][0].tolist() == [[(2**16 - 1 - 2**15) / 64, -512]]
    with pytest.raises(DataError, match="not finite"):
        write_kitti_flow(tmp_path / "b.png", flow * np.inf)


def test_an_ordinary_image_is_no_kitti_flow(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(DataError, match="a.png: not a KITTI flow image"):
        read_kitti_flow(path)
