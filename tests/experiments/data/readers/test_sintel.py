import cv2
import numpy as np
import pytest

from experiments.data.files.flow import write_flo
from experiments.data.pairs import DataError
from experiments.data.readers.sintel import SOURCES, sintel

SIZE = (6, 8)


def _image(path, value=0, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def _mask(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(SIZE, np.uint8)
    mask[:, columns] = 255
    cv2.imwrite(str(path), mask)


@pytest.fixture
def folder(tmp_path):
    """Three frames of `alley` in both passes, two of `market` without flow, two of `temple` in `final` only."""
    training = tmp_path / "training"
    for rendering in ("clean", "final"):
        for number in (1, 2, 3):
            _image(training / rendering / "alley" / f"frame_{number:04}.png", 10 * number)
        for number in (9, 10):
            _image(training / rendering / "market" / f"frame_{number:04}.png")
    for number in (1, 2):
        _image(training / "final" / "temple" / f"frame_{number:04}.png")
    flow = np.zeros((2, *SIZE), np.float32)
    flow[0, :, 6:] = 2.5
    for name in ("alley/frame_0001", "alley/frame_0002", "temple/frame_0001"):
        (training / "flow" / name).parent.mkdir(parents=True, exist_ok=True)
        write_flo(training / "flow" / f"{name}.flo", flow)
    _mask(training / "occlusions" / "alley" / "frame_0002.png", 3)
    _mask(training / "invalid" / "alley" / "frame_0002.png", 1)
    return tmp_path


def _names(folder, split, rendering="clean"):
    return [f.name for f in sintel(folder, split, rendering=rendering).files]


def test_pairs_with_flow_are_evaluated(folder):
    assert _names(folder, "test") == ["alley/frame_0001", "alley/frame_0002"]
    assert _names(folder, "test", "final") == ["alley/frame_0001", "alley/frame_0002", "temple/frame_0001"]
    assert _names(folder, "validation") == _names(folder, "test")
    assert "same pairs" in sintel(folder, "validation", rendering="clean").note


def test_names_of_files_may_be_in_upper_case(folder):
    pairs = sintel(folder, "test", rendering="clean")
    before = [pairs[i] for i in range(2)]
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        path.rename(path.with_suffix(path.suffix.upper()))
    (folder / "training" / "clean" / "@eaDir").mkdir()
    pairs = sintel(folder, "test", rendering="clean")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["alley/frame_0001", "alley/frame_0002"]
    for i in range(2):
        for field in ("flow", "occluded", "valid"):
            assert np.array_equal(getattr(pairs[i], field), getattr(before[i], field))


def test_neighbors_of_all_scenes_are_trained_on(folder):
    without = sintel(folder, "train", rendering="clean")
    assert [f.name for f in without.files] == ["alley/frame_0001", "alley/frame_0002", "market/frame_0009"]
    assert "without its test frames" in without.note
    for number in (1, 2):
        _image(folder / "test" / "clean" / "cave" / f"frame_{number:04}.png")
    official = sintel(folder, "train", rendering="clean")
    assert [f.name for f in official.files] == ["cave/frame_0001"] and official.note == ""
    assert official.files[0].flow is None


def test_masks_are_used_where_there_are_any(folder):
    pairs = sintel(folder, "test", rendering="clean")
    pairs.verify()
    plain, masked = pairs[0], pairs[1]
    assert plain.occluded is None and plain.valid is None
    columns = np.arange(SIZE[1])
    # column 3 is marked; 6 and 7 move by 2.5 px out of 8 columns, and are not
    assert np.array_equal(masked.occluded, np.broadcast_to(columns == 3, SIZE))
    assert np.array_equal(masked.valid, np.broadcast_to(columns != 1, SIZE))
    assert masked.first[0, 0, 0] == 20 and masked.second[0, 0, 0] == 30
    assert pairs.provides == {"flow"}


def test_the_passes_are_sources(folder):
    assert set(SOURCES) == {"sintel_clean", "sintel_final"}
    assert len(SOURCES["sintel_final"](str(folder), "test")) == 3


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(DataError, match="training/clean: is missing"):
        sintel(folder / "training", "test", rendering="clean")
    flow = folder / "training/flow/alley/frame_0002.flo"
    flow.write_bytes(flow.read_bytes()[:-1])
    with pytest.raises(DataError, match="frame_0002.flo: cut off"):
        sintel(folder, "test", rendering="clean").verify()
    _mask(folder / "training/occlusions/alley/frame_0001.png", 0)
    _image(folder / "training/occlusions/alley/frame_0001.png", size=(5, 8))
    with pytest.raises(DataError, match="occlusions/alley/frame_0001.png: has 8x5 pixels"):
        sintel(folder, "test", rendering="clean")[0]
    (folder / "training/clean/alley/frame_0003.png").unlink()
    with pytest.raises(DataError, match="frame_0003.png: is missing, .*frame_0002.flo is the flow towards it"):
        sintel(folder, "test", rendering="clean")


def test_real_pairs_and_their_ground_truth(real, warp_ratio):
    folder = real("MPI-Sintel")
    for rendering, count in (("clean", 5), ("final", 6)):
        pairs = sintel(folder, "test", rendering=rendering)
        pairs.verify()
        assert len(pairs) == count and pairs.name == f"sintel_{rendering}"
        for i in range(count):
            if rendering == "clean" or "temple" in pairs.files[i].name:
                right = warp_ratio(pairs[i])
                print(f"{rendering} {pairs[i].name}: warped error per unwarped {right:.2f}")
                assert right < 0.8
                assert warp_ratio(pairs[i], lambda flow: flow[::-1]) > right + 0.1


def test_real_masks_leave_out_pixels_that_leave_the_frame_as_documented(real):
    pairs = sintel(real("MPI-Sintel"), "test", rendering="final")
    shares, near, far = [], [], []
    for pair in (pairs[i] for i in range(len(pairs))):
        if pair.occluded is None:
            continue
        height, width = pair.occluded.shape
        y, x = np.mgrid[:height, :width].astype(float) + pair.flow[::-1]
        outside = np.maximum.reduce([-x, x - (width - 1), -y, y - (height - 1)])
        shares.append((~pair.occluded & (outside > 0)).mean())
        near.append(pair.occluded[(outside > 0.5) & (outside <= 1)])
        far.append(pair.occluded[outside > 20])
    print("left out, share of all pixels:", ", ".join(f"{share:.2%}" for share in shares))
    assert len(shares) == 4 and 0.0010 < min(shares) < max(shares) < 0.0125
    assert np.concatenate(near).mean() < 0.1 and np.concatenate(far).all()
