"""Pairs that cannot be read: how many, which, and what is left."""

import cv2
import numpy as np
import pytest

from experiments.data.augmentation.options import AugmentationOptions
from experiments.data.catalog import Joined
from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.loader import Batches
from experiments.data.pairs import DataError
from experiments.data.skipping import Skipping, without_bad

COUNT = 40  # more than are read at a time


@pytest.fixture
def pairs(tmp_path):
    """Pairs whose frames have the gray value of their number."""
    files = []
    for number in range(COUNT):
        names = [tmp_path / f"{number:02d}_{side}.png" for side in "ab"]
        for name in names:
            cv2.imwrite(str(name), np.full((6, 8, 3), number, np.uint8))
        files.append(PairFiles(f"{number:02d}", *names))
    return FileSet("set", tuple(files))


def damage(pairs):
    """One file of another size, one that is cut off, one that is damaged behind its header; pairs 3, 20, 39."""
    cv2.imwrite(str(pairs.files[3].second), np.zeros((6, 9, 3), np.uint8))
    whole = pairs.files[20].first.read_bytes()
    pairs.files[20].first.write_bytes(whole[:-20])
    path = pairs.files[39].second
    content = path.read_bytes()
    start = content.index(b"IDAT") + 4
    path.write_bytes(content[:start] + b"\xff" * 8 + content[start + 8 :])


def values(pairs):
    return [int(pairs[i].first[0, 0, 0]) for i in range(len(pairs))]


def test_a_set_without_damage_stays_the_same(pairs):
    assert without_bad(pairs, 5) is pairs and without_bad(pairs, 0) is pairs


def test_bad_pairs_are_left_out_and_named(pairs):
    digest = FileSet("set", pairs.files).digest
    damage(pairs)
    left = without_bad(pairs, 3)
    assert isinstance(left, Skipping) and list(left.bad) == [3, 20, 39]
    for index, reason in ((3, "9x6 pixels"), (20, "cut off"), (39, "cannot be decoded")):
        assert reason in left.bad[index] and f"{index:02d}_" in left.bad[index] and "\n" not in left.bad[index]
    assert values(left) == [i for i in range(COUNT) if i not in (3, 20, 39)] and len(left) == COUNT - 3
    assert left.note == "set without 3 of 40 pairs, which cannot be read" and left.name == "set"
    assert len({left.digest, Skipping(pairs, {3: "bad"}).digest, pairs.digest, digest}) == 4
    left.verify()
    with pytest.raises(IndexError):
        left[COUNT - 3]


def test_one_too_many_is_refused_with_all_that_were_found(pairs):
    damage(pairs)
    with pytest.raises(DataError, match="more than the 2 pairs") as caught:
        without_bad(pairs, 2)
    assert all(f"{number}_" in str(caught.value) for number in ("03", "20", "39"))


def test_nothing_left_is_refused(pairs):
    alone = FileSet("set", pairs.files[20:21])
    damage(pairs)
    with pytest.raises(DataError, match="no pair can be read: .*20_a.png"):
        without_bad(alone, 7)


def test_mixed_sets_and_batches_see_what_is_left(pairs):
    joined = Joined((FileSet("one", pairs.files[:2]), FileSet("two", pairs.files[20:22])))
    damage(pairs)
    left = without_bad(joined, 1)
    assert values(left) == [0, 1, 21] and list(left.bad) == [2]
    batches = Batches(left, 3, 6, 8, 0, AugmentationOptions(color_swap=False, hue=0.0))
    seen = np.sort(batches.batch(0).first[:, 0, 0, 0] * 255)
    np.testing.assert_allclose(seen, [0, 1, 21], atol=1e-4)


def test_parts_of_a_batch_are_the_batch(pairs):
    options = AugmentationOptions(hue=0.3, flip_vertical=True)
    whole = Batches(pairs, 6, 6, 8, 5, options).batch(9)
    parts = [Batches(pairs, 6, 6, 8, 5, options, part=(i, 3)).batch(9) for i in range(3)]
    for field in ("first", "second", "seen_first", "seen_second"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, field) for part in parts]), getattr(whole, field))
    with pytest.raises(DataError, match="no part 0 of 4 equal ones"):
        Batches(pairs, 6, 6, 8, 5, options, part=(0, 4))
