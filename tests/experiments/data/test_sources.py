import cv2
import numpy as np
import pytest

from experiments.data import catalog
from experiments.data.augmentation.options import AugmentationOptions
from experiments.data.catalog import Joined, absolute, canonical, open_source, parse
from experiments.data.loader import Batches
from experiments.data.mindrecord import reader as mindrecord
from experiments.data.pairs import DataError, Pair
from experiments.data.source_text import SourcePart, unplaced
from experiments.data.synthetic.scenes import SceneOptions

SCENES = SceneOptions(train_pairs=4, test_pairs=3)


class Handmade:
    note = "made by hand"
    provides = frozenset({"flow"})

    def __init__(self, name, count):
        self.name, self.count = name, count
        self.digest = f"{name}{count}"

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = np.full((2, 2, 3), index, np.uint8)
        return Pair(f"{index}", image, image)

    def verify(self):
        if self.name == "bad":
            raise DataError("bad: is bad")


def test_synthetic_scenes_have_the_size_and_split_asked_for():
    pairs = open_source("synthetic", "test", height=24, width=40, scenes=SCENES)
    assert len(pairs) == 3 and pairs[0].first.shape == (24, 40, 3)
    assert pairs.name == "synthetic" and pairs.provides == {"flow", "occlusion"}


def test_photo_scenes_take_a_folder_or_none(tmp_path):
    assert parse("photos; photos:/a b*2") == (SourcePart("photos"), SourcePart("photos", "/a b", 2))
    assert canonical("photos:/a;photos") == "photos;photos" and absolute("photos") == "photos"
    pairs = open_source("photos", "test", height=24, width=40, scenes=SCENES)
    assert len(pairs) == 3 and pairs[0].first.shape == (24, 40, 3) and pairs.folder == ""
    assert pairs.name == "photos" and pairs.provides == {"flow", "occlusion"}
    with pytest.raises(DataError, match=f"{tmp_path}/none: the photographs is missing"):
        open_source(f"photos:{tmp_path}/none", "test", height=24, width=40, scenes=SCENES)


def test_a_name_and_a_path_reach_the_reader_of_that_name(monkeypatch):
    asked = []

    def reader(path, split):
        asked.append((path, split))
        return Handmade("mine", 2)

    monkeypatch.setattr(catalog, "readers", lambda: {"mine": reader})
    pairs = open_source("mine:/some/where: here", "validation", height=8, width=8, scenes=SCENES)
    assert asked == [("/some/where: here", "validation")] and len(pairs) == 2


def test_every_reader_is_a_function_of_path_and_split(tmp_path):
    assert "flyingchairs" in catalog.names() and catalog.names()[0] == "synthetic"
    for name, reader in catalog.readers().items():
        with pytest.raises(DataError, match="nowhere"):
            reader(str(tmp_path / "nowhere"), "train")
        with pytest.raises(DataError, match="unknown split 'dev'"):
            reader(str(tmp_path), "dev")
        assert name == name.lower()


def test_a_run_does_not_depend_on_paths():
    assert (
        canonical("flyingchairs:/data/a; synthetic")
        == canonical("flyingchairs:/b;synthetic")
        == "flyingchairs;synthetic"
    )
    assert parse("flyingchairs: /data/a ;") == (SourcePart("flyingchairs", "/data/a"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no data given"),
        (" ; ", "no data given"),
        ("flyingchair:/data", "unknown data set 'flyingchair'; did you mean 'flyingchairs'\\? \\(known: synthetic, "),
        ("/data/chairs", "unknown data set '/data/chairs' \\(known: "),
        ("flyingchairs", "'flyingchairs' needs its path, as in flyingchairs:/data/flyingchairs"),
        ("synthetic;flyingchairs:", "'flyingchairs' needs its path"),
        ("synthetic:/data", "'synthetic' takes no path, got 'synthetic:/data'"),
        ("synthetic*0", "synthetic\\*0: a set can be taken 1 to 1000 times"),
        ("synthetic;flyingchairs:/a*1001", "flyingchairs:/a\\*1001: a set can be taken 1 to 1000 times"),
        ("synthetic*-1", "unknown data set 'synthetic\\*-1'"),
        *(
            (
                f"frames:/a?stride={given}*2",
                f"frames:/a\\?stride={given}\\*2: stride is {given}, expected different whole",
            )
            for given in ("0", "1,1", "2,,4", "-1", "1.5", "x", "101", "1 2")
        ),
        ("video:/a?stride=", "stride is '', expected different whole numbers from 1 to 100, such as 1,2,4"),
        ("sintel_clean:/a?stride=2", "clean:/a\\?stride=2: a stride is for frames and video, other sets have pairs of"),
        ("synthetic?stride=2", "synthetic\\?stride=2: a stride is for frames and video"),
    ],
)
def test_texts_that_name_no_data_are_refused(text, message):
    for use in (parse, canonical, lambda t: open_source(t, "train", height=8, width=8, scenes=SCENES)):
        with pytest.raises(DataError, match=message):
            use(text)


def test_a_path_may_hold_what_stands_between_sets(tmp_path):
    for text, expected in {
        "frames:/a;b;c": (("frames", "/a;b;c"),),
        "frames:/a;b ; flyingchairs:/c": (("frames", "/a;b"), ("flyingchairs", "/c")),
        "video:/a;b/c:d.mp4;synthetic": (("video", "/a;b/c:d.mp4"), ("synthetic", "")),
        "synthetic; sintel-clean:/a; b ;": (("synthetic", ""), ("sintel_clean", "/a; b")),
    }.items():
        assert parse(text) == parse(absolute(text)) == tuple(SourcePart(*part) for part in expected)
        assert canonical(text) == unplaced(text) == ";".join(name for name, _ in expected)


def test_a_set_that_is_given_twice_by_other_ways_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "link").symlink_to(tmp_path / "a")

    def opened(*paths):
        text = ";".join(f"frames:{tmp_path / path}" for path in paths)
        return open_source(text, "train", height=8, width=8, scenes=SCENES)

    assert opened("a", "b").note == ""
    for again in (("a", "b", "link"), ("a", "b/../a")):
        with pytest.raises(DataError, match="is named twice"):
            opened(*again)


def test_unknown_splits_are_refused():
    with pytest.raises(DataError, match="unknown split 'training'"):
        open_source("synthetic", "training", height=8, width=8, scenes=SCENES)


def test_joined_sets_stand_one_after_the_other():
    pairs = Joined((Handmade("a", 2), Handmade("b", 3)))
    assert len(pairs) == 5 and pairs.name == "a;b" and pairs.note == "made by hand; made by hand"
    assert [pairs[i].name for i in range(5)] == ["1-a/0", "1-a/1", "2-b/0", "2-b/1", "2-b/2"]
    assert [int(pairs[i].first[0, 0, 0]) for i in range(5)] == [0, 1, 0, 1, 2]
    assert pairs.digest != Joined((Handmade("b", 3), Handmade("a", 2))).digest
    for index in (-1, 5):
        with pytest.raises(IndexError):
            pairs[index]


def test_paths_mean_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("synthetic") == "synthetic"
    assert absolute("flyingchairs: a/b ;video:/c.mp4") == f"flyingchairs:{tmp_path}/a/b;video:/c.mp4"


def test_an_epoch_of_training_takes_every_pair_of_every_set():
    """Upstream trains on the first set only."""
    synthetic = open_source("synthetic", "train", height=8, width=8, scenes=SCENES)
    pairs = Joined((synthetic, synthetic, synthetic))
    batches = Batches(pairs, 3, 8, 8, 0, AugmentationOptions())
    assert sorted(i for step in range(4) for i in batches.indices(step)) == list(range(12))
    sets = {pairs[i].name.split("-")[0] for i in range(12)}
    assert sets == {"1", "2", "3"} and len({pairs[i].name for i in range(12)}) == 12


def test_joined_sets_provide_what_all_of_them_provide_and_verify_all():
    synthetic = open_source("synthetic", "test", height=8, width=8, scenes=SCENES)
    assert Joined((synthetic, synthetic)).provides == {"flow", "occlusion"}
    assert Joined((synthetic, Handmade("a", 1))).provides == {"flow"}
    with pytest.raises(DataError, match="bad: is bad"):
        Joined((synthetic, Handmade("bad", 1))).verify()


def test_a_hyphen_in_a_name_is_an_underscore_in_what_is_recorded():
    assert catalog.parse("sintel-clean:/a-b;flyingchairs:/c") == (
        SourcePart("sintel_clean", "/a-b"),
        SourcePart("flyingchairs", "/c"),
    )
    assert catalog.canonical("sintel-clean:/a") == "sintel_clean"
    assert catalog.absolute("sintel-final:/a") == "sintel_final:/a"


def test_a_part_of_a_data_set_leads_to_all_of_it(tmp_path):
    root = tmp_path / "sintel"
    for part in ("training/clean/alley_1", "training/flow", "test/clean"):
        (root / part).mkdir(parents=True)
    for part in ("", "training", "training/clean", "test", "test/clean", "training/flow"):
        assert catalog.root_of(root / part) == root, part
    chairs = tmp_path / "FlyingChairs_release" / "data"
    chairs.mkdir(parents=True)
    assert catalog.root_of(chairs) == catalog.root_of(chairs.parent) == chairs.parent
    for other in (tmp_path, root / "testing", root / "training" / "clean" / "alley_1"):
        assert catalog.root_of(other) == other


def test_the_home_folder_is_known_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute("video:~/x;synthetic;flyingchairs:~/y z") == (
        f"video:{tmp_path}/x;synthetic;flyingchairs:{tmp_path}/y z"
    )


@pytest.fixture
def handmade(monkeypatch):
    """`mine:PATH` has two pairs, whatever the path; told what was opened."""
    asked = []

    def reader(path, split):
        asked.append((path, split))
        return Handmade("mine", 2)

    monkeypatch.setattr(catalog, "readers", lambda: {"mine": reader})
    return asked


def test_an_epoch_takes_a_part_as_often_as_it_says(handmade):
    mixed = open_source("mine:/a*3 ; synthetic", "train", height=8, width=8, scenes=SCENES)
    assert handmade == [("/a", "train")] and len(mixed) == 2 * 3 + 4
    assert [mixed[i].name for i in range(6)] == ["1-mine/0", "1-mine/1"] * 3
    batches = Batches(mixed, 5, 8, 8, 0, AugmentationOptions())
    taken = [mixed[i].name for step in range(2) for i in batches.indices(step)]
    assert sorted(taken.count(name) for name in set(taken)) == [1, 1, 1, 1, 3, 3]
    assert mixed.note == "made by hand; each pair of mine is taken 3 times" and mixed.provides == {"flow"}
    with pytest.raises(IndexError):
        mixed.sets[0][6]


def test_how_often_a_part_is_taken_makes_another_set(handmade):
    texts = ("mine:/a;synthetic", "mine:/a*2;synthetic", "mine:/a*3;synthetic", "mine:/a;synthetic*2", "mine:/a*2")
    digests = {open_source(text, "train", height=8, width=8, scenes=SCENES).digest for text in texts}
    assert len(digests) == len(texts)
    once = open_source("mine:/a*1", "train", height=8, width=8, scenes=SCENES)
    assert once.digest == Handmade("mine", 2).digest


def test_what_is_evaluated_on_counts_once(handmade):
    for split in ("validation", "test"):
        pairs = open_source("mine:/a*3;synthetic*2", split, height=8, width=8, scenes=SCENES)
        assert pairs.name == "mine;synthetic" and pairs.note == "made by hand"
        assert pairs.digest == open_source("mine:/a;synthetic", split, height=8, width=8, scenes=SCENES).digest
    with pytest.raises(DataError, match="mine:/a\\*3: what is evaluated on counts once, leave out \\*3"):
        catalog.check_once("synthetic;mine:/a*3")


def test_how_often_is_recorded_and_is_no_part_of_a_metrics_name():
    assert absolute("frames:/a * 3;synthetic*2;video:/b*1") == "frames:/a*3;synthetic*2;video:/b"
    assert canonical("frames:/a*3;synthetic*2") == "frames;synthetic"
    assert unplaced("frames:/a*3;sintel-clean:/b;synthetic*2") == "frames*3;sintel_clean;synthetic*2"
    assert parse("frames:/a*3/") == (SourcePart("frames", "/a*3/"),), "a path that ends like this"


def test_a_set_that_is_named_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chairs = tmp_path / "chairs" / "data"
    chairs.mkdir(parents=True)
    monkeypatch.setattr(catalog, "readers", lambda: dict.fromkeys(("mine", "other"), lambda p, s: Handmade("mine", 2)))
    for text, named in (
        ("synthetic;mine:/a;synthetic", "synthetic"),
        ("mine:chairs;mine:chairs/data/*2", "mine:chairs/data/"),
        (f"mine:{tmp_path}/chairs;mine:chairs", "mine:chairs"),
    ):
        with pytest.raises(DataError) as caught:
            open_source(text, "train", height=8, width=8, scenes=SCENES)
        told = f"{named} is named twice; to take its pairs twice as often in training write {named}*2"
        assert str(caught.value) == told
    assert len(open_source("mine:/a;mine:/b;other:/a", "train", height=8, width=8, scenes=SCENES)) == 6


def test_strides_are_recorded_and_make_another_set(tmp_path):
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 6, 3), number, np.uint8))

    def opened(text):
        pairs = open_source(f"frames:{tmp_path}{text}", "train", height=8, width=8, scenes=SCENES)
        return [(int(pairs[i].first[0, 0, 0]), int(pairs[i].second[0, 0, 0])) for i in range(len(pairs))], pairs

    assert absolute("frames:/a?stride=4, 1 * 3;video:/b?stride=1") == "frames:/a?stride=1,4*3;video:/b"
    assert canonical("frames:/a?stride=2") == "frames" and unplaced("frames:/a?stride=2*3") == "frames?stride=2*3"
    assert parse("frames:/a?stride=2/") == (SourcePart("frames", "/a?stride=2/"),), "a path that ends like this"
    plain, near = opened("")
    assert opened("?stride=1")[1].digest == near.digest and plain == [(0, 1), (1, 2), (2, 3)]
    found, far = opened("?stride=3,2")
    assert found == [(0, 2), (0, 3), (1, 3)] and far.note == "the frames of a pair are 2 or 3 apart"
    assert len({near.digest, far.digest, opened("?stride=2")[1].digest}) == 3
    assert opened(f";frames:{tmp_path}?stride=3*2")[0] == [*plain, (0, 3), (0, 3)]


def test_a_stride_needs_the_frames_themselves(tmp_path):
    (tmp_path / mindrecord.MANIFEST).touch()
    with pytest.raises(DataError, match="stride=2: converted pairs are of neighbors; a stride needs the frames"):
        open_source(f"frames:{tmp_path}?stride=2", "train", height=8, width=8, scenes=SCENES)
