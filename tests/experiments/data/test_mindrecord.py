"""Conversion to MindRecord files and reading them; MindSpore's own reader is asked too."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from experiments import convert
from experiments.data.catalog import open_source, readers
from experiments.data.files.flow import write_flo
from experiments.data.mindrecord import writer as conversion
from experiments.data.pairs import SPLITS, DataError
from uflow import backend as ms

ROOT = pathlib.Path(__file__).parents[3]
MANIFEST = "mindrecord_manifest.json"
SETS = {
    "flyingchairs": ("FlyingChairs_release", ["flyingchairs"]),
    "sintel": ("MPI-Sintel", ["sintel_clean", "sintel_final"]),
    "kitti": ("KITTI-2015", ["kitti2015"]),
    "kitti2012": ("KITTI-2012", ["kitti2012"]),
    "middlebury": ("Middlebury", ["middlebury"]),
    "frames": ("video_noGT/davis_breakdance-flare", ["frames"]),
}


def _open(name, path, split="train"):
    return open_source(f"{name}:{path}", split, height=8, width=8, scenes=None)


def _convert(name, source, out, *options):
    return convert.main([name, "--data_dir", str(source), "--output_dir", str(out), *map(str, options)])


def _same_pair(one, other):
    for field in dataclasses.fields(one):
        a, b = (getattr(pair, field.name) for pair in (one, other))
        assert (a is None) == (b is None), field.name
        assert a is None or (np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype), field.name


def _same_set(name, source, out, split):
    raw, converted = _open(name, source, split), _open(name, out, split)
    converted.verify()
    for field in ("name", "digest", "note", "provides"):
        assert getattr(raw, field) == getattr(converted, field)
    assert len(raw) == len(converted) > 0
    for i in reversed(range(len(raw))):
        _same_pair(raw[i], converted[i])


@pytest.fixture
def chairs(tmp_path):
    """Twelve pairs of 48x64 px, 43 kB each, every fourth for testing."""
    folder = tmp_path / "chairs"
    (folder / "data").mkdir(parents=True)
    random = np.random.default_rng(1)
    for number in range(1, 13):
        stem = str(folder / "data" / f"{number:05}")
        for frame in (1, 2):
            cv2.imwrite(f"{stem}_img{frame}.ppm", random.integers(0, 256, (48, 64, 3), np.uint8))
        write_flo(f"{stem}_flow.flo", random.normal(size=(2, 48, 64)).astype(np.float32))
    (folder / "FlyingChairs_train_val.txt").write_text("1\n1\n1\n2\n" * 3)
    return folder


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of two pairs of `chairs`."""
    monkeypatch.setattr(convert, "MEGABYTE", 100_000)


@pytest.mark.parametrize("name", SETS)
def test_converted_samples_give_the_same_pairs_within_1_1_times_the_storage(real, tmp_path, name):
    source, sets = real(SETS[name][0]), SETS[name][1]
    assert _convert(name, source, tmp_path / "out") == 0
    for each in sets:
        for split in SPLITS:
            _same_set(each, source, tmp_path / "out", split)
    opened = [readers()[each](source, split) for each in sets for split in SPLITS]
    files = {path for pairs in opened for pair in pairs.files for path in pair.paths}
    stored = sum(p.stat().st_size for p in (tmp_path / "out").iterdir())
    ratio = stored / sum(path.stat().st_size for path in files)
    print(f"{name}: stored bytes per source byte {ratio:.4f}")
    assert 1 < ratio < 1.1


def test_shards_have_every_file_once_and_mindspore_reads_them(chairs, tmp_path, small_parts, capsys):
    out = tmp_path / "out"
    for shard in (2, 0):
        assert _convert("flyingchairs", chairs, out, "--num_shards", 3, "--shard", shard, "--part_mb", 1) == 0
    assert "still to do: --shard 1" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"2 of 6 parts are missing.*--num-shards 3, --shard 1\)"):
        _open("flyingchairs", out)
    assert _convert("flyingchairs", chairs, out, "--num_shards", 3, "--shard", 1, "--part_mb", 1) == 0
    for split in SPLITS:
        _same_set("flyingchairs", chairs, out, split)
    read = []
    for path in sorted(out.glob("*.mindrecord")):
        reader = ms.mindrecord.FileReader(str(path), num_consumer=1)
        read += [(row["file"], bytes(row["content"])) for row in reader.get_next()]
        reader.close()
    files = {p.relative_to(chairs).as_posix(): p.read_bytes() for p in (chairs / "data").iterdir()}
    assert len(read) == 36 and dict(read) == files
    digests = [pair["digest"] for path in out.glob("part-*.json") for pair in json.loads(path.read_text())["pairs"]]
    parts = [f"data/00001_{kind}" for kind in ("img1.ppm", "img2.ppm", "flow.flo")]
    first = "".join(
        f" {field} {hashlib.sha256(files[part]).hexdigest()}"
        for field, part in zip(("first", "second", "flow"), parts, strict=True)
    )
    assert len(set(digests)) == 12 and hashlib.sha256(f"00001{first}".encode()).hexdigest() in digests


def test_frames_that_pairs_share_are_stored_once(tmp_path):
    (tmp_path / "frames").mkdir()
    random = np.random.default_rng(0)
    for number in range(7):
        cv2.imwrite(str(tmp_path / f"frames/{number}.png"), random.integers(0, 256, (9, 5, 3), np.uint8))
    for shard in (0, 1):
        assert _convert("frames", tmp_path / "frames", tmp_path / "out", "--num_shards", 2, "--shard", shard) == 0
    keys = [key for path in (tmp_path / "out").glob("part-*.json") for key in json.loads(path.read_text())["files"]]
    assert sorted(keys) == [f"{number}.png" for number in range(7)]
    _same_set("frames", tmp_path / "frames", tmp_path / "out", "test")


def test_names_that_are_not_utf8_are_kept(tmp_path):
    source = tmp_path / os.fsdecode(b"caf\xe9")
    source.mkdir()
    random = np.random.default_rng(3)
    for number in range(3):
        encoded = cv2.imencode(".png", random.integers(0, 256, (20, 30, 3), np.uint8))[1]
        (source / os.fsdecode(b"caf\xe9%d.png" % number)).write_bytes(encoded.tobytes())
    assert _convert("frames", source, tmp_path / "out") == 0
    _same_set("frames", source, tmp_path / "out", "train")
    pairs = _open("frames", tmp_path / "out")
    assert [os.fsencode(pair.name) for pair in (pairs[0], pairs[1])] == [b"caf\xe90", b"caf\xe91"]


def test_one_split_can_be_converted(chairs, tmp_path):
    assert _convert("flyingchairs", chairs, tmp_path / "out", "--split", "test") == 0
    _same_set("flyingchairs", chairs, tmp_path / "out", "test")
    with pytest.raises(DataError, match="was converted with its test pairs only, not with train"):
        _open("flyingchairs", tmp_path / "out", "train")
    with pytest.raises(DataError, match="holds flyingchairs in MindRecord files, not middlebury"):
        _open("middlebury", tmp_path / "out", "test")


STEPS = """
import os, signal, sys
from experiments import convert
convert.MEGABYTE = 100_000
count, usual = int(sys.argv.pop(1)), os.replace
def replace(*paths):
    global count
    count -= 1
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    usual(*paths)
os.replace = replace
sys.exit(convert.main())
"""


def _process(code, source, out, *first, before=None):
    words = [*map(str, first), "flyingchairs", "--data_dir", str(source), "--output_dir", str(out), "--part_mb", "1"]
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=before)


def _state(out):
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.iterdir() if p.name.startswith("part-")}


def test_a_killed_conversion_goes_on_without_doing_anything_twice(chairs, tmp_path, small_parts):
    """Killed before the manifest, a MindRecord file and the table of a part get their names."""
    out, whole = tmp_path / "out", {}
    # a table is renamed twice, once by atomic_write
    for renames, parts in ((1, 0), (1 + 4 + 3, 1), (4 + 4, 2)):
        done = _process(STEPS, chairs, out, renames)
        assert done.returncode == -signal.SIGKILL, done.stderr
        tables = sorted(out.glob("part-*.json"))
        assert len(tables) == parts
        assert (out / MANIFEST).exists() == (renames > 1)
        with pytest.raises(DataError, match="not finished" if renames > 1 else "no FlyingChairs pairs"):
            _open("flyingchairs", out)
        assert all(_state(out)[name] == before for name, before in whole.items())
        whole = {n: s for n, s in _state(out).items() if out / f"{n.split('.')[0]}.json" in tables}
    assert list(out.glob(".part-*.tmp"))
    assert _convert("flyingchairs", chairs, out, "--part_mb", 1) == 0
    assert all(_state(out)[name] == before for name, before in whole.items())
    assert not list(out.glob(".part-*.tmp")) and len(list(out.glob("part-*.json"))) == 6
    for split in SPLITS:
        _same_set("flyingchairs", chairs, out, split)
    before = _state(out)
    assert _convert("flyingchairs", chairs, out, "--part_mb", 1) == 0 and _state(out) == before


@pytest.fixture
def tmpfs(tmp_path):
    """A file system of 10.6 MB, of which MindSpore wants 10 MB to be left over."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=10600k", "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_whole_parts(chairs, tmpfs):
    code = "import sys; from experiments import convert; convert.MEGABYTE = 100_000; sys.exit(convert.main())"
    done = _process(code, chairs, tmpfs)
    print(done.stderr)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "no space left" in done.stderr and "whole parts are kept" in done.stderr
    tables = list(tmpfs.glob("part-*.json"))
    assert 1 <= len(tables) < 6 and not list(tmpfs.glob(".part-*"))
    for table in tables:
        plain = json.loads(table.read_text())
        content = table.with_suffix(".mindrecord").read_bytes()
        for key, (offset, size, _) in plain["files"].items():
            assert content[offset : offset + size] == (chairs / key).read_bytes()
    with pytest.raises(DataError, match="the conversion is not finished"):
        _open("flyingchairs", tmpfs)


def test_writes_that_fail_silently_are_found(chairs, tmp_path):
    """MindSpore 2.10 reports success for a file that could not grow, here by the process's limit."""
    code = (
        "import resource, signal, sys; from experiments import convert; convert.MEGABYTE = 300_000;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (120_000,) * 2);"
        "sys.exit(convert.main())"
    )
    done = _process(code, chairs, tmp_path / "out")
    print(done.stderr)
    assert done.returncode == 3 and "Traceback" not in done.stderr and "part-00000" in done.stderr
    assert not list((tmp_path / "out").glob("part-*")) and not list((tmp_path / "out").glob(".part-*"))


@pytest.mark.parametrize("fault", [lambda data: data[:20_000] + b"?" + data[20_001:], lambda data: data[:20_000]])
def test_what_was_written_is_read_back(chairs, tmp_path, monkeypatch, capsys, fault):
    usual = ms.mindrecord.FileWriter.commit

    def commit(writer):
        usual(writer)
        path = next((tmp_path / "out").glob(".part-*/*.mindrecord"))
        path.write_bytes(fault(path.read_bytes()))

    monkeypatch.setattr(ms.mindrecord.FileWriter, "commit", commit)
    assert _convert("flyingchairs", chairs, tmp_path / "out") == 3
    assert "is not in it as it was written" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("part-*"))


def test_bad_files_are_refused_before_anything_is_written(chairs, tmp_path, capsys):
    flow = chairs / "data/00005_flow.flo"
    flow.write_bytes(flow.read_bytes()[:-1])
    assert _convert("flyingchairs", chairs, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert f"{flow}: cut off" in error and "--skip-bad" in error and not (tmp_path / "out").exists()
    assert _convert("flyingchairs", tmp_path / "nowhere", tmp_path / "out") == 2
    assert "nowhere: FlyingChairs is missing" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_up_to_n_bad_pairs_are_left_out_and_reported(tmp_path, capsys):
    folder, out = tmp_path / "frames", tmp_path / "out"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), random.integers(0, 256, (40, 50, 3), np.uint8))
    intact = _open("frames", folder).digest
    damaged = folder / "2.png"
    data = bytearray(damaged.read_bytes())
    data[3000] ^= 255
    damaged.write_bytes(data)
    assert _convert("frames", folder, out, "--skip_bad", 1) == 2
    assert f"{damaged}: cannot be decoded" in capsys.readouterr().err
    assert _convert("frames", folder, out, "--skip_bad", 2) == 0
    assert capsys.readouterr().err.count(f"left out: {damaged}: cannot be decoded") == 2
    raw, pairs = _open("frames", folder), _open("frames", out)
    assert [pair.name for pair in pairs.files] == ["0", "3", "4"]
    assert pairs.note == "frames: 2 of 5 pairs were bad and are left out"
    assert len({pairs.digest, raw.digest, intact}) == 3
    for i, place in enumerate((0, 3, 4)):
        _same_pair(pairs[i], raw[place])
    assert _convert("frames", folder, out) == 2
    assert "2 bad pairs so far" in capsys.readouterr().err


def test_the_folder_of_another_conversion_is_refused(chairs, tmp_path, capsys):
    out = tmp_path / "out"
    assert _convert("flyingchairs", chairs, out) == 0
    before = {p: p.read_bytes() for p in out.iterdir()}
    shutil.copytree(chairs, tmp_path / "copy")
    assert _convert("flyingchairs", tmp_path / "copy", out) == 0
    assert _convert("flyingchairs", out, tmp_path / "again") == 2
    image = tmp_path / "copy/data/00003_img2.ppm"
    data = bytearray(image.read_bytes())
    data[-1] ^= 1
    image.write_bytes(data)
    for options, reason in (
        (("--num_shards", 2), "it was begun with --num-shards 1, not 2"),
        (("--split", "train"), "it holds flyingchairs train (9 pairs, digest"),
        (("--data_dir", tmp_path / "copy"), "it holds flyingchairs train (9 pairs, digest"),
    ):
        capsys.readouterr()
        assert _convert("flyingchairs", chairs, out, *options) == 2
        assert f"{out}: holds another conversion: {reason}" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in out.iterdir()} == before


def test_damage_to_a_converted_set_is_found(chairs, tmp_path):
    out = tmp_path / "out"
    assert _convert("flyingchairs", chairs, out) == 0
    part = out / "part-00000.mindrecord"
    data = bytearray(part.read_bytes())
    offset, size, _ = json.loads((out / "part-00000.json").read_text())["files"]["data/00002_flow.flo"]
    data[offset + size - 2] ^= 1
    part.write_bytes(data)
    pairs = _open("flyingchairs", out)
    pairs.verify()
    pairs[0]
    with pytest.raises(
        DataError, match=r"part-00000.mindrecord\[data/00002_flow.flo\]: the part is cut off or damaged"
    ):
        pairs[1]
    part.write_bytes(data[:-5])
    with pytest.raises(DataError, match=f"has {len(data) - 5} bytes where it had {len(data)}"):
        pairs.verify()
    part.unlink()
    with pytest.raises(DataError, match="part-00000.mindrecord: is missing"):
        pairs.verify()
    assert _convert("flyingchairs", chairs, out) == 0
    _same_set("flyingchairs", chairs, out, "train")
    (out / MANIFEST).write_text('{"format": 1, "sets": {"flyingchairs": {"train": {}}}}')
    with pytest.raises(DataError, match="do not fit together"):
        _open("flyingchairs", out)


def test_two_processes_do_not_convert_the_same_shard(chairs, tmp_path, capsys):
    from experiments.records import locks

    out = tmp_path / "out"
    with locks.held(out / ".shard-00000.lock"):
        assert _convert("flyingchairs", chairs, out) == 2
    assert "another process converts shard 0" in capsys.readouterr().err and not (out / MANIFEST).exists()


def test_progress_and_counts_are_shown(chairs, tmp_path, capsys):
    assert _convert("flyingchairs", chairs, tmp_path / "out") == 0
    shown = capsys.readouterr()
    assert "12 of 12 pairs, " in shown.err and " pairs/s, " in shown.err
    assert f"flyingchairs train: 9 pairs, digest {_open('flyingchairs', chairs).digest[:16]}" in shown.out
    source = sum(p.stat().st_size for p in (chairs / "data").iterdir())
    stored = sum(p.stat().st_size for p in (tmp_path / "out").glob("part-*"))
    assert f"{stored} bytes for {source} bytes of source files ({stored / source:.4f})" in shown.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "2", "--num_shards", "2"], "--shard must be 0 to 1"),
        (["--part_mb", "256"], "--part-mb must be 1 to 255"),
        (["--skip_bad", "-1"], "--skip-bad not negative"),
    ],
)
def test_wrong_usage_is_refused(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        _convert("frames", tmp_path, tmp_path / "out", *options)
    assert stopped.value.code == 2 and message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        _convert("video", tmp_path, tmp_path / "out")


def test_a_pair_larger_than_a_part_of_mindrecord_is_refused(chairs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(conversion, "LARGEST_PAGE", 40_000)
    assert _convert("flyingchairs", chairs, tmp_path / "out", "--part_mb", 1) == 3
    assert "MindRecord takes 40000" in capsys.readouterr().err
    assert not [name for name in os.listdir(tmp_path / "out") if name.startswith("part-")]
