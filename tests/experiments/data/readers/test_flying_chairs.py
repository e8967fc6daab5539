import shutil

import cv2
import numpy as np
import pytest

from experiments.data.files.flow import write_flo
from experiments.data.pairs import DataError
from experiments.data.readers.flying_chairs import flying_chairs

SPLIT = "FlyingChairs_train_val.txt"


def _release(folder, count, marks=None, split_name=SPLIT, size=(6, 8)):
    (folder / "data").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(1, count + 1):
        stem = str(folder / "data" / f"{number:05}")
        for frame in (1, 2):
            cv2.imwrite(f"{stem}_img{frame}.ppm", random.integers(0, 256, (*size, 3), np.uint8))
        write_flo(f"{stem}_flow.flo", np.full((2, *size), number, np.float32))
    if marks is not None:
        (folder / split_name).write_text("\n".join(marks) + "\n")
    return folder


def _names(folder, split):
    return [f.name for f in flying_chairs(folder, split).files]


def test_splits_follow_the_line_of_each_number(tmp_path):
    marks = ["2" if n % 5 == 0 else "1" for n in range(1, 41)]
    folder = _release(tmp_path / "chairs", 40, [*marks, "1", "2"])
    train, validation, test = (_names(folder, s) for s in ("train", "validation", "test"))
    assert test == ["00005", "00010", "00015", "00020", "00025", "00030", "00035", "00040"]
    assert validation == ["00037", "00038", "00039"]
    assert sorted(train + validation + test) == [f"{n:05}" for n in range(1, 41)]
    assert all(flying_chairs(folder, s).note == "" for s in ("train", "validation", "test"))


def test_masks_beside_the_pairs_say_what_is_occluded(tmp_path):
    folder = _release(tmp_path / "chairs", 2, ["1", "2"])
    assert flying_chairs(folder, "train").provides == {"flow"}
    mask = np.arange(48).reshape(6, 8) % 5 == 0
    cv2.imwrite(str(folder / "data" / "00002_occ1.png"), mask.astype(np.uint8) * 255)
    assert flying_chairs(folder, "test").provides == {"flow", "occlusion"}
    assert flying_chairs(folder, "train").provides == {"flow"}
    assert np.array_equal(flying_chairs(folder, "test")[0].occluded, mask)


def test_lines_belong_to_numbers_also_where_pairs_are_missing(tmp_path):
    folder = _release(tmp_path / "chairs", 4, ["1", "1", "2", "1"])
    for path in (folder / "data").glob("00001_*"):
        path.unlink()
    assert _names(folder, "test") == ["00003"] and _names(folder, "train") == ["00002", "00004"]


def test_few_training_pairs_are_not_kept_back(tmp_path):
    folder = _release(tmp_path / "chairs", 19, ["1"] * 17 + ["2"] * 2, "FlyingChairs_release_test_train_split.list")
    assert len(_names(folder, "train")) == 17
    assert _names(folder, "validation") == _names(folder, "test") == ["00018", "00019"]
    assert "validated on its test pairs" in flying_chairs(folder, "validation").note
    (folder / "FlyingChairs_release_test_train_split.list").write_text("1\n" * 20)
    assert len(_names(folder, "train")) == 19


def test_without_a_split_file_every_split_has_everything_and_says_so(tmp_path):
    folder = _release(tmp_path / "chairs", 3)
    for split in ("train", "validation", "test"):
        pairs = flying_chairs(folder, split)
        assert len(pairs) == 3 and "without a split file" in pairs.note


def test_a_split_without_pairs_takes_all_and_says_so(tmp_path):
    folder = _release(tmp_path / "chairs", 3, ["1"] * 3)
    for split in ("validation", "test"):
        pairs = flying_chairs(folder, split)
        assert (
            len(pairs) == 3
            and pairs.note == f"FlyingChairs has no {split} pairs among the 3 found: all of them are taken"
        )
    assert flying_chairs(folder, "train").note == ""


def test_files_may_lie_in_the_folder_itself_and_the_split_file_beside_them(tmp_path):
    folder = _release(tmp_path / "chairs", 3, ["1", "2", "1"])
    assert _names(folder / "data", "test") == ["00002"]
    shutil.move(folder / SPLIT, folder / "data" / SPLIT)
    assert _names(folder, "test") == ["00002"]


def test_the_split_file_of_raft_may_lie_in_the_folder_or_beside_it(tmp_path):
    folder = _release(tmp_path / "chairs", 3, ["1", "2", "1"], "chairs_split.txt")
    assert _names(folder, "test") == _names(folder / "data", "test") == ["00002"]
    shutil.move(folder / "chairs_split.txt", tmp_path)
    assert _names(folder, "test") == ["00002"] and flying_chairs(folder, "test").note == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_split_file_may_have_been_saved_by_an_editor(tmp_path, encoding):
    folder = _release(tmp_path / "chairs", 3)
    (folder / SPLIT).write_text("1\n2\n1\n", encoding=encoding, newline="\r\n")
    assert _names(folder, "train") == ["00001", "00003"]


def test_names_may_be_in_upper_case(tmp_path):
    folder = _release(tmp_path / "chairs", 3, ["1", "2", "1"])
    for path in list((folder / "data").iterdir()):
        path.rename(path.with_name(path.name.upper()))
    (folder / "data/._00004_img1.ppm").touch()
    pairs = flying_chairs(folder, "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["00002"] and np.all(pairs[0].flow == 2)


def test_the_naming_of_the_examples_counts_from_0(tmp_path):
    folder = _release(tmp_path / "chairs", 3, ["1", "2", "1"])
    for path in list((folder / "data").iterdir()):
        number, kind = path.name.split("_")
        kind = {"img1.ppm": "img0.ppm", "img2.ppm": "img1.ppm", "flow.flo": "gt.flo"}[kind]
        path.rename(path.with_name(f"{int(number) - 1:07}-{kind}"))
    assert _names(folder, "test") == ["0000001"]
    assert np.all(flying_chairs(folder, "test")[0].flow == 2)


def test_a_pair_has_rgb_frames_and_flow(tmp_path):
    folder = _release(tmp_path / "chairs", 2)
    pair = flying_chairs(folder, "train")[1]
    assert pair.name == "00002" and pair.occluded is None and pair.valid is None
    first = cv2.imread(str(folder / "data/00002_img1.ppm"))[..., ::-1]
    second = cv2.imread(str(folder / "data/00002_img2.ppm"))[..., ::-1]
    assert np.array_equal(pair.first, first) and np.array_equal(pair.second, second)
    assert np.all(pair.flow == 2) and pair.flow.shape == (2, 6, 8)
    assert flying_chairs(folder, "train").provides == {"flow"}


def _cut(path, left=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])


def _another_size(path):
    cv2.imwrite(str(path), np.zeros((5, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("00002_img1.ppm", _cut, "cut off"),
        ("00002_img2.ppm", lambda p: p.write_text("nothing"), "not an image"),
        ("00002_img2.ppm", _another_size, "has 8x5 pixels, but the first frame"),
        ("00002_flow.flo", _cut, "cut off"),
        ("00002_flow.flo", lambda p: p.write_bytes(b"FEIH" + p.read_bytes()[4:]), "not a .flo file"),
        ("00002_flow.flo", lambda p: write_flo(p, np.zeros((2, 6, 9), np.float32)), "has 9x6 pixels"),
    ],
)
def test_bad_files_are_found_by_verify_and_on_reading(tmp_path, name, damage, reason):
    folder = _release(tmp_path / "chairs", 3)
    flying_chairs(folder, "train").verify()
    damage(folder / "data" / name)
    pairs = flying_chairs(folder, "train")
    for check in (pairs.verify, lambda: pairs[1]):
        with pytest.raises(DataError) as caught:
            check()
        assert str(folder / "data" / name) in str(caught.value) and reason in str(caught.value)
    pairs[0], pairs[2]


@pytest.mark.parametrize("name", ["00002_img1.ppm", "00002_img2.ppm", "00002_flow.flo"])
def test_incomplete_pairs_are_refused(tmp_path, name):
    folder = _release(tmp_path / "chairs", 3)
    (folder / "data" / name).unlink()
    with pytest.raises(DataError, match=f"{name}: is missing, pair 00002 is not complete"):
        flying_chairs(folder, "train")


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere: FlyingChairs is missing"):
        flying_chairs(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match="no FlyingChairs pairs, expected files like 00001_img1.ppm"):
        flying_chairs(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("1\n1\n", "has 2 lines, none of them is for pair 00003"), ("1\n3\n1\n", "line 2 must be 1"), ("é", "not text")],
)
def test_split_files_that_do_not_fit_are_refused(tmp_path, text, reason):
    folder = _release(tmp_path / "chairs", 3)
    (folder / SPLIT).write_text(text)
    with pytest.raises(DataError, match=f"{SPLIT}.*{reason}"):
        flying_chairs(folder, "train")


def test_the_digest_is_of_names_and_contents_and_not_of_the_place(tmp_path):
    folder = _release(tmp_path / "chairs", 3)
    digest = flying_chairs(folder, "train").digest
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert flying_chairs(tmp_path / "elsewhere", "train").digest == digest
    data = bytearray((folder / "data/00003_img2.ppm").read_bytes())
    data[100] ^= 1
    (folder / "data/00003_img2.ppm").write_bytes(data)
    assert flying_chairs(folder, "train").digest != digest


def test_the_digest_of_a_large_set_samples_each_file(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.data.files.file_set.WHOLE", 0)
    test_the_digest_is_of_names_and_contents_and_not_of_the_place(tmp_path)


def test_real_pairs_and_their_ground_truth(real, warp_ratio):
    for name, count in (("FlyingChairs_release", 3), ("FlyingChairs_examples", 2)):
        pairs = flying_chairs(real(name), "train")
        pairs.verify()
        assert len(pairs) == count
        for i in range(count):
            right = warp_ratio(pairs[i])
            print(f"{name} {pairs[i].name}: warped error per unwarped {right:.2f}")
            assert right < 0.75
            assert warp_ratio(pairs[i], lambda flow: flow[::-1]) > right + 0.1
            assert warp_ratio(pairs[i], lambda flow: -flow) > right + 0.1
