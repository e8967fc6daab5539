"""Data in a read-only place, and data whose values are not numbers: nothing is written there, no NaN is reported."""

import hashlib
import json
import math
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from experiments.data.catalog import open_source
from experiments.data.files.flow import write_flo, write_kitti_flow
from experiments.data.files.image import image_size, read_image
from experiments.data.pairs import DataError
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.scenes import Scenes
from experiments.evaluation.protocols import OF_STUDIES
from experiments.records import json_files, run_record

ROOT = pathlib.Path(__file__).parents[3]
HEIGHT, WIDTH = 32, 48
NAN, INF = float("nan"), float("inf")


def flows():
    """The true flow of every pair; what is not a number, or 1e9 and more, is unknown."""
    partly, huge = np.full((2, HEIGHT, WIDTH), 0.5, np.float32), np.full((2, HEIGHT, WIDTH), -0.5, np.float32)
    partly[:, :8] = NAN
    partly[0, 8] = INF
    huge[:, :, :10] = 1.5e9
    huge[1, 0] = -INF
    return [partly, huge, np.full((2, HEIGHT, WIDTH), NAN, np.float32), *np.zeros((3, 2, HEIGHT, WIDTH), np.float32)]


def frames():
    """Two ordinary pairs, then black, white, black to white, and one more ordinary pair."""
    scenes = Scenes(SceneOptions(test_pairs=3), HEIGHT, WIDTH, "test")
    real = [(pair.first, pair.second) for pair in (scenes[i] for i in range(3))]
    black, white = (np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (0, 255))
    return [*real[:2], (black, black), (white, white), (black, white), real[2]]


def write_chairs(folder):
    for number, (flow, pair) in enumerate(zip(flows(), frames(), strict=True), 1):
        for side, image in zip(("img1", "img2"), pair, strict=True):
            cv2.imwrite(str(folder / f"{number:05d}_{side}.ppm"), image[..., ::-1])
        write_flo(folder / f"{number:05d}_flow.flo", flow)


def content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


@pytest.fixture
def read_only(make_disk, tmp_path):
    """A folder of odd pairs on a file system that is read-only, or, without the right to mount, a folder that is."""
    if os.geteuid():
        folder = tmp_path / "data"
        folder.mkdir()
        write_chairs(folder)
        os.chmod(folder, 0o555)
    else:
        folder = make_disk(1024).place
        write_chairs(folder)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    with pytest.raises(OSError):
        (folder / "probe").touch()
    yield folder
    os.access(folder, os.W_OK) or os.geteuid() and os.chmod(folder, 0o755)


def finish(command, out):
    out.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=out, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout


def numbers(value):
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [value] if isinstance(value, float) else []


@pytest.mark.slow
def test_everything_works_from_a_read_only_place_with_odd_values(runner, read_only, tmp_path):
    before, source = content(read_only), f"flyingchairs:{read_only}"
    finish(
        ["studies.run", "occlusion_ablation", "--preset", "smoke", "--data", source, "--plan", "--out", tmp_path / "s"],
        tmp_path,
    )

    run = runner.finish(tmp_path / "out", "--data", source, **{"train.steps": 20})
    record = run_record.read_result(run)
    (row,) = record.frames.values()
    assert set(record.metrics) == {"epe/flyingchairs/all"} and record.status == "completed"
    assert [value is None for value in row] == [False, False, True, False, False, False]
    known = [value for value in row if value is not None]
    assert record.metrics["epe/flyingchairs/all"] == pytest.approx(np.mean(known)) and max(known) < 1000
    curve = list(run_record.read_metrics(run / "metrics.jsonl"))
    assert [line["step"] for line in curve] == [10, 20]
    for plain in (json.loads((run / "result.json").read_text()), *curve):
        assert all(math.isfinite(number) for number in numbers(plain))

    finish(["experiments.evaluate", "--checkpoint", run, "--eval_on", source, "--out", tmp_path / "e"], tmp_path)
    found = json_files.read_json(tmp_path / "e" / "evaluation.json")["numbers"]
    assert found["epe/flyingchairs/all"]["value"] == record.metrics["epe/flyingchairs/all"]
    assert found["epe/flyingchairs/all"]["frames"] == 5

    converted = tmp_path / "converted"
    finish(["experiments.convert", "flyingchairs", "--data_dir", read_only, "--output_dir", converted], tmp_path)
    one, other = (open_source(f"flyingchairs:{place}", "test", height=1, width=1, scenes=SceneOptions())
                  for place in (read_only, converted))  # fmt: skip
    assert one.digest == other.digest
    assert content(read_only) == before


def error_of(flow, pair):
    return OF_STUDIES.totals("data", pair, flow)["epe/all"].mean


def test_errors_are_those_of_the_known_pixels(tmp_path):
    """A flow of zeros is off by sqrt(1/2) px wherever the first two truths are known, and by nothing else."""
    write_chairs(tmp_path)
    pairs = open_source(f"flyingchairs:{tmp_path}", "test", height=HEIGHT, width=WIDTH, scenes=SceneOptions())
    zero = np.zeros((2, HEIGHT, WIDTH), np.float32)
    errors = [error_of(zero, pairs[index]) for index in range(6)]
    assert errors[:2] == [pytest.approx(0.5**0.5, abs=1e-12)] * 2 and errors[2:] == [None, 0.0, 0.0, 0.0]
    known = [HEIGHT * WIDTH if p.valid is None else int(p.valid.sum()) for p in (pairs[i] for i in range(6))]
    assert known == [23 * 48, 31 * 38, 0, 1536, 1536, 1536]
    assert all(np.isfinite(pairs[index].flow).all() for index in range(6))


def test_flow_that_is_known_nowhere_is_refused_before_training(runner, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_chairs(data)
    for path in data.glob("*.flo"):
        write_flo(path, np.full((2, HEIGHT, WIDTH), NAN, np.float32))
    out = tmp_path / "out"
    assert runner.start_anew(out, "--data", f"flyingchairs:{data}").wait() == 2
    log = (out / "log.txt").read_text()
    assert "flyingchairs has no pixel to evaluate on: in none of its 6 pairs is the flow known anywhere" in log
    assert sorted(os.listdir(out)) == ["log.txt"] and "Traceback" not in log


def test_kitti_without_a_known_pixel(tmp_path):
    for images in ("image_2", "flow_occ"):
        (tmp_path / "training" / images).mkdir(parents=True)
    zero = np.zeros((2, HEIGHT, WIDTH), np.float32)
    for number, known in enumerate((np.zeros((HEIGHT, WIDTH), bool), np.eye(HEIGHT, WIDTH, dtype=bool))):
        for frame in (10, 11):
            cv2.imwrite(str(tmp_path / f"training/image_2/{number:06d}_{frame}.png"), frames()[0][0])
        write_kitti_flow(tmp_path / f"training/flow_occ/{number:06d}_10.png", zero, known)
    pairs = open_source(f"kitti2015:{tmp_path}", "test", height=HEIGHT, width=WIDTH, scenes=SceneOptions())
    assert [error_of(zero + 3, pairs[i]) for i in (0, 1)] == [None, pytest.approx(18**0.5)]


@pytest.mark.parametrize("kind, suffix", [("Pf", ".pgm"), ("PF", ".ppm")])
def test_images_of_floating_point_values_are_refused_by_name(tmp_path, kind, suffix):
    """OpenCV reads 0.5 as 0 and NaN as 0: a sound frame would be black."""
    path = tmp_path / f"frame{suffix}"
    values = np.full((HEIGHT, WIDTH, 1 if kind == "Pf" else 3), 0.5, "<f4")
    values[0, 0] = NAN
    path.write_bytes(f"{kind}\n{WIDTH} {HEIGHT}\n-1.0\n".encode() + values.tobytes())
    for read in (image_size, read_image):
        with pytest.raises(DataError, match=f"frame{suffix}"):
            read(path)
