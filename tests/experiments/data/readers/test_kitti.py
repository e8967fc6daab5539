import cv2
import numpy as np
import pytest

from experiments.data.files.flow import write_kitti_flow
from experiments.data.pairs import DataError
from experiments.data.readers.kitti import SOURCES, kitti

SIZE = (5, 9)


def _image(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))


def _flow(path, known, value=3.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    flow = np.zeros((2, *SIZE), np.float32)
    flow[0] = value
    write_kitti_flow(path, flow, np.broadcast_to(known, SIZE))


@pytest.fixture
def folder(tmp_path):
    """Two evaluated pairs, the second of them gray and without `flow_noc`."""
    training = tmp_path / "training"
    for number in (10, 11):
        _image(training / "image_2" / f"000000_{number}.png")
        _image(training / "image_0" / f"000007_{number}.png")
    columns = np.arange(SIZE[1])
    _flow(training / "flow_occ" / "000000_10.png", columns < 6)
    _flow(training / "flow_noc" / "000000_10.png", columns < 4)
    _flow(training / "flow_occ" / "000007_10.png", columns < 6, -1.25)
    return tmp_path


def test_flow_validity_and_occlusions(folder):
    pairs = kitti(folder, "test", year=2015)
    pairs.verify()
    both, one = pairs[0], pairs[1]
    columns = np.broadcast_to(np.arange(SIZE[1]), SIZE)
    assert both.name == "000000_10" and one.name == "000007_10"
    assert np.array_equal(both.valid, columns < 6) and np.array_equal(one.valid, columns < 6)
    assert np.array_equal(both.occluded, (columns >= 4) & (columns < 6)) and one.occluded is None
    assert np.array_equal(both.flow[0], np.where(columns < 6, 3.5, 0)) and not both.flow[1].any()
    assert np.array_equal(one.flow[0], np.where(columns < 6, -1.25, 0))
    assert pairs.provides == {"flow"} and pairs.note == ""
    assert "same pairs" in kitti(folder, "validation", year=2015).note


def test_training_takes_the_multi_view_frames_but_for_9_to_12_also_of_the_last_sequence(folder):
    for sequence in ("000000", "000199"):
        for number in range(21):
            _image(folder / "testing" / "image_2" / f"{sequence}_{number:02}.png")
    for number in range(21):
        _image(folder / "training" / "image_2" / f"000000_{number:02}.png")
    names = [f.name for f in kitti(folder, "train", year=2015).files]
    kept = [*range(8), *range(13, 20)]
    parts = ("training/000000", "testing/000000", "testing/000199")
    assert names == [f"{part}_{number:02}" for part in parts for number in kept]
    assert all(f.flow is None for f in kitti(folder, "train", year=2015).files)
    assert kitti(folder, "train", year=2015).note == ""


def test_training_without_multi_view_frames_says_what_it_takes(folder):
    pairs = kitti(folder, "train", year=2012)
    assert [f.name for f in pairs.files] == ["training/000000_10", "training/000007_10"]
    assert pairs.files[0].flow is None and "frames 10 and 11 of training" in pairs.note
    for number in (10, 11):
        _image(folder / "testing" / "colored_0" / f"000003_{number}.png")
    assert [f.name for f in kitti(folder, "train", year=2012).files] == ["testing/000003_10"]


def test_color_is_preferred_to_gray(folder):
    for number in (10, 11):
        _image(folder / "training" / "colored_0" / f"000007_{number}.png")
    assert kitti(folder, "test", year=2012).files[1].first.parent.name == "colored_0"


def test_visible_flow_alone_is_measured_without_the_occluded_pixels(folder):
    (folder / "training/flow_occ/000000_10.png").unlink()
    pairs = kitti(folder, "test", year=2015)
    pairs.verify()
    columns = np.broadcast_to(np.arange(SIZE[1]), SIZE)
    assert [f.name for f in pairs.files] == ["000000_10", "000007_10"] and pairs[0].occluded is None
    assert np.array_equal(pairs[0].valid, columns < 4) and np.array_equal(pairs[1].valid, columns < 6)
    assert pairs.note == "KITTI without flow_occ of 1 of 2 pairs: their occluded pixels are not measured"
    (folder / "training/flow_occ/000007_10.png").unlink()
    (folder / "training/flow_occ").rmdir()
    for split, begin in (("test", "KITTI without"), ("validation", "KITTI 2015 is validated")):
        pairs = kitti(folder, split, year=2015)
        assert [f.name for f in pairs.files] == ["000000_10"] and pairs.note.startswith(begin)
        assert "of 1 of 1 pairs" in pairs.note


def test_flow_of_all_pixels_alone_has_no_occlusion(folder):
    (folder / "training/flow_noc/000000_10.png").unlink()
    (folder / "training/flow_noc").rmdir()
    pairs = kitti(folder, "test", year=2015)
    assert pairs.provides == {"flow"} and pairs.note == "" and pairs[0].valid.sum() == 5 * 6


def test_names_may_be_in_upper_case(folder):
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        path.rename(path.with_suffix(".PNG"))
    pairs = kitti(folder, "test", year=2015)
    pairs.verify()
    assert [f.name for f in pairs.files] == ["000000_10", "000007_10"] and pairs[0].occluded.sum() == 5 * 2
    assert [f.name for f in kitti(folder, "train", year=2012).files] == ["training/000000_10", "training/000007_10"]


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(DataError, match="must hold a folder 'training' or 'testing'"):
        kitti(folder / "training", "test", year=2015)
    _image(folder / "training/image_0/000007_11.png", size=(5, 8))
    with pytest.raises(DataError, match="000007_11.png: has 8x5 pixels, but the first frame"):
        kitti(folder, "test", year=2015).verify()
    flow = folder / "training/flow_occ/000000_10.png"
    data = flow.read_bytes()
    flow.write_bytes(data[:-20])
    for check in (lambda pairs: pairs.verify(), lambda pairs: pairs[0]):
        with pytest.raises(DataError, match="flow_occ/000000_10.png: cut off"):
            check(kitti(folder, "test", year=2015))
    (folder / "training/image_0/000007_11.png").unlink()
    with pytest.raises(DataError, match="000007_11.png: is missing"):
        kitti(folder, "test", year=2015)
    with pytest.raises(DataError, match="flow_occ: the flow of KITTI is missing"):
        for name in ("flow_occ", "flow_noc"):
            (folder / "training" / name).rename(folder / "training" / f"old_{name}")
        kitti(folder, "test", year=2015)


@pytest.mark.parametrize(("year", "names"), [(2012, ["000000_10", "000157_10"]), (2015, ["000000_10", "000010_10"])])
def test_real_pairs_and_their_ground_truth(real, warp_ratio, year, names):
    pairs = SOURCES[f"kitti{year}"](str(real(f"KITTI-{year}")), "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == names
    for i in range(2):
        pair, right = pairs[i], warp_ratio(pairs[i])
        print(f"{year} {pair.name}: warped error per unwarped {right:.2f}, known {pair.valid.mean():.0%}")
        assert right < 0.8 and 0.05 < pair.valid.mean() < 0.6
        for wrong in (lambda flow: flow[::-1], lambda flow: -flow):
            assert warp_ratio(pair, wrong) > right + 0.1
    assert pairs[1].occluded.any() and not (pairs[1].occluded & ~pairs[1].valid).any()
