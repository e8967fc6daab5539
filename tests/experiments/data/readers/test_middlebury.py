import cv2
import numpy as np
import pytest

from experiments.data.files.flow import write_flo
from experiments.data.pairs import DataError
from experiments.data.readers.middlebury import middlebury


@pytest.fixture
def folder(tmp_path):
    for scene in ("Army", "Venus"):
        (tmp_path / "other-data" / scene).mkdir(parents=True)
        for number in (10, 11):
            cv2.imwrite(str(tmp_path / "other-data" / scene / f"frame{number}.png"), np.zeros((4, 6, 3), np.uint8))
    flow = np.ones((2, 4, 6), np.float32)
    flow[:, 0, 0], flow[1, 2, 3] = 1.7e9, np.nan
    (tmp_path / "other-gt-flow" / "Venus").mkdir(parents=True)
    write_flo(tmp_path / "other-gt-flow" / "Venus" / "flow10.flo", flow)
    return tmp_path


def test_unknown_flow_is_not_valid_and_finite(folder):
    pairs = middlebury(folder, "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["Venus"] and pairs.provides == {"flow"}
    pair = pairs[0]
    assert np.argwhere(~pair.valid).tolist() == [[0, 0], [2, 3]]
    assert np.array_equal(pair.flow, np.broadcast_to(pair.valid, (2, 4, 6)))


def test_training_takes_scenes_without_flow(folder):
    pairs = middlebury(folder, "train")
    assert [f.name for f in pairs.files] == ["Army", "Venus"] and "does not see their flow" in pairs.note
    assert pairs[1].flow is None


def test_folders_of_systems_are_no_scenes(folder):
    for name in ("@eaDir", ".AppleDouble", "__MACOSX"):
        (folder / "other-data" / name).mkdir()
    for name in ("._Venus", "Thumbs.db", ".DS_Store"):
        (folder / "other-data" / name).touch()
    assert [f.name for f in middlebury(folder, "train").files] == ["Army", "Venus"]


def test_names_may_be_in_upper_case(folder):
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        path.rename(path.with_name(path.name.upper()))
    pairs = middlebury(folder, "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["Venus"] and (~pairs[0].valid).sum() == 2


def test_faults_are_named(folder):
    with pytest.raises(DataError, match="other-data: the frames of Middlebury is missing"):
        middlebury(folder / "other-data", "test")
    (folder / "other-data/Venus/frame11.png").unlink()
    with pytest.raises(DataError, match="Venus/frame11.png: is missing"):
        middlebury(folder, "test")


def test_real_pairs_and_their_ground_truth(real, warp_ratio):
    pairs = middlebury(real("Middlebury"), "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["RubberWhale", "Venus"]
    for i in range(2):
        right = warp_ratio(pairs[i])
        known = 1 if pairs[i].valid is None else pairs[i].valid.mean()
        print(f"{pairs[i].name}: warped error per unwarped {right:.2f}, known {known:.2%}")
        assert right < 0.6
        assert warp_ratio(pairs[i], lambda flow: flow[::-1]) > right + 0.1
