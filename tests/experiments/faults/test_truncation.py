"""Files cut off or ending in zeros at random places: refused by name, passed over or written again, never believed."""

import itertools
import json
import os
import shutil
import signal

import numpy as np
import pytest

from analysis.report.write import write_report
from analysis.results.load import load_study
from experiments.execution import runner as execution
from experiments.execution.cost import Cost
from experiments.records import faults, json_files, run_record, search
from experiments.records.plan import StudyError, read_plan
from experiments.records.run_settings import RunSettings
from experiments.spec import canonical, default_spec, to_config
from experiments.training import checkpoints, run_files, shared_prefix
from studies import run
from studies.cli import status_view
from studies.planning import planner
from studies.planning.catalog import load
from studies.planning.planner import PlanRequest
from studies.presets import PRESETS
from studies.queue import attempts
from uflow import backend as ms
from uflow.kernels import build

STUDY = "occlusion_ablation"


def parameters(step):
    return {"weight": ms.Parameter(ms.Tensor(np.full((16, 16), step, np.float32)), name="weight")}


@pytest.mark.parametrize("suffix", [".ckpt", ".json"])
def test_damaged_checkpoints_are_passed_over(tmp_path, damaged, suffix):
    for step in (1, 2):
        checkpoints.save(tmp_path, step, parameters(step), {"of": step})
    newest = tmp_path / f"step_000000002{suffix}"
    whole = newest.read_bytes()
    for content in damaged(whole, 90):
        newest.write_bytes(content)
        found = checkpoints.latest(tmp_path)
        assert (found.step, found.memory) == (1, {"of": 1})
    oldest = tmp_path / f"step_000000001{suffix}"
    for content in damaged(oldest.read_bytes(), 3):
        oldest.write_bytes(content)
        assert checkpoints.latest(tmp_path) is None
    newest.write_bytes(whole)
    assert checkpoints.latest(tmp_path).step == 2


def test_training_does_not_begin_anew_because_a_disk_failed(tmp_path):
    """`/proc/self/mem` cannot be read from its beginning: the kernel gives the error of a broken disk."""
    for suffix in (".json", ".ckpt"):
        folder = tmp_path / suffix[1:]
        for step in (1, 2):
            checkpoints.save(folder, step, parameters(step), {})
        for step, left in ((2, 1), (1, None)):
            path = folder / f"step_{step:09d}{suffix}"
            path.unlink()
            os.symlink("/proc/self/mem", path)
            if left:
                assert checkpoints.latest(folder).step == left
        with pytest.raises((OSError, json_files.RecordError)) as raised:
            checkpoints.latest(folder)
        fault = faults.of(raised.value)
        assert "step_000000002" in str(fault) and "Input/output error" in str(fault)


def as_parameters(values):
    return {name: ms.Parameter(ms.Tensor(value), name=name) for name, value in values.items()}


def bare_checkpoint(path):
    """Writes a file without a digest and returns its values by name."""
    kernel = np.random.default_rng(4).normal(size=(3, 2, 1)).astype(np.float32)
    values = {"kernel": kernel, "step": np.array(7, np.int32)}
    checkpoints.save_parameters(path, as_parameters(values))
    path.chmod(0o644)
    return values


def test_every_damage_to_a_checkpoint_without_a_digest_is_refused_or_within_one_tensor(tmp_path):
    path = tmp_path / "bare.ckpt"
    values = bare_checkpoint(path)
    whole = path.read_bytes()
    places = {name: whole.index(value.tobytes()) for name, value in values.items()}
    inside = {place + i: name for name, place in places.items() for i in range(values[name].nbytes)}
    cut = [whole[:length] for length in range(len(whole))]
    zeroed = [whole[:length] + bytes(len(whole) - length) for length in range(places["step"])]
    set_to = as_parameters({name: np.zeros_like(value) for name, value in values.items()})
    for content in cut + zeroed + [flipped(whole, at, bit) for at in range(len(whole)) for bit in range(8)]:
        path.write_bytes(content)
        different = [at for at, (a, b) in enumerate(zip(whole, content, strict=False)) if a != b]
        if len(content) == len(whole) and different[0] == different[-1] and different[0] in inside:
            checkpoints.load_parameters(path, set_to)  # nobody can tell
            assert all(set_to[name].asnumpy().shape == value.shape for name, value in values.items())
            changed = [name for name, value in values.items() if value.tobytes() != set_to[name].asnumpy().tobytes()]
            assert changed == [inside[different[0]]]
            for parameter in set_to.values():
                parameter.set_data(ms.Tensor(np.zeros(parameter.shape), parameter.dtype))
        else:
            with pytest.raises(json_files.RecordError, match=f"^{path}: [^\n]*$"):
                checkpoints.load_parameters(path, set_to)
    assert not any(parameter.asnumpy().any() for parameter in set_to.values())


def flipped(whole, at, bit):
    return whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]


@pytest.mark.parametrize(
    "needed, message",
    [
        (np.zeros((2, 3, 1), np.float32), r"'kernel' has shape \(3, 2, 1\), the network needs \(2, 3, 1\)"),
        (np.zeros((3, 2, 1), np.int32), "'kernel' has type 'Float32', the network needs Int32"),
    ],
)
def test_a_checkpoint_of_another_shape_or_type_is_refused(tmp_path, needed, message):
    values = bare_checkpoint(tmp_path / "bare.ckpt")
    with pytest.raises(json_files.RecordError, match=message):
        checkpoints.load_parameters(tmp_path / "bare.ckpt", as_parameters(values | {"kernel": needed}))


def test_a_tensor_in_slices_is_put_together(tmp_path):
    """MindSpore writes one above 512 MiB in slices."""
    path = tmp_path / "bare.ckpt"
    values = bare_checkpoint(path)
    stored = ms.train.checkpoint_pb2.Checkpoint.FromString(path.read_bytes())
    first = stored.value[0]
    content = first.tensor.tensor_content
    rest = type(stored)()
    rest.value.add().CopyFrom(first)
    first.tensor.tensor_content, rest.value[0].tensor.tensor_content = content[:10], content[10:]
    rest.value.extend(stored.value[1:])
    del stored.value[1:]
    path.write_bytes(stored.SerializeToString() + rest.SerializeToString())
    set_to = as_parameters({name: np.zeros_like(value) for name, value in values.items()})
    checkpoints.load_parameters(path, set_to)
    loaded = ms.load_checkpoint(str(path))
    for name, value in values.items():
        assert value.tobytes() == set_to[name].asnumpy().tobytes() == loaded[name].asnumpy().tobytes()


def test_a_checkpoint_of_another_name_is_none(tmp_path):
    checkpoints.save(tmp_path, 1, parameters(1), {})
    for suffix in (".ckpt", ".json"):
        shutil.copy(tmp_path / f"step_000000001{suffix}", tmp_path / f"step_000000005{suffix}")
    described = json_files.read_json(tmp_path / "step_000000005.json") | {"file": "step_000000005.ckpt"}
    json_files.write_json(tmp_path / "step_000000005.json", described)
    assert checkpoints.latest(tmp_path).file.name == "step_000000001.ckpt"


def test_what_is_saved_after_damage_is_what_is_kept(tmp_path):
    """Damaged checkpoints of later steps must not count as the ones to keep."""
    for step in (4, 5, 6):
        checkpoints.save(tmp_path, step, parameters(step), {})
    for step in (5, 6):
        os.truncate(tmp_path / f"step_{step:09d}.ckpt", 100)
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, step, parameters(step), {})
    assert sorted(p.stem for p in tmp_path.glob("*.json")) == ["step_000000002", "step_000000003"]
    os.truncate(tmp_path / "step_000000003.ckpt", 100)
    assert checkpoints.latest(tmp_path).step == 2


LINES = [{"step": 10 * i, "learning_rate": 1e-3, "total": i / 7, "note": "Größe"} for i in range(1, 21)]


def written(path, lines):
    path.unlink(missing_ok=True)
    state = run_files.State()
    curve = run_files.CurveFile(path, state)
    for line in lines:
        curve.write(line)
    curve.close()
    state.step = lines[-1]["step"]
    return state


def test_no_number_of_a_damaged_curve_is_a_wrong_one(tmp_path, damaged):
    path = tmp_path / "metrics.jsonl"
    written(path, LINES)
    for content in damaged(path.read_bytes(), 150):
        path.write_bytes(content)
        found = list(run_record.read_metrics(path))
        assert found == LINES[: len(found)] and len(found) in (content.count(b"\n"), content.count(b"\n") + 1)


def test_a_damaged_curve_goes_on_without_torn_lines(tmp_path, damaged, capsys, chance):
    """Of the lines that a checkpoint knows of the whole ones are kept, and what is lost is said."""
    path = tmp_path / "metrics.jsonl"
    state = written(path, LINES[:12])
    known = path.read_bytes()
    for content in damaged(known, 150):
        path.write_bytes(content)
        whole = list(run_record.read_metrics(path))
        resumed = run_files.State.of(checkpoints.Checkpoint(state.step, path, state.memory()))
        curve = run_files.CurveFile(path, resumed)
        curve.write(LINES[12])
        curve.close()
        assert [json.loads(text) for text in path.read_text().splitlines()] == [*whole, LINES[12]]
        assert resumed.metrics_bytes == path.stat().st_size
        assert (
            f"{path}: cut off or damaged before step 120; {len(whole)} whole lines are kept" in capsys.readouterr().out
        )


def test_what_is_behind_the_part_that_counts_is_dropped(tmp_path, chance, capsys):
    """A copied tail, zeros, later lines, half a line: none counts, for the checkpoint knows what was there."""
    path = tmp_path / "metrics.jsonl"
    state = written(path, LINES[:12])
    known = path.read_bytes()
    written(path, LINES)
    later = path.read_bytes()
    for _ in range(60):
        tails = (
            known[-chance.randrange(1, 500) :],
            bytes(chance.randrange(1, 5000)),
            later[len(known) :][: chance.randrange(900)],
        )
        path.write_bytes(known + chance.choice(tails))
        resumed = run_files.State.of(checkpoints.Checkpoint(state.step, path, state.memory()))
        run_files.CurveFile(path, resumed).close()
        assert path.read_bytes() == known
    assert capsys.readouterr().out == ""


def test_a_copied_tail_doubles_no_line(tmp_path, chance):
    path = tmp_path / "metrics.jsonl"
    written(path, LINES)
    known = path.read_bytes()
    for _ in range(60):
        path.write_bytes(known + known[-chance.randrange(1, len(known)) :])
        assert list(run_record.read_metrics(path)) == LINES


def test_a_curve_whose_bytes_have_changed_is_noticed(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    state = written(path, LINES[:12])
    path.write_bytes(path.read_bytes().replace(b'"step": 50', b'"step": 5x'))
    run_files.CurveFile(path, run_files.State.of(checkpoints.Checkpoint(state.step, path, state.memory()))).close()
    assert "11 whole lines are kept" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["metrics.jsonl", "step_000000030.ckpt", "step_000000030.json"])
def test_a_damaged_prefix_is_passed_over_and_written_again(tmp_path, damaged, name):
    place = run_files.Place(directory=tmp_path / "run", settings=RunSettings(out=tmp_path))
    place.directory.mkdir()
    folder = tmp_path / "prefix"
    state = written(place.metrics, LINES[:3])
    shared_prefix.save_prefix(folder, state, parameters(30), place)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert shared_prefix.load_prefix(folder)[1] == place.metrics.read_bytes()
    for content in itertools.chain(damaged(whole[name], 30), [None]):
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        found = shared_prefix.load_prefix(folder)
        # zeros behind the part that counts do no harm
        assert found is None or (name == "metrics.jsonl" and content.startswith(whole[name]))
        shared_prefix.save_prefix(folder, state, parameters(30), place)
        assert shared_prefix.load_prefix(folder) is not None
    (folder / name).unlink()
    os.symlink("/proc/self/mem", folder / name)
    assert shared_prefix.load_prefix(folder) is None, "a disk that fails costs the others the prefix only"


def test_a_damaged_cost_is_written_anew(tmp_path, damaged):
    cost = Cost(tmp_path)
    cost.write()
    path = tmp_path / "cost.json"
    for content in damaged(path.read_bytes(), 60):
        path.write_bytes(content)
        Cost(tmp_path).write()
        found = json_files.read_json(path)
        assert found["attempts"] == 1 and 0 <= found["seconds"] < 60


def test_a_damaged_spec_is_written_again(tmp_path, damaged, capsys):
    path = tmp_path / "spec.json"
    execution._write_spec(tmp_path, default_spec())
    whole = path.read_bytes()
    for content in damaged(whole, 60):
        path.write_bytes(content)
        execution._write_spec(tmp_path, default_spec())
        assert path.read_bytes() == whole
        assert f"warning: {path}: not valid JSON" in capsys.readouterr().out


def test_a_damaged_result_is_set_aside(tmp_path, damaged, capsys):
    spec = default_spec()
    directory = tmp_path / spec.directory
    directory.mkdir()
    path = directory / "result.json"
    record = execution._record(spec, "completed", metrics={"epe/synthetic/all": 1.5})
    run_record.write_result(directory, record)
    for content in damaged(path.read_bytes(), 60):
        path.write_bytes(content)
        assert execution._finished(directory, spec) is None
        assert not path.exists() and (directory / "result.json.damaged").read_bytes() == content
        assert "result.json: not valid JSON" in capsys.readouterr().out
    run_record.write_result(directory, record)
    assert execution._finished(directory, spec) == record


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A planned study whose runs are all done, and that also has a search."""
    out = tmp_path_factory.mktemp("study")
    plan = planner.make(load(STUDY), PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1)))
    for number, planned in enumerate(plan.runs):
        directory = out / "runs" / planned.directory
        directory.mkdir(parents=True)
        json_files.write_json(directory / "spec.json", to_config(planned.spec))
        json_files.write_json(directory / "cost.json", {"seconds": 1.0 + number, "attempts": 1})
        record = run_record.RunRecord(
            run_id=planned.spec.run_id, status="completed", spec=canonical(planned.spec), validation={},
            metrics={name: 2.0 + number for name in plan.metrics}, protocol=planned.spec.evaluation.numbers,
        )  # fmt: skip
        run_record.write_result(directory, record)
    (out / STUDY).mkdir()
    json_files.write_json(out / STUDY / "plan.json", plan.plain())
    trial = search.Trial(number=0, changes={"train.learning_rate": 1e-4}, run="x", state="completed", value=2.0)
    search.write(out / STUDY / "search.json", plan.metrics[0], 1, {"wang": [trial]}, {}, {"wang": {}})
    return out, plan


@pytest.fixture
def copied(study, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(study[0], out)
    return out, study[1]


def test_a_damaged_result_is_named_by_report_and_status(copied, damaged, capsys):
    out, plan = copied
    planned = plan.runs[0]
    path = out / "runs" / planned.directory / "result.json"
    for number, content in enumerate(damaged(path.read_bytes(), 40)):
        path.write_bytes(content)
        data = load_study(out / STUDY)
        assert (planned.arm, planned.seed) not in data.records and len(data.records) == len(plan.runs) - 1
        assert [str(path) in problem for problem in data.problems] == [True]
        assert f"{path}: not valid JSON" in attempts.failed(path.parent)
        found = status_view.status(out / STUDY)
        assert found["counts"]["failed"] == 1 and found["counts"]["completed"] == len(plan.runs) - 1
        if number == 0:
            assert str(path) in "".join(write_report(out / STUDY).text.split()), "lines are wrapped"
            assert run.main([STUDY, "--preset", "smoke", "--out", str(out), "--status"]) == 0
            assert str(path) in capsys.readouterr().out


def test_a_damaged_cost_leaves_the_numbers(copied, damaged):
    out, plan = copied
    path = out / "runs" / plan.runs[0].directory / "cost.json"
    for content in damaged(path.read_bytes(), 10):
        path.write_bytes(content)
        data = load_study(out / STUDY)
        assert len(data.records) == len(plan.runs) and len(data.costs) == len(plan.runs) - 1


def test_a_damaged_search_is_named(copied, damaged):
    out, plan = copied
    path = out / STUDY / "search.json"
    for content in damaged(path.read_bytes(), 30):
        path.write_bytes(content)
        data = load_study(out / STUDY)
        assert data.search is None and [str(path) in problem for problem in data.problems] == [True]
        with pytest.raises(json_files.RecordError, match="search.json"):
            search.read_search(path.parent)
        assert len(data.records) == len(plan.runs)


@pytest.mark.parametrize("options", [["--status"], ["--report-only"], ["--plan"], []])
def test_a_damaged_plan_is_refused_by_every_command(copied, damaged, capsys, options):
    out, plan = copied
    path = out / STUDY / "plan.json"
    for content in damaged(path.read_bytes(), 15):
        path.write_bytes(content)
        with pytest.raises(StudyError, match="plan.json"):
            read_plan(out / STUDY)
        before = sorted(out.rglob("*"))
        assert run.main([STUDY, "--preset", "smoke", "--seeds", "2", "--out", str(out), *options]) == 2
        said = capsys.readouterr().err
        assert f"{path}: not valid JSON" in said and len(said.splitlines()) == 1
        assert sorted(out.rglob("*")) == before and path.read_bytes() == content


def damage(path, damaged):
    path.write_bytes(next(damaged(path.read_bytes(), 1)))


@pytest.mark.slow
def test_a_run_goes_on_from_damaged_files_with_the_same_bits(undisturbed, same, runner, damaged, chance, tmp_path):
    """Whatever a power cut may leave of a run; then the end of the finished one is damaged and made again."""
    runner.stopped(tmp_path, "before step", 24, "--checkpoint-seconds", "0").go_on(signal.SIGKILL)
    found = runner.only_run(tmp_path)
    newest, older = sorted(found.glob("checkpoints/*.json"))[:-3:-1]
    damage(newest.with_suffix(chance.choice([".json", ".ckpt"])), damaged)
    for name in ("spec.json", "cost.json", "sacred.json"):
        damage(found / name, damaged)
    for name in ("cost.json", "metrics.jsonl", "result.json"):
        (found / f".{name}.abcdefgh.tmp").write_bytes(b"half")
    with open(found / "metrics.jsonl", "ab") as curve:
        curve.write(b'{"step": 30, "tot' + bytes(chance.randrange(1, 4096)))
    runner.finish(tmp_path, "--checkpoint-seconds", "1000")
    assert json_files.read_json(found / "cost.json")["started_at_step"] == int(older.stem[5:])
    same(undisturbed, found)
    assert not list(found.rglob(".*")), "nothing half is left behind"
    damage(found / "result.json", damaged)
    runner.finish(tmp_path)
    assert (found / "result.json.damaged").exists()
    same(undisturbed, found)
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


@pytest.mark.slow
def test_damaged_graphs_are_compiled_again(undisturbed, same, runner, chance, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    shutil.copy2(build.library(), cache)
    monkeypatch.setenv("UFLOW_CACHE", str(cache))
    runner.finish(tmp_path / "first", anew=True)
    stored = sorted((cache / "graphs").rglob("*.mindir"))
    assert stored
    for path in stored:
        os.chmod(path, 0o644)
        os.truncate(path, chance.randrange(path.stat().st_size))
    run_directory = runner.finish(tmp_path / "second", anew=True)
    same(undisturbed, run_directory)
    log = (tmp_path / "second" / "log.txt").read_text()
    assert "MindIR" not in log, "MindSpore was not even asked to read them"
