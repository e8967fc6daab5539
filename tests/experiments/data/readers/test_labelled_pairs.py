import cv2
import numpy as np
import pytest
from test_pfm import pfm

from experiments import convert
from experiments.data.catalog import open_source
from experiments.data.files.flow import write_flo, write_kitti_flow
from experiments.data.pairs import DataError
from experiments.data.readers.labelled_pairs import labelled_pairs

SIZE = (6, 8)


def image(path, value=0, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def flow(path, value=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    field = np.full((2, *SIZE), value, np.float32)
    if path.suffix == ".pfm":
        path.write_bytes(pfm(field))
    else:
        (write_flo if path.suffix == ".flo" else write_kitti_flow)(path, field)


def mask(path, column):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.where(np.arange(SIZE[1]) == column, 255, 0).astype(np.uint8) * np.ones((6, 1), np.uint8))


def found(pairs):
    """Name, both images and flow of every pair, by what the files hold."""
    read = [pairs[i] for i in range(len(pairs))]
    flows = [None if p.flow is None else float(p.flow[0, 0, 0]) for p in read]
    return [(p.name, p.first[0, 0, 0], p.second[0, 0, 0], f) for p, f in zip(read, flows, strict=True)]


@pytest.fixture
def scene(tmp_path):
    """Three images and flow in all formats."""
    for number in (1, 2, 3):
        image(tmp_path / "a" / f"{number}.png", 10 * number)
    flow(tmp_path / "a" / "1.flo", 1)
    flow(tmp_path / "a" / "2.pfm", 2)
    flow(tmp_path / "b" / "3.png", 3)
    mask(tmp_path / "b" / "hidden.png", 2)
    mask(tmp_path / "b" / "known.png", 5)
    return tmp_path


LINES = ("a/1.png,a/2.png,a/1.flo,b/hidden.png,b/known.png", "a/2.png,a/3.png,a/2.pfm", "a/3.png,a/1.png,b/3.png,")
PAIRS = [("a/1", 10, 20, 1.0), ("a/2", 20, 30, 2.0), ("a/3", 30, 10, 3.0)]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(LINES),
        "\ufeff# made by hand\r\n" + "\r\n".join(("First, second ,flow,occlusion,valid", "", *LINES)),
        "\n".join(LINES).replace(",", "\t").rstrip(),
        "valid,occlusion,flow,first,second\nb/known.png,b/hidden.png,a/1.flo,a/1.png,a/2.png\n"
        ",,a/2.pfm,a/2.png,a/3.png\n,,b/3.png,a/3.png,a/1.png",
    ],
)
def test_a_list_names_the_files_of_its_pairs(scene, text):
    (scene / "list.txt").write_text(text, encoding="utf-8", newline="")
    pairs = labelled_pairs(scene / "list.txt", "test")
    pairs.verify()
    assert found(pairs) == PAIRS and pairs.name == "pairs"
    assert pairs.note == "pairs of list.txt: every split has all 3"
    columns = np.arange(SIZE[1])
    assert np.array_equal(pairs[0].occluded, np.broadcast_to(columns == 2, SIZE))
    assert np.array_equal(pairs[0].valid, np.broadcast_to(columns == 5, SIZE))
    assert pairs[1].occluded is None and pairs[1].valid is None
    assert pairs.provides == {"flow"}


def test_pairs_without_flow_can_be_listed_for_training(scene):
    (scene / "list.csv").write_text("a/1.png,a/2.png\na/1.png,a/3.png\n")
    pairs = labelled_pairs(scene / "list.csv", "train")
    assert pairs.provides == frozenset()
    assert found(pairs) == [("a/1-a/2", 10, 20, None), ("a/1-a/3", 10, 30, None)]


def test_a_mask_that_says_something_else_makes_another_set(scene):
    digests = set()
    for line in ("a/1.png,a/2.png,a/1.flo,b/known.png,", "a/1.png,a/2.png,a/1.flo,,b/known.png"):
        (scene / "list.csv").write_text(line)
        digests.add(labelled_pairs(scene / "list.csv", "train").digest)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lists no pairs"),
        ("# nothing\n", "lists no pairs"),
        ("first,second,flows\n", "its columns are first, second, flows; they must be first and second"),
        ("first,flow\n", "its columns are first, flow"),
        ("first,second,first\n", "its columns are first, second, first"),
        ("a/1.png\n", "line 1 has 1 columns, expected 2 to 5"),
        ("#\na/1.png,a/2.png,,,,x\n", "line 2 has 6 columns"),
        (",a/2.png,a/1.flo\n", "line 1 has no first image"),
        ("a/1.png,a/2.png,a/1.mat\n", "line 1: 1.mat is no flow (known: .flo, .flo5, .npy, .npz, .pfm, .png)"),
        ("a/1.flo,a/2.png\n", "line 1: 1.flo is no first (known: .png, "),
        ("a/1.png,a/2.png,,b/hidden.png\n", "line 1 has a mask but no flow"),
        ("a/1.png,a/9.png\n", "9.png: is missing, "),
        (
            "a/1.png,a/2.png\n\na/1.png,a/2.png\n",
            "line 3 says the same as line 1; a set is repeated as in pairs:l.csv*2",
        ),
    ],
)
def test_lists_that_cannot_be_understood_are_refused_with_their_line(scene, text, reason):
    (scene / "l.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        labelled_pairs(scene / "l.csv", "train")
    assert reason in str(caught.value) and str(scene) in str(caught.value)
    (scene / "l.csv").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match="l.csv: list cannot be read \\(not text\\)"):
        labelled_pairs(scene / "l.csv", "train")


@pytest.mark.parametrize("suffix", [".flo", ".pfm"])
def test_beside_the_images_a_flow_is_that_to_the_next_one(tmp_path, suffix):
    for number in (1, 2, 10):
        image(tmp_path / f"f{number}.png", number)
        flow(tmp_path / f"f{number}{suffix}", number)
    pairs = labelled_pairs(tmp_path, "test")
    assert found(pairs) == [("f1", 1, 2, 1.0), ("f2", 2, 10, 2.0)]
    assert pairs.note == f"pairs of {tmp_path.name}: every split has all 2, f10{suffix} has no second image"


def test_images_that_are_not_followed_by_a_flow_are_only_second_ones(tmp_path):
    for number in range(4):
        image(tmp_path / f"{number}.png", number)
    flow(tmp_path / "1_flow.png", 1)
    assert found(labelled_pairs(tmp_path, "test")) == [("1", 1, 2, 1.0)]


@pytest.mark.parametrize(("sides", "end"), [(("_img1", "_img2"), "_flow.flo"), (("_0", "_1"), ".pfm")])
def test_images_that_are_called_as_the_two_of_a_flow_are_its_images(tmp_path, sides, end):
    for number, stem in enumerate(("x", "y")):
        for offset, side in enumerate(sides):
            image(tmp_path / f"{stem}{side}.jpg", 100 * number + 50 * offset)
        flow(tmp_path / f"{stem}{end}", number)
    pairs = found(labelled_pairs(tmp_path, "test"))
    assert pairs == [("x", 0, 50, 0.0), ("y", 100, 150, 1.0)]


def test_images_flow_and_masks_in_folders_of_their_own(tmp_path):
    for number in (8, 9, 10):
        image(tmp_path / "images" / f"{number}.png", number)
    for number in (8, 9):
        flow(tmp_path / "flow" / f"{number}.png", number)
        mask(tmp_path / "occlusion" / f"{number}.png", number - 8)
        mask(tmp_path / "valid" / f"{number}.png", 7)
    pairs = labelled_pairs(tmp_path, "test")
    pairs.verify()
    assert found(pairs) == [("8", 8, 9, 8.0), ("9", 9, 10, 9.0)]
    assert pairs.provides == {"flow", "occlusion"}
    assert pairs[1].occluded[0].nonzero()[0].tolist() == [1] and pairs[1].valid[0].nonzero()[0].tolist() == [7]
    (tmp_path / "valid" / "9.png").unlink()
    with pytest.raises(DataError, match="valid/9.png: is missing, .*flow/9.png has no mask there"):
        labelled_pairs(tmp_path, "test")


def test_faults_of_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: the list or folder of pairs is missing"):
        labelled_pairs(tmp_path / "nowhere", "test")
    with pytest.raises(DataError, match="no pairs, expected images and flow"):
        labelled_pairs(tmp_path, "test")
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    flow(tmp_path / "c.flo")
    with pytest.raises(DataError, match="c.flo: has no image, expected c or c_img1 and c_img2 in "):
        labelled_pairs(tmp_path, "test")
    (tmp_path / "c.flo").unlink()
    flow(tmp_path / "a.flo")
    flow(tmp_path / "a_flow.flo")
    with pytest.raises(DataError, match="a_flow.flo: is the second flow of a, a.flo is there too"):
        labelled_pairs(tmp_path, "test")
    image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="a.png: is called like a.jpg"):
        labelled_pairs(tmp_path, "test")


def test_a_folder_of_pairs_is_taken_as_it_is_named_and_can_be_converted(tmp_path, capsys):
    folder = tmp_path / "training" / "flow"  # parts of other data sets are called like this
    for name in ("a", "b"):
        image(folder / f"{name}.png")
    flow(folder / "a.pfm", 4)
    (tmp_path / "list.csv").write_text("training/flow/a.png,training/flow/b.png")
    assert convert.main(["pairs", "--data", str(tmp_path / "list.csv"), "--out", str(tmp_path / "no")]) == 2
    assert "is a file, give the folder of a data set" in capsys.readouterr().err
    assert convert.main(["pairs", "--data", str(folder), "--out", str(tmp_path / "made")]) == 0
    sets = [open_source(f"pairs:{p}", "test", height=8, width=8, scenes=None) for p in (folder, tmp_path / "made")]
    assert found(sets[0]) == found(sets[1]) == [("a", 0, 0, 4.0)] and sets[0].digest == sets[1].digest
