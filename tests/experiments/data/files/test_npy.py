import io

import numpy as np
import pytest

from experiments.data.files.npy import npy_size, npz_size, read_npy_flow, read_npy_mask, read_npz_flow
from experiments.data.pairs import DataError

FLOW = np.arange(24, dtype=np.float64).reshape(3, 4, 2)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("array", [FLOW, FLOW.astype(">f4"), np.asfortranarray(FLOW.astype(np.float16))])
def test_flow_of_any_floating_point_type_and_order(tmp_path, array):
    (tmp_path / "a.npy").write_bytes(npy(array))
    read = read_npy_flow(tmp_path / "a.npy")
    assert read.dtype == np.float32 and read.flags["C_CONTIGUOUS"] and np.array_equal(read, FLOW.transpose(2, 0, 1))
    assert npy_size(tmp_path / "a.npy") == (3, 4)


def test_a_mask_is_set_where_it_is_not_zero(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(np.array([[0, 1], [100, 0]], np.uint8)))
    assert read_npy_mask(tmp_path / "a.npy").tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a .npy file"),
        (b"PK\x03\x04" + bytes(200), "not a .npy file"),
        (npy(FLOW)[:60], "not a .npy file, or its header is damaged"),
        (npy(FLOW)[:-1], "319 bytes where an array of shape (3, 4, 2) needs 320"),
        (npy(FLOW) + b"x", "321 bytes where"),
        (npy(np.array([[print]])), "holds object of shape (1, 1)"),
        (npy(np.zeros(5)), "holds float64 of shape (5,)"),
        (npy(np.zeros((1, 0, 2))), "holds float64 of shape (1, 0, 2)"),
    ],
)
def test_damaged_files_are_refused_and_nothing_in_them_is_run(tmp_path, data, reason):
    path = tmp_path / "bad.npy"
    path.write_bytes(data)
    for read in (npy_size, read_npy_flow, read_npy_mask):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(path) in str(caught.value) and reason in str(caught.value)


def test_what_is_neither_flow_nor_mask(tmp_path):
    path = tmp_path / "a.npy"
    for values in (np.zeros((3, 4, 3)), np.zeros((3, 4)), np.zeros((3, 4, 2), int)):
        path.write_bytes(npy(values))
        with pytest.raises(DataError, match=r"a.npy: holds .*, flow is floating-point \(H, W, 2\)"):
            read_npy_flow(path)
    for values in (np.zeros((3, 4)), np.zeros((3, 4, 1), int)):
        path.write_bytes(npy(values))
        with pytest.raises(DataError, match=r"a.npy: holds .*, a mask is of whole numbers \(H, W\)"):
            read_npy_mask(path)
    path.unlink()
    for read in (npy_size, read_npy_flow):
        with pytest.raises(DataError, match="a.npy: .*file is missing"):
            read(path)


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path.read_bytes()


def test_flow_in_two_arrays(tmp_path):
    path = tmp_path / "a.npz"
    npz(path, u=FLOW[..., 0].astype(np.float16), v=np.asfortranarray(FLOW[..., 1]), other=np.array([print]))
    read = read_npz_flow(path)
    assert read.dtype == np.float32 and np.array_equal(read, FLOW.transpose(2, 0, 1)) and npz_size(path) == (3, 4)


def test_damaged_archives_are_refused_and_nothing_in_them_is_run(tmp_path):
    path = tmp_path / "bad.npz"
    u, v = np.random.default_rng(0).standard_normal((2, 30, 40))
    whole = npz(path, u=u, v=v)
    broken = bytearray(whole)
    broken[len(whole) // 4] ^= 1
    for data, reason, by_header in (
        (b"", "not a .npz file, or cut off", True),
        (whole[:-30], "not a .npz file, or cut off", True),
        (bytes(broken), "cannot be read, the file is damaged", False),
        (npz(path, u=u), "holds no array 'v', flow has u and v", True),
        (npz(path, u=np.array([[print]]), v=v), "[u]: holds object of shape (1, 1)", True),
        (npz(path, u=u, v=v.astype(int)), "v holds int64 of shape (30, 40), flow is floating-point (H, W) each", True),
        (npz(path, u=u[None], v=v), "u holds float64 of shape (1, 30, 40)", True),
        (npz(path, u=u[1:], v=v), "u has shape (29, 40) and v (30, 40)", True),
    ):
        path.write_bytes(data)
        for read in (read_npz_flow, *([npz_size] if by_header else [])):
            with pytest.raises(DataError) as caught:
                read(path)
            assert str(path) in str(caught.value) and reason in str(caught.value)
    for read in (read_npz_flow, npz_size):
        with pytest.raises(DataError, match="none.npz: flow file is missing"):
            read(tmp_path / "none.npz")
