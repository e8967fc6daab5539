import json
import sys
import zipfile

import cv2
import numpy as np
import pytest

from experiments.data.files.flo5 import read_flo5, write_flo5
from experiments.data.files.flow import read_flo, read_kitti_flow, write_flo, write_kitti_flow
from experiments.data.pairs import DataError
from experiments.evaluation.submission import BENCHMARKS, CheckFailed, Task, check, lacking, open_task, submit

SIZE = (4, 6)


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((*SIZE, 3), np.uint8))


@pytest.fixture
def data(tmp_path):
    """Three test frames in each pass of Sintel, two KITTI 2015 test pairs, one training pair of KITTI 2012."""
    for rendering in ("clean", "final"):
        for number in (1, 2, 3):
            image(tmp_path / "sintel" / "test" / rendering / "cave" / f"frame_{number:04}.png")
    for frame in ("000000_10", "000000_11", "000001_10", "000001_11"):
        image(tmp_path / "kitti15" / "testing" / "image_2" / f"{frame}.png")
    for frame in ("000007_10", "000007_11"):
        image(tmp_path / "kitti12" / "training" / "image_0" / f"{frame}.png")
    return tmp_path


def tasks_of(data, *names):
    places = {"sintel_clean": "sintel", "sintel_final": "sintel", "kitti2015": "kitti15", "kitti2012": "kitti12"}
    return [open_task(name, str(data / places[name])) for name in names]


def flow_of(seed, scale=3.0):
    return (scale * np.random.default_rng(seed).standard_normal((2, *SIZE))).astype(np.float32)


def flows_of(tasks, scale=3.0):
    return {t.benchmark.data: iter([(t.pairs[i].name, flow_of(i, scale)) for i in range(len(t.pairs))]) for t in tasks}


def names_in(archive):
    with zipfile.ZipFile(archive) as packed:
        return sorted(packed.namelist())


def test_files_stand_where_the_benchmarks_want_them(data, tmp_path):
    tasks = tasks_of(data, "sintel_clean", "sintel_final", "kitti2015", "kitti2012")
    out = tmp_path / "new" / "submission"
    written, missing = submit(tasks, flows_of(tasks), out, {"size": None})
    assert written == {"sintel_clean": 2, "sintel_final": 2, "kitti2015": 2, "kitti2012": 1}
    assert names_in(out / "sintel.zip") == [
        f"{rendering}/cave/frame_000{n}.flo" for rendering in ("clean", "final") for n in (1, 2)
    ]
    assert names_in(out / "kitti2015.zip") == ["flow/000000_10.png", "flow/000001_10.png"]
    assert names_in(out / "kitti2012.zip") == ["000007_10.png"]
    np.testing.assert_array_equal(read_flo(out / "sintel/final/cave/frame_0002.flo"), flow_of(1))
    stored, known = read_kitti_flow(out / "kitti2015/flow/000001_10.png")
    assert known.all() and np.abs(stored - flow_of(1).astype(float)).max() <= 1 / 128
    assert json.loads((out / "submission.json").read_text())["files"] == written
    assert [line for line in missing if "rehearsal" in line] == [
        "kitti2012: computed on the training part, as a rehearsal; the benchmark wants its test part"
    ]
    assert "sintel_clean: 2 pairs, the benchmark has 552" in missing
    assert sorted(p.name for p in out.parent.iterdir()) == ["submission"]


def test_a_test_part_of_kitti_is_the_evaluated_frames_only(data):
    for frame in ("000000_09", "000000_12"):
        image(data / "kitti15" / "testing" / "image_2" / f"{frame}.png")
    (task,) = tasks_of(data, "kitti2015")
    assert [f.name for f in task.pairs.files] == ["testing/000000_10", "testing/000001_10"] and task.official


@pytest.fixture
def film(tmp_path):
    """Three test frames of the left camera and two of the right one, and a scene that has one only."""
    pytest.importorskip("h5py", reason="the extra [spring] is not installed")
    for scene, camera, numbers in (("0003", "left", (1, 2, 3)), ("0003", "right", (9, 10)), ("0019", "left", (4,))):
        for number in numbers:
            image(tmp_path / "spring" / "test" / scene / f"frame_{camera}" / f"frame_{camera}_{number:04}.png")
    return tmp_path / "spring"


def test_spring_wants_both_cameras_and_both_directions(film, tmp_path):
    task = open_task("spring", str(film))
    pairs = [(f.name, f.first.name, f.second.name) for f in task.pairs.files]
    assert pairs == [
        (f"0003/{kind}/{kind}_{a:04}", f"{frame}_{a:04}.png", f"{frame}_{b:04}.png")
        for kind, frame, a, b in (
            ("flow_FW_left", "frame_left", 1, 2), ("flow_FW_left", "frame_left", 2, 3),
            ("flow_BW_left", "frame_left", 3, 2), ("flow_BW_left", "frame_left", 2, 1),
            ("flow_FW_right", "frame_right", 9, 10), ("flow_BW_right", "frame_right", 10, 9),
        )
    ]  # fmt: skip
    written, missing = submit([task], flows_of([task]), tmp_path / "out", {})
    assert written == {"spring": 6} and task.official
    assert missing == [
        "spring: 6 pairs, the benchmark has 3960",
        "Spring takes the .hdf5 file that its own tool makes: flow_subsampling spring",
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["spring", "submission.json"]
    files = {p.relative_to(tmp_path / "out/spring").as_posix() for p in (tmp_path / "out").rglob("*.flo5")}
    assert files == {f"{name}.flo5" for name, _, _ in pairs}
    path = tmp_path / "out/spring/0003/flow_BW_left/flow_BW_left_0002.flo5"
    np.testing.assert_array_equal(read_flo5(path), flow_of(3))
    import h5py

    with h5py.File(path) as file:
        stored = file["flow"]
        assert (stored.shape, stored.dtype, stored.compression, stored.compression_opts) == (
            (*SIZE, 2),
            "f4",
            "gzip",
            5,
        )
        np.testing.assert_array_equal(stored[..., 0], flow_of(3)[0])


def test_a_rehearsal_of_spring_takes_its_training_part(film):
    (film / "test").rename(film / "train")
    assert not open_task("spring", str(film)).official


def test_spring_without_h5py_is_refused_before_anything_is_computed(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="a submission to spring: .flo5 files are read and written with h5py: pip"):
        open_task("spring", str(film))


def test_what_a_complete_submission_lacks(data):
    tasks = tasks_of(data, "sintel_clean", "sintel_final", "kitti2015")
    counts = {"sintel_clean": 552, "sintel_final": 552, "kitti2015": 200}
    assert lacking(tasks[2:], counts, {}) == []
    assert [line.split()[-4:] for line in lacking(tasks, counts, {})] == [["folders", "clean", "and", "final"]]
    assert "only sintel_final was computed" in lacking(tasks[1:], counts, {})[0]
    assert "flow in 3 files was clipped" in lacking(tasks[2:], counts, {"kitti2015": 3})[0]


def test_flow_beyond_the_format_is_told(data, tmp_path):
    tasks = tasks_of(data, "kitti2015")
    _, missing = submit(tasks, flows_of(tasks, scale=1000.0), tmp_path / "out", {})
    assert "kitti2015: flow in 2 files was clipped to what the format holds, -512 to 512 px" in missing


def damage_cut(directory):
    path = directory / "a.flo"
    path.write_bytes(path.read_bytes()[:-4])


def damage_size(directory):
    write_flo(directory / "a.flo", np.zeros((2, SIZE[0], SIZE[1] + 1), np.float32))


def damage_value(directory):
    write_flo(directory / "a.flo", np.full((2, *SIZE), 2e9, np.float32))


def damage_valid(directory):
    write_kitti_flow(directory / "b.png", flow_of(0), np.arange(24).reshape(SIZE) > 0)


@pytest.mark.parametrize(
    "damage, message",
    [
        (damage_cut, "a.flo: cut off"),
        (damage_size, "a.flo: has 7x4 pixels, its frame 6x4"),
        (damage_value, "a.flo: 24 pixels count as unknown"),
        (damage_valid, "b.png: 1 pixels count as unknown"),
        (lambda d: write_flo5(d / "c.flo5", np.full((2, *SIZE), np.nan)), "c.flo5: 24 pixels count as unknown"),
        (lambda d: (d / "b.png").unlink(), "b.png: is missing"),
        (lambda d: write_flo(d / "d.flo", flow_of(0)), "d.flo: is not expected"),
    ],
)
def test_faults_on_disk_are_found(tmp_path, damage, message):
    write_flo(tmp_path / "a.flo", flow_of(0))
    pytest.importorskip("h5py", reason="the extra [spring] is not installed")
    write_kitti_flow(tmp_path / "b.png", flow_of(1))
    write_flo5(tmp_path / "c.flo5", flow_of(2))
    sizes = {"a.flo": SIZE, "b.png": SIZE, "c.flo5": SIZE}
    check(tmp_path, sizes)
    damage(tmp_path)
    with pytest.raises(CheckFailed, match=message):
        check(tmp_path, sizes)


def test_nothing_is_left_of_a_submission_that_fails(data, tmp_path):
    tasks = tasks_of(data, "sintel_clean")

    def breaks_off():
        yield "cave/frame_0001", flow_of(0)
        raise DataError("frame_0003.png: cut off")

    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError):
        submit(tasks, {"sintel_clean": breaks_off()}, tmp_path / "out", {})
    assert sorted(tmp_path.iterdir()) == before


def test_what_has_no_benchmark(data):
    with pytest.raises(DataError, match="middlebury: there is no benchmark to submit to"):
        open_task("middlebury", str(data))
    with pytest.raises(DataError, match="no pairs of kitti2012"):
        open_task("kitti2012", str(data / "sintel"))


def test_names_of_pairs_become_names_of_files(data):
    for name, pair, place in (
        ("sintel_final", "cave_2/frame_0002", "sintel/final/cave_2/frame_0002.flo"),
        ("kitti2015", "testing/000000_10", "kitti2015/flow/000000_10.png"),
        ("kitti2012", "testing/000000_10", "kitti2012/000000_10.png"),
    ):
        assert str(Task(BENCHMARKS[name], None, True).place(pair)) == place
