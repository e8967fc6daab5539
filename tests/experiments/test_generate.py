"""Generated sets are FlyingChairs to whoever reads them."""

import os
import resource

import cv2
import numpy as np
import pytest

from experiments import generate
from experiments.data.catalog import open_source
from experiments.data.pairs import SPLITS
from experiments.records import locks

SIZE = ("--height", "48", "--width", "64")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate") / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        coarse = random.integers(0, 256, (20, 30, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(coarse, (150, 100), interpolation=cv2.INTER_CUBIC))
    return folder


def _run(source, out, *words, pairs=3):
    return generate.main([str(source), "--out", str(out), "--pairs", str(pairs), *SIZE, *words])


def _content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["photos", "synthetic"])
def test_a_set_is_read_back_to_the_bit_with_its_splits(pictures, tmp_path, kind):
    source, out = f"photos:{pictures}" if kind == "photos" else kind, tmp_path / "set"
    assert _run(source, out, "--seed", "5", "--set", "data.scenes.rotation_max=8", pairs=22) == 0
    made = generate.plan(source, 22, 48, 64, {"data.scenes.seed": 5, "data.scenes.rotation_max": "8"}).sets
    assert [len(made[split]) for split in SPLITS] == [18, 2, 2]
    number = 0
    for split in SPLITS:
        read = open_source(f"flyingchairs:{out}", split, height=8, width=8, scenes=None)
        read.verify()
        assert len(read) == len(made[split]) and read.provides == {"flow", "occlusion"} and read.note == ""
        for index, pair in enumerate(made[split][i] for i in range(len(read))):
            number += 1
            assert read[index].name == f"{number:05}"
            for name in ("first", "second", "flow", "occluded"):
                assert np.array_equal(getattr(read[index], name), getattr(pair, name)), (split, index, name)
    assert len(os.listdir(out / "data")) == 22 * 4


def test_lengths_grow_with_the_frame_unless_they_are_set():
    options = generate.scene_options(128, 512, 50, {"data.scenes.radius_max": "25.5", "data.scenes.seed": 3})
    assert (options.radius_min, options.radius_max, options.object_motion_max, options.seed) == (22.0, 25.5, 18.0, 3)
    assert (options.aspect_max, options.vertical_share, options.photo_blur) == (1.8, 0.3, 0.0)
    assert (options.train_pairs, options.validation_pairs, options.test_pairs) == (41, 4, 5)
    assert generate.scene_options(8192, 8192, 1, {}).background_wavelength_max == 1000, "no more than is allowed"


@pytest.mark.parametrize("pairs, split", [(1, (1, 0, 0)), (9, (9, 0, 0)), (10, (9, 0, 1)), (22, (18, 2, 2))])
def test_small_sets_have_the_splits_that_the_reader_gives_them(pairs, split):
    assert tuple(generate.divided(pairs).values()) == split


def test_the_same_command_makes_only_what_is_missing(pictures, tmp_path, capsys):
    out = tmp_path / "set"
    assert _run(f"photos:{pictures}", out, pairs=5) == 0
    before, kept = _content(out), (out / "data" / "00001_flow.flo").stat().st_mtime_ns
    (out / "data" / "00002_flow.flo").unlink()
    (out / "data" / "00004_occ1.png").unlink()
    (out / "data" / ".00002_flow.flo.1a2b3c4d.tmp").write_bytes(b"left by a kill")
    capsys.readouterr()
    assert _run(f"photos:{pictures}", out, pairs=5) == 0
    assert "5 pairs of 64x48 px (5 train, 0 validation, 0 test), 2 of them written now" in capsys.readouterr().out
    assert before.items() <= _content(out).items()
    assert (out / "data" / "00001_flow.flo").stat().st_mtime_ns == kept
    assert len(open_source(f"flyingchairs:{out}", "train", height=8, width=8, scenes=None)) == 5


@pytest.mark.parametrize("limit, whole", [(5_000, set()), (20_000, {"img1.ppm", "img2.ppm", "occ1.png"})])
def test_a_full_disk_leaves_whole_files_and_the_same_command_goes_on(tmp_path, capsys, limit, whole):
    """A limit, bytes, that no frame keeps to, or that the frames keep to and the flow does not."""
    out, limits = tmp_path / "set", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        assert _run("photos", out) == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert f"00001_{'flow.flo' if whole else 'img1.ppm'}: the file would be larger" in said
    assert "whole pairs are kept" in said
    assert {path.name for path in (out / "data").iterdir()} == {f"00001_{name}" for name in whole}
    assert _run("photos", out) == 0 and len(os.listdir(out / "data")) == 12


def test_other_pairs_and_other_files_are_left_alone(pictures, tmp_path, capsys):
    out, foreign, file = tmp_path / "set", tmp_path / "foreign", tmp_path / "file"
    assert _run(f"photos:{pictures}", out) == 0
    before = _content(out)
    for words, said in (
        (("--seed", "2"), "scenes.seed (1 then, 2 now)"),
        (("--set", "data.scenes.radius_min=9"), "scenes.radius_min (8.25 then, 9.0 now)"),
        (("--pairs", "4"), "pairs (3 then, 4 now)"),
        (("--height", "56"), "height (48 then, 56 now)"),
    ):
        assert _run(f"photos:{pictures}", out, *words) == 2
        assert f"--out {out}: holds other pairs" in (err := capsys.readouterr().err) and said in err
    (out / "generated.json").write_text("[]")
    assert _run(f"photos:{pictures}", out) == 2 and "generated.json is damaged" in capsys.readouterr().err
    (out / "generated.json").write_bytes(before[(out / "generated.json").relative_to(out)])
    assert _content(out) == before
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    file.write_text("mine")
    for place, said in ((foreign, "holds other files"), (file, "is a file, give a folder")):
        assert _run(f"photos:{pictures}", place) == 2
        assert f"--out {place}: {said}" in capsys.readouterr().err
    assert os.listdir(foreign) == ["thesis.tex"] and file.read_text() == "mine"
    with locks.held(out / ".generate.lock"):
        assert _run(f"photos:{pictures}", out) == 2 and "another process generates there" in capsys.readouterr().err


@pytest.mark.parametrize(
    "source, words, said",
    [
        ("flyingchairs:/data", (), "'flyingchairs:/data' is not generated: give synthetic, photos or photos:FOLDER"),
        ("photos;synthetic", (), "is not generated"),
        ("photo", (), "unknown data set 'photo'; did you mean 'photos'?"),
        ("photos:/no where", (), "/no where: the photographs is missing"),
        ("synthetic", ("--set", "train.steps=3"), "--set train.steps: only the options of scenes can be set"),
        ("synthetic", ("--set", "data.scenes.radus_max=3"), "did you mean 'data.scenes.radius_max'?"),
        ("synthetic", ("--set", "data.scenes.radius_max=3"), "radius_min must not exceed radius_max, got 8.25 and 3.0"),
        ("synthetic", ("--set", "radius_max"), "'radius_max' is not of the form key=value"),
        ("synthetic", ("--seed", "-1"), "seed must be a whole number in [0, 4.29497e+09], got -1"),
        ("synthetic", ("--pairs", "0"), "--pairs must be 1 to 1,000,000, got 0"),
        ("synthetic", ("--width", "15"), "--width must be 16 to 8,192, got 15"),
        ("synthetic", ("--out", "a\nb"), "has characters that cannot be printed"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, monkeypatch, capsys, source, words, said):
    monkeypatch.chdir(tmp_path)
    try:
        code = _run(source, "set", *words)
    except SystemExit as ended:
        code = ended.code
    err = capsys.readouterr().err
    assert code == 2 and said in err and err.startswith("experiments.generate: ") and not os.listdir(tmp_path)


def test_pictures_that_cannot_be_used_are_found_before_anything_is_written(pictures, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in pictures.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "4.png").write_bytes(b"no picture")  # the last: of the test split
    assert _run(f"photos:{folder}", tmp_path / "set", pairs=10) == 2
    assert "4.png: cannot be read" in capsys.readouterr().err and not (tmp_path / "set").exists()
