import shutil

import cv2
import numpy as np
import pytest
from pictures_made import folder_of, picture

from experiments.data.pairs import SPLITS, DataError
from experiments.data.synthetic import photographs as module
from experiments.data.synthetic.photographs import SHIPPED, Photographs, photographs


def _names(folder):
    return {split: [path.name for path in photographs(folder, split)] for split in SPLITS}


def _one(tmp_path, image, height, width, least=1.0, largest=1.0):
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), image)
    return Photographs((path,), height, width, least, largest)


@pytest.mark.parametrize("count, held", [(3, 1), (4, 1), (9, 1), (10, 2), (11, 2)])
def test_every_photograph_is_in_one_split_in_the_order_of_the_numbers(tmp_path, count, held):
    found = _names(folder_of(tmp_path / "pictures", count, 8, 8))
    assert sum(found.values(), []) == [f"{number}.png" for number in range(1, count + 1)]
    assert [len(found[split]) for split in SPLITS] == [count - 2 * held, held, held]


def test_a_copy_is_no_other_photograph(tmp_path):
    folder = folder_of(tmp_path / "pictures", 5, 8, 8)
    before = _names(folder)
    for split in SPLITS:
        shutil.copy(folder / before[split][0], folder / f"z copy for {split}.png")
    assert _names(folder) == before


def test_the_shipped_photographs_are_there_and_divided():
    found = {split: photographs("", split) for split in SPLITS}
    assert [len(found[split]) for split in SPLITS] == [9, 3, 3]
    assert [path.name for split in SPLITS for path in found[split]] == [name.rpartition("/")[2] for name in SHIPPED]
    for paths in found.values():
        Photographs(paths, 1080, 1920, 0.25, 0.75).verify()


def test_without_the_libraries_a_sentence_says_what_is_possible(monkeypatch):
    monkeypatch.setattr(module, "SHIPPED", ("no_such_library/data/a.png",))
    with pytest.raises(DataError, match=r"scikit-image and scikit-learn, and no_such_library/data/a.png is not there"):
        photographs("", "train")
    monkeypatch.setattr(module, "SHIPPED", ("skimage/data/no such.png",))
    with pytest.raises(DataError, match=r"or give a folder of pictures, as in photos:/data/pictures"):
        photographs("", "train")


def test_a_level_holds_the_means_of_areas(tmp_path):
    image = picture(3, 64, 96)
    scaled, step = _one(tmp_path, image, 16, 24).scaled(0, 0.5)
    means = image.reshape(16, 4, 24, 4, 3).mean((1, 3))
    assert step == 1 and np.abs(scaled[..., ::-1] - means).max() <= 0.51


@pytest.mark.parametrize(
    "part, step", [(1.0, 1.0), (0.5, 1.0), (0.4, 0.8), (0.3, 0.6), (0.25, 1.0), (0.1, 1.0)]
)  # a photograph of four times the frame: 4, 2, 1.6, 1.2, 1 px of it per px of the frame, and not less
def test_a_frame_shows_the_part_that_is_asked_for_and_is_not_enlarged(tmp_path, part, step):
    scaled, found = _one(tmp_path, picture(1, 64, 96), 16, 24, part, part).scaled(0, 0.3)
    assert found == pytest.approx(step)
    assert 16 * found / scaled.shape[0] == pytest.approx(max(part, 0.25))


def test_the_part_lies_between_the_least_and_the_largest(tmp_path):
    source = _one(tmp_path, picture(1, 160, 240), 16, 24, 0.2, 0.8)
    parts = [16 * step / image.shape[0] for image, step in (source.scaled(0, share) for share in np.linspace(0, 1, 9))]
    assert parts == pytest.approx(0.2 * 4 ** np.linspace(0, 1, 9))
    equal = _one(tmp_path, picture(1, 32, 48), 4, 6, 0.5, 0.5)
    assert {equal.scaled(0, share)[1] for share in np.linspace(0, 1, 101)} == {1.0}, "whatever powers are rounded to"


def test_a_photograph_smaller_than_a_frame_is_enlarged_to_fill_it(tmp_path):
    image, step = _one(tmp_path, picture(1, 16, 24), 32, 48, 0.2, 0.8).scaled(0, 0.9)
    assert step == 0.5 and image.shape == (16, 24, 3)


@pytest.mark.parametrize(
    "size, frame, message",
    [
        ((15, 40), (128, 128), r"one.png: has 40x15 pixels, a photograph for scenes of 128x128 needs at least 16x16"),
        ((40, 30), (100, 250), r"one.png: has 30x40 pixels, .* of 250x100 needs at least 32x13"),
        ((2, 40_000), (16, 16), r"one.png: has 40000x2 pixels, sides of a photograph may have 32,766"),
    ],
)
def test_photographs_that_do_not_do_for_the_frames_are_refused_by_name(tmp_path, size, frame, message):
    source = _one(tmp_path, np.zeros((*size, 3), np.uint8), *frame)
    for use in (source.verify, lambda: source.scaled(0, 0.5)):
        with pytest.raises(DataError, match=message):
            use()


@pytest.mark.parametrize("count, said", [(0, "has 0 different images"), (2, "has 2 different images")])
def test_folders_with_too_few_photographs_are_refused(tmp_path, count, said):
    folder = folder_of(tmp_path / "pictures", count, 8, 8)
    (folder / "notes.txt").write_text("no picture")
    for split in SPLITS:
        with pytest.raises(DataError, match=f"{folder}: {said} .* need 3: one for training"):
            photographs(folder, split)


def test_folders_that_are_none_and_unknown_splits_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="nowhere: the photographs is missing, there is no such folder"):
        photographs(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match="file: the photographs must be a folder"):
        photographs(tmp_path / "file", "train")
    with pytest.raises(DataError, match="unknown split 'dev'"):
        photographs("", "dev")
