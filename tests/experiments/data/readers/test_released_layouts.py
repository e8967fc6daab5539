"""Readers of data sets of which no sample is at hand, on files in the layout that is documented for each."""

import json
import sys

import cv2
import numpy as np
import pytest
from test_pfm import pfm

from experiments import convert
from experiments.data.catalog import open_source, root_of
from experiments.data.files.flow import write_flo, write_kitti_flow
from experiments.data.pairs import DataError
from experiments.data.readers.autoflow import autoflow
from experiments.data.readers.chairs_sd_hom import chairs_sd_hom
from experiments.data.readers.flying_chairs2 import flying_chairs2
from experiments.data.readers.flying_things3d import SOURCES, flying_things3d
from experiments.data.readers.hd1k import hd1k
from experiments.data.readers.kubric import kubric
from experiments.data.readers.spring import spring
from experiments.data.readers.tartanair import tartanair
from experiments.data.readers.viper import viper

SIZE = (4, 6)


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*SIZE, 3), value, np.uint8))


def flow(path, value, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    field = np.full((2, *size), value, np.float32)
    if path.suffix == ".pfm":
        path.write_bytes(pfm(field))
    else:
        (write_flo if path.suffix == ".flo" else write_kitti_flow)(path, field)


def found(pairs):
    """Name, both images and flow of every pair, by what the files hold; the headers fit together."""
    pairs.verify()
    read = [pairs[i] for i in range(len(pairs))]
    return [(p.name, p.first[0, 0, 0], p.second[0, 0, 0], float(p.flow[1, -1, -1])) for p in read]


def names(pairs):
    return [files.name for files in pairs.files]


@pytest.fixture
def things(tmp_path):
    """Three frames of a sequence for training and two for the test; every frame has a flow, as was released."""
    for part, numbers in (("TRAIN/B/0003", (6, 7, 8)), ("TEST/A/0000", (14, 15))):
        for number in numbers:
            for rendering, value in (("clean", number), ("final", 100 + number)):
                image(tmp_path / f"frames_{rendering}pass" / part / "left" / f"{number:04}.png", value)
            name = f"into_future/left/OpticalFlowIntoFuture_{number:04}_L.pfm"
            flow(tmp_path / "optical_flow" / part / name, number)
    return tmp_path


def test_flying_things_are_pairs_of_frames_that_follow_each_other(things):
    train = flying_things3d(things, "train", rendering="clean")
    assert found(train) == [("B/0003/0006", 6, 7, 6.0), ("B/0003/0007", 7, 8, 7.0)]
    assert train.provides == {"flow"} and train.note == "" and train.name == "flyingthings3d_clean"
    assert found(SOURCES["flyingthings3d_final"](things, "test")) == [("A/0000/0014", 114, 115, 14.0)]
    assert "tested on the same pairs" in flying_things3d(things, "validation", rendering="clean").note
    (things / "frames_cleanpass/TRAIN/B/0003/left/0007.png").unlink()
    with pytest.raises(DataError, match="0003/left: frame 7 is missing, .*OpticalFlowIntoFuture_0006_L.pfm needs it"):
        flying_things3d(things, "train", rendering="clean")
    for number in (6, 8):
        (things / f"frames_cleanpass/TRAIN/B/0003/left/{number:04}.png").unlink()
    with pytest.raises(DataError, match="frame 6 is missing"):
        flying_things3d(things, "train", rendering="clean")


def test_the_subset_of_flying_things_has_occlusions(tmp_path):
    for part, numbers in (("train", (0, 1, 2, 5, 6)), ("val", (0, 1))):
        for number in numbers:
            image(tmp_path / part / "image_clean/left" / f"{number:07}.png", number)
        for number in (n for n in numbers if n + 1 in numbers):
            flow(tmp_path / part / "flow/left/into_future" / f"{number:07}.flo", number)
            image(tmp_path / part / "flow_occlusions/left/into_future" / f"{number:07}.png", 255)
    train = flying_things3d(tmp_path, "train", rendering="clean")
    assert found(train) == [("0000000", 0, 1, 0.0), ("0000001", 1, 2, 1.0), ("0000005", 5, 6, 5.0)]
    assert train.provides == {"flow", "occlusion"} and train[0].occluded.all()
    assert names(flying_things3d(tmp_path, "test", rendering="clean")) == ["0000000"]
    assert root_of(tmp_path / "train") == tmp_path
    with pytest.raises(DataError, match="must hold frames_finalpass and optical_flow, or .* train/image_final/left"):
        flying_things3d(tmp_path, "train", rendering="final")
    (tmp_path / "train/flow_occlusions/left/into_future/0000001.png").unlink()
    with pytest.raises(DataError, match="into_future/0000001.png: is missing, .*0000001.flo has no occlusions"):
        flying_things3d(tmp_path, "train", rendering="clean")
    (tmp_path / "train/image_clean/left/0000006.png").unlink()
    (tmp_path / "train/flow_occlusions/left/into_future/0000005.png").unlink()
    for path in (tmp_path / "train/flow_occlusions/left/into_future").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="frame 6 is missing, .*0000005.flo needs it"):
        flying_things3d(tmp_path, "train", rendering="clean")


def test_hd1k_joins_frames_of_one_sequence_only(tmp_path):
    for sequence, numbers in ((0, (10, 11, 12)), (1, (13, 14))):
        for number in numbers:
            image(tmp_path / "hd1k_input/image_2" / f"{sequence:06}_{number:04}.png", 100 * sequence + number)
            flow(tmp_path / "hd1k_flow_gt/flow_occ" / f"{sequence:06}_{number:04}.png", number)
    pairs = hd1k(tmp_path, "train")
    assert found(pairs) == [
        ("000000_0010", 10, 11, 10.0), ("000000_0011", 11, 12, 11.0), ("000001_0013", 113, 114, 13.0),
    ]  # fmt: skip
    assert pairs.note == "HD1K is trained, validated and tested on the same pairs"
    assert names(hd1k(tmp_path, "test")) == names(pairs) and hd1k(tmp_path, "test").note == ""
    (tmp_path / "hd1k_input/image_2/000000_0011.png").unlink()
    with pytest.raises(DataError, match="frame 11 of sequence 0 is missing, .*000000_0010.png needs it"):
        hd1k(tmp_path, "test")


def test_flying_chairs2_has_splits_of_its_own(tmp_path):
    for part, number in (("train", 7), ("train", 11), ("val", 3)):
        for side in (0, 1):
            image(tmp_path / part / f"{number:07}-img_{side}.png", number + 100 * side)
        flow(tmp_path / part / f"{number:07}-flow_01.flo", number)
        flow(tmp_path / part / f"{number:07}-flow_10.flo", -number)
        image(tmp_path / part / f"{number:07}-occ_01.png", 255)
    train = flying_chairs2(tmp_path, "train")
    assert found(train) == [("0000007", 7, 107, 7.0), ("0000011", 11, 111, 11.0)]
    assert train.provides == {"flow", "occlusion"} and train[0].occluded.all() and train.note == ""
    for split in ("validation", "test"):
        assert names(flying_chairs2(tmp_path, split)) == ["0000003"]
    for path in (tmp_path / "train/0000011-occ_01.png", *(tmp_path / "val").iterdir()):
        path.unlink()
    (tmp_path / "val").rmdir()
    alone = flying_chairs2(tmp_path, "test")
    assert names(alone) == names(train) and "without val: validated and tested on the pairs of train" in alone.note
    assert alone.provides == {"flow"}
    (tmp_path / "train/0000011-img_1.png").unlink()
    with pytest.raises(DataError, match="0000011-img_1.png: is missing, pair 0000011 is not complete"):
        flying_chairs2(tmp_path, "train")


def test_flying_chairs2_in_a_folder_called_data_is_found(tmp_path):
    for side in (0, 1):
        image(tmp_path / "data/train" / f"0000000-img_{side}.png")
    flow(tmp_path / "data/train/0000000-flow_01.flo", 1)
    for place in ("data", "data/train"):
        pairs = open_source(f"flyingchairs2:{tmp_path}/{place}", "train", height=8, width=8, scenes=None)
        assert len(pairs) == 1


def test_autoflow_has_a_folder_for_each_pair(tmp_path):
    for part, name, value in ((2, "table_0_batch_1", 2), (1, "table_9_batch_0", 9)):
        place = tmp_path / f"static_40k_png_{part}_of_4" / name
        image(place / "im0.png", value)
        image(place / "im1.png", value + 1)
        flow(place / "forward.flo", value)
    pairs = autoflow(tmp_path, "test")
    assert found(pairs) == [("table_9_batch_0", 9, 10, 9.0), ("table_0_batch_1", 2, 3, 2.0)]
    assert pairs.note == "AutoFlow has no official split: every split has all 2 pairs"
    (place / "im1.png").unlink()
    with pytest.raises(DataError, match="table_9_batch_0/im1.png: is missing, pair table_9_batch_0 is not complete"):
        autoflow(tmp_path, "test")


def test_tartanair_is_known_where_its_mask_is_zero(tmp_path):
    flight = tmp_path / "office" / "Hard" / "P002"
    (flight / "flow").mkdir(parents=True)
    masks = np.zeros(SIZE, np.uint8)
    masks[1, 2], masks[0, 0], masks[3, 5] = 1, 10, 100
    for number in (8, 9, 10):
        image(flight / "image_left" / f"{number:06}_left.png", number)
        stem = flight / "flow" / f"{number:06}_{number + 1:06}"
        if number < 10:
            np.save(f"{stem}_flow.npy", np.full((*SIZE, 2), number, np.float32))
            np.save(f"{stem}_mask.npy", masks if number == 8 else 0 * masks)
    pairs = tartanair(tmp_path, "test")
    assert found(pairs)[1] == ("office/Hard/P002/000009", 9, 10, 9.0) and len(pairs) == 2
    assert np.array_equal(pairs[0].valid, masks == 0) and pairs[1].valid is None
    assert pairs.provides == {"flow"}
    assert pairs.note == "TartanAir has no split with public flow: every split has all 2 pairs"
    (flight / "flow/000008_000009_mask.npy").unlink()
    with pytest.raises(DataError, match="000008_000009_mask.npy: is missing, .*000008_000009_flow.npy needs it"):
        tartanair(tmp_path, "test")


@pytest.fixture
def rendered(tmp_path):
    """Two scenes of Kubric: their flow lies between their own least and largest motion."""
    for scene, numbers, least, largest in (("0001", (0, 1, 2), -10, 30), ("0000", (3, 4), -2, 2)):
        for number in numbers:
            image(tmp_path / scene / f"rgba_{number:05}.png", number)
            stored = np.zeros((*SIZE, 3), np.uint16)  # blue, green, red
            stored[..., 1], stored[..., 2] = 65535, 65535 * number // 5
            stored[0, 0] = 7, 0, 13107
            cv2.imwrite(str(tmp_path / scene / f"forward_flow_{number:05}.png"), stored)
        ranges = {"backward_flow": {"min": 0, "max": 1}, "forward_flow": {"min": least, "max": largest}}
        (tmp_path / scene / "data_ranges.json").write_text(json.dumps(ranges))
    return tmp_path


def test_kubric_stores_rows_before_columns_between_the_extremes_of_a_scene(rendered):
    pairs = kubric(rendered, "train")
    assert found(pairs) == [
        ("0000/00003", 3, 4, pytest.approx(0.4)),
        ("0001/00000", 0, 1, -10.0),
        ("0001/00001", 1, 2, -2.0),
    ]
    flow = pairs[2].flow
    assert flow.dtype == np.float32 and (flow[0].ravel()[1:] == 30).all() and (flow[1].ravel()[1:] == -2).all()
    assert flow[:, 0, 0].tolist() == [-10, -2] and pairs[2].valid is None and pairs.provides == {"flow"}
    assert pairs.note == "Kubric's folders have no split: every split has all 3 pairs"
    before = pairs.digest
    ranges = rendered / "0000/data_ranges.json"
    ranges.write_text(ranges.read_text().replace("-2", "-3"))
    assert kubric(rendered, "train").digest != before


def test_kubric_is_converted_with_the_extremes_of_its_scenes(rendered, tmp_path):
    assert convert.main(["kubric", "--data", str(rendered), "--out", str(tmp_path / "made")]) == 0
    sets = [
        open_source(f"kubric:{place}", "test", height=8, width=8, scenes=None)
        for place in (rendered, tmp_path / "made")
    ]
    assert found(sets[0]) == found(sets[1]) and sets[0].digest == sets[1].digest
    assert all(np.array_equal(sets[0][i].flow, sets[1][i].flow) for i in range(3))


def test_kubric_without_its_extremes_is_refused(rendered):
    ranges = rendered / "0000/data_ranges.json"
    for text, reason in (
        ("{", "does not say {.forward_flow.: {.min.: px, .max.: px}}"),
        ('{"forward_flow": {"min": 1}}', "does not say"),
        ('{"forward_flow": {"min": 1, "max": NaN}}', "the forward flow cannot be from 1.0 to nan px"),
        ('{"forward_flow": {"min": 1, "max": 0}}', "the forward flow cannot be from 1.0 to 0.0 px"),
    ):
        ranges.write_text(text)
        pairs = kubric(rendered, "train")
        for read in (pairs.verify, lambda: pairs[0]):  # noqa: B023
            with pytest.raises(DataError, match=f"0000/data_ranges.json: {reason}"):
                read()
    flow = rendered / "0001/forward_flow_00000.png"
    cv2.imwrite(str(flow), np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(DataError, match="forward_flow_00000.png: not a flow image of Kubric, it must have three"):
        pairs[1]
    ranges.unlink()
    with pytest.raises(DataError, match="0000/data_ranges.json: is missing, .*forward_flow_00003.png needs it"):
        kubric(rendered, "train")


def test_viper_has_splits_of_its_own_and_unknown_flow(tmp_path):
    for part, sequence, numbers in (
        ("train", "002", (10, 11, 20, 21)),
        ("train", "001", (10, 11)),
        ("val", "001", (5, 6)),
    ):
        for number in numbers:
            image(tmp_path / part / "img" / sequence / f"{sequence}_{number:05}.jpg", number)
        for number in (*numbers[::2], numbers[-1]):
            path = tmp_path / part / "flow" / sequence / f"{sequence}_{number:05}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            u = np.zeros(SIZE, np.float16)
            u[1, 2], u[0, 3] = np.nan, -np.inf
            np.savez_compressed(path, u=u, v=np.full(SIZE, number, np.float16))
    pairs = viper(tmp_path, "train")
    assert found(pairs) == [("001_00010", 10, 11, 10.0), ("002_00010", 10, 11, 10.0), ("002_00020", 20, 21, 20.0)]
    valid = np.ones(SIZE, bool)
    valid[1, 2] = valid[0, 3] = False
    assert np.array_equal(pairs[0].valid, valid) and np.isfinite(pairs[0].flow).all() and pairs.note == ""
    image(tmp_path / "train/img/001/001_00011.png", 99)
    assert viper(tmp_path, "train").files[0].second.name == "001_00011.png"
    assert names(viper(tmp_path, "test")) == ["001_00005"] and root_of(tmp_path / "val") == tmp_path
    assert viper(tmp_path, "validation").note == "VIPER is validated and tested on the same pairs"
    (tmp_path / "train/img/002/002_00011.jpg").unlink()
    with pytest.raises(DataError, match="img/002: frame 11 is missing, .*002_00010.npz needs it"):
        viper(tmp_path, "train")


def test_chairs_sd_hom_is_known_where_its_flow_is_a_number(tmp_path):
    for part, numbers in (("train", (3, 0)), ("test", (1,))):
        for number in numbers:
            for side, value in (("t0", number), ("t1", 50 + number)):
                image(tmp_path / "data" / part / side / f"{number:05}.png", value)
            flow(tmp_path / "data" / part / "flow" / f"{number:05}.pfm", np.nan if number == 0 else number)
    train = open_source(f"chairssdhom:{tmp_path}/data/train", "train", height=8, width=8, scenes=None)
    assert found(train) == [("00000", 0, 50, 0.0), ("00003", 3, 53, 3.0)] and train.note == ""
    assert not train[0].valid.any() and train[1].valid is None
    assert names(chairs_sd_hom(tmp_path, "test")) == names(chairs_sd_hom(tmp_path / "data", "validation")) == ["00001"]
    (tmp_path / "data/train/t1/00003.png").unlink()
    with pytest.raises(DataError, match="t1/00003.png: is missing, .*00003.pfm needs it"):
        chairs_sd_hom(tmp_path, "train")


@pytest.mark.parametrize(
    "reader", [autoflow, chairs_sd_hom, flying_chairs2, hd1k, kubric, spring, tartanair, viper, *SOURCES.values()]
)
def test_a_folder_of_something_else_is_refused(tmp_path, reader):
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=f"^{tmp_path}"):
        reader(tmp_path, "train")


@pytest.fixture
def film(tmp_path):
    """A scene of three frames with flow, and one of two frames; the flow has twice the size of the frames."""
    h5py = pytest.importorskip("h5py", reason="the extra [spring] is not installed")
    for scene, numbers in (("0002", (1, 2, 3)), ("0001", (8, 9))):
        for number in numbers:
            image(tmp_path / "train" / scene / "frame_left" / f"frame_left_{number:04}.png", number)
        for number in numbers[:-1]:
            path = tmp_path / "train" / scene / "flow_FW_left" / f"flow_FW_left_{number:04}.flo5"
            path.parent.mkdir(exist_ok=True)
            values = np.zeros((2 * SIZE[0], 2 * SIZE[1], 2), np.float32)
            values[..., 0], values[..., 1] = np.mgrid[: 2 * SIZE[0], : 2 * SIZE[1]][1], number
            values[2, 4] = np.nan
            with h5py.File(path, "w") as file:
                file.create_dataset("flow", data=values, compression="gzip")
    return tmp_path


def test_spring_takes_every_second_value_of_its_flow_as_it_is(film):
    pairs = spring(film, "test")
    read = found(pairs)
    assert read == [("0001/frame_left_0008", 8, 9, 8.0), ("0002/frame_left_0001", 1, 2, 1.0),
                    ("0002/frame_left_0002", 2, 3, 2.0)]  # fmt: skip
    valid = np.ones(SIZE, bool)
    valid[1, 2] = False
    assert np.array_equal(pairs[1].valid, valid)
    assert np.array_equal(pairs[1].flow[0], np.where(valid, [0, 2, 4, 6, 8, 10], 0))
    assert spring(film, "train").note == "Spring is trained, validated and tested on the same pairs"
    (film / "train/0002/frame_left/frame_left_0003.png").unlink()
    with pytest.raises(DataError, match="frame_left: frame 3 is missing, .*flow_FW_left_0002.flo5 is the flow towards"):
        spring(film, "test")


def test_damaged_flo5_files_are_refused(film):
    h5py = pytest.importorskip("h5py", reason="the extra [spring] is not installed")
    path = film / "train/0001/flow_FW_left/flow_FW_left_0008.flo5"
    for data, reason in (
        (path.read_bytes()[:-200], "not an HDF5 file, or cut off"),
        (b"PIEH", "not an HDF5 file"),
        ({"flow": np.zeros((4, 6, 3), np.float32)}, "holds no dataset 'flow' of floating-point values of shape"),
        ({"disparity": np.zeros((4, 6, 2), np.float32)}, "holds no dataset 'flow'"),
        ({"flow": np.zeros((4, 6, 2), np.int32)}, "holds no dataset 'flow'"),
        ({"flow": np.zeros((4, 12, 2), np.float32)}, "has 12x4 pixels, but the first frame .* has 6x4"),
    ):
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            with h5py.File(path, "w") as file:
                for name, values in data.items():
                    file.create_dataset(name, data=values)
        pairs = spring(film, "test")
        for read in (pairs.verify, lambda: pairs[0]):  # noqa: B023
            with pytest.raises(DataError, match=f"flow_FW_left_0008.flo5: {reason}"):
                read()
    path.unlink()
    with pytest.raises(DataError, match="flow_FW_left_0008.flo5: flow file is missing"):
        pairs[0]


def test_without_h5py_a_flo5_file_says_what_is_to_be_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for number in (1, 2):
        image(tmp_path / "train/0001/frame_left" / f"frame_left_{number:04}.png")
    (tmp_path / "train/0001/flow_FW_left").mkdir()
    (tmp_path / "train/0001/flow_FW_left/flow_FW_left_0001.flo5").write_bytes(b"\x89HDF")
    pairs = spring(tmp_path, "train")
    for read in (pairs.verify, lambda: pairs[0]):
        with pytest.raises(DataError, match="0001.flo5: .flo5 files are read and written with h5py: pip install -e"):
            read()
