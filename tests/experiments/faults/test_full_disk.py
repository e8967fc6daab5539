"""A full disk while anything is written: one sentence, exit code 5, no result, and the same bits once there is room."""

import dataclasses
import fnmatch
import json
import os
import resource

import numpy as np
import pytest

from experiments.execution import runner as execution
from experiments.execution.cost import Cost
from experiments.records import json_files, run_record
from experiments.spec import default_spec
from experiments.training import checkpoints, graph_cache, run_files
from uflow import backend as ms

RECORD = run_record.RunRecord(
    run_id="0123456789ab", status="completed", step=5, spec={"seed": 0}, protocol="full/1",
    metrics={"epe/x/all": 1.25}, validation={}, frames={"epe/x/all": tuple(i / 7 for i in range(3000))},
)  # fmt: skip


def files_in(folder):
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "filler")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def parameters(step):
    value = np.full((64, 512), step, np.float32)  # 128 KiB
    return {name: ms.Parameter(ms.Tensor(value), name=name) for name in ("first", "second")}


WRITES = {
    "a result": (lambda place: run_record.write_result(place, RECORD), "result.json"),
    "a checkpoint": (
        lambda place: checkpoints.save(place / "checkpoints", 2, parameters(2), {}), "checkpoints/step_000000002.ckpt"
    ),
    "a spec": (lambda place: execution._write_spec(place, default_spec()), "spec.json"),
    "a cost": (lambda place: Cost(place), "cost.json"),
}  # fmt: skip


@pytest.mark.parametrize(
    "what, kib",
    [("a spec", 0), ("a cost", 0), *(("a result", n) for n in (0, 4, 40)), *(("a checkpoint", n) for n in (0, 4, 252))],
)
def test_what_was_whole_stays_whole_and_nothing_half_is_left(make_disk, what, kib):
    """With room for none of it, for its first block, or for most of it."""
    write, name = WRITES[what]
    disk = make_disk(1024)
    for _ in range(2):  # the second time it is replaced, or written beside the one before
        write(disk.place)
    if what == "a checkpoint":
        checkpoints.save(disk.place / "checkpoints", 1, parameters(1), {})
    before = files_in(disk.place)
    disk.fill()
    os.truncate(disk.filler, disk.filler.stat().st_size - 1024 * kib)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write(disk.place)
    assert raised.value.filename == str(disk.place / name)
    assert files_in(disk.place) == before, "the old files, and no temporary one"
    disk.make_room()
    write(disk.place)
    assert set(files_in(disk.place)) >= set(before)


def test_a_line_that_was_half_written_is_cut_off(make_disk):
    disk = make_disk(64)
    path, state = disk.place / "metrics.jsonl", run_files.State()
    curve = run_files.CurveFile(path, state)
    disk.fill()
    os.truncate(disk.filler, disk.filler.stat().st_size - 4096)
    with pytest.raises(OSError, match="No space left on device") as raised:
        for step in range(1, 1000):
            curve.write({"step": step, "total": step / 7})
            kept = dataclasses.replace(state, step=step)
    assert raised.value.filename == str(path)
    with pytest.raises(OSError):
        curve.close()
    disk.make_room()
    assert path.stat().st_size == 4096 > kept.metrics_bytes, "the last line is torn"
    assert [line["step"] for line in run_record.read_metrics(path)] == list(range(1, kept.step + 1))
    curve = run_files.CurveFile(path, kept)
    curve.write({"step": kept.step + 1, "total": 0.5})
    curve.close()
    assert [json.loads(text)["step"] for text in path.read_text().splitlines()] == list(range(1, kept.step + 2))


def test_graphs_that_did_not_fit_are_not_taken_for_whole(make_disk):
    disk, spec = make_disk(64), default_spec()
    for room in (False, True):
        try:
            with graph_cache.stored(disk.place, spec, 0) as stored:
                folder = disk.place / graph_cache.graph_key(spec, 0)
                assert not list(folder.iterdir()), "compiled anew"
                (folder / "graph").write_bytes(b"graph" * 100)
                if not room:
                    disk.fill()  # MindSpore says nothing of it
                stored.complete = True
        finally:
            execution.device.leave_compile_cache()
        assert graph_cache._whole(folder) is room
        if not room:
            disk.make_room()
    (folder / "graph").write_bytes(b"graph" * 99)
    assert not graph_cache._whole(folder)


class Place:
    """A run on a small disk, with its log on it or elsewhere."""

    def __init__(self, runner, disk, log=None):
        self.runner, self.disk, self.log, self.out = runner, disk, log, disk.place / "out"
        self.out.mkdir()
        if log:
            log.touch()
            os.symlink(log, self.out / "log.txt")

    def full_at(self, kind, number, *options):
        process = self.runner.stopped(self.out, kind, number, *options)
        self.disk.fill()
        return process.go_on()


MOMENTS = {
    "a metric line": ("before step", 0, ("--checkpoint-seconds", "1000"), "metrics.jsonl"),
    "a checkpoint": ("before step", 12, ("--checkpoint-seconds", "0"), "step_000000013.ckpt"),
    "the result": ("saved", 60, ("--checkpoint-seconds", "1000"), "cost.json"),
    "a prefix": (
        "before step", 12, ("--checkpoint-seconds", "1000", "--shared-steps", "30"), "prefixes/*/metrics.jsonl"
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_goes_on_when_there_is_room_again(undisturbed, same, runner, make_disk, tmp_path, moment):
    kind, number, options, named = MOMENTS[moment]
    place = Place(runner, make_disk(4096), tmp_path / "log.txt")
    code = place.full_at(kind, number, *options)
    log = place.log.read_text()
    assert code == 5, log
    said = [line for line in log.splitlines() if "the disk is full" in line]
    assert len(said) == 1 and "Traceback" not in log, log
    file, rest = said[0].removeprefix("experiments.run: ").split(": ", 1)
    assert fnmatch.fnmatch(file, f"*/{named}"), file
    assert "No space left on device" in rest and "is not finished, the same command continues it" in rest
    run = runner.only_run(place.out)
    assert not (run / "result.json").exists() and not list(run.rglob("*.tmp"))
    whole = checkpoints.latest(run / "checkpoints")
    place.disk.make_room()
    runner.finish(place.out, *options)
    assert json_files.read_json(run / "cost.json")["started_at_step"] == (whole.step if whole else 0)
    same(undisturbed, run)


@pytest.mark.slow
def test_a_log_on_the_full_disk_does_not_change_the_exit_code(runner, make_disk):
    place = Place(runner, make_disk(4096))
    assert place.full_at("before step", 0) == 5
    assert not list(place.out.glob("runs/*/result.json"))


def test_a_disk_that_is_full_beforehand_is_no_place_to_start(runner, make_disk, tmp_path):
    place = Place(runner, make_disk(1024), tmp_path / "log.txt")
    place.disk.fill()
    assert place.runner.start_anew(place.out).wait() == 5
    assert place.log.read_text() == (
        f"experiments.run: --out {place.out}: cannot be written to (No space left on device)\n"
    )
    assert sorted(os.listdir(place.out)) == ["log.txt"]


@pytest.mark.slow
def test_files_that_may_not_be_so_large_are_no_result(undisturbed, same, runner, tmp_path):
    """What a limit of the shell (`ulimit -f`) or of a batch system does; needs no rights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, before[1]))
    try:
        process = runner.start(tmp_path, "--checkpoint-seconds", "0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    code, log = process.wait(), (tmp_path / "log.txt").read_text()
    assert code == 5 and "Traceback" not in log, log
    assert "step_000000001.ckpt: the file would be larger than the limit (ulimit -f) (File too large)" in log
    assert not list(tmp_path.glob("runs/*/result.json"))
    same(undisturbed, runner.finish(tmp_path))
