"""Run files are there whole or not at all, and a damaged one is named."""

import dataclasses
import json
import os

import pytest

from experiments.records import faults, json_files, run_record

RECORD = run_record.RunRecord(
    run_id="0123456789ab", status="completed", step=5, spec={"seed": 0}, protocol="full/1",
    metrics={"epe/x/all": 1.25}, validation={}, frames={"epe/x/all": (1.0, None, 1.5)},
)  # fmt: skip


@pytest.fixture
def run(tmp_path):
    directory = tmp_path / "some_run__0123456789ab"
    directory.mkdir()
    run_record.write_result(directory, RECORD)
    return directory


def test_a_result_is_read_back(run):
    assert run_record.read_result(run) == RECORD


def test_a_result_is_written_the_same_each_time(run):
    before = (run / "result.json").read_bytes()
    run_record.write_result(run, RECORD)
    assert (run / "result.json").read_bytes() == before
    assert sorted(os.listdir(run)) == ["result.json"]


def test_every_truncation_is_refused_by_name(run):
    whole = (run / "result.json").read_bytes()
    for size in range(len(whole) - 1):  # without the last newline it is still whole
        (run / "result.json").write_bytes(whole[:size])
        with pytest.raises(json_files.RecordError, match="result.json"):
            run_record.read_result(run)


def test_no_flipped_bit_gives_another_number(run):
    path = run / "result.json"
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = run_record.check_result(json.loads(damaged.decode()), str(path), RECORD.run_id)
        except ValueError:  # not JSON, or a `RecordError`
            refused += 1
        else:
            assert found == RECORD, f"bit {place}: another result was accepted"
    assert refused > 0.8 * 8 * len(whole)  # the rest is white space, and capitals in escapes


def test_a_result_without_its_checksum_is_damaged_unless_it_is_of_the_format_that_had_none(run):
    path = run / "result.json"
    plain = json.loads(path.read_text())
    old = {key: value for key, value in plain.items() if key != "checksum"} | {"format": 1}
    path.write_text(json.dumps(old))
    assert run_record.read_result(run) == RECORD
    for damaged in (old | {"format": 2}, plain | {"format": 1}, old | {"checksun": plain["checksum"], "format": 2},
                    plain | {"checksum": None}, plain | {"step": 6}):  # fmt: skip
        path.write_text(json.dumps(damaged))
        with pytest.raises(json_files.DamagedError, match="checksum differs"):
            run_record.read_result(run)


def test_json_that_is_nested_too_deeply_is_damaged(run):
    (run / "result.json").write_text("[" * 200_000 + "]" * 200_000)
    with pytest.raises(json_files.DamagedError, match="nested too deeply"):
        run_record.read_result(run)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 7}, "not a run record of format 2"),
        ({"status": "fine"}, "unknown status 'fine'"),
        ({"metrics": {"epe/x/all": None}}, "metrics must map names to finite numbers"),
        ({"metrics": {"epe/x/all": "1.2"}}, "metrics must map names to finite numbers"),
        ({"frames": {"epe/x/all": 3}}, "frames must map names to lists"),
        ({"run_id": "ffffffffffff"}, "holds run ffffffffffff"),
        ({"run_id": ""}, "run_id must be text"),
        ({"run_id": 12}, "run_id must be text"),
        ({"spec": []}, "spec an object"),
        ({"surprise": 1}, "unknown entries: surprise"),
    ],
)
def test_a_foreign_result_is_refused(run, change, message):
    plain = json.loads((run / "result.json").read_text()) | change
    (run / "result.json").write_text(json.dumps(run_record.sealed(plain)))
    with pytest.raises(json_files.RecordError, match=message):
        run_record.read_result(run)


def test_nan_is_never_written(run):
    before = (run / "result.json").read_bytes()
    bad = dataclasses.replace(RECORD, metrics={"epe/x/all": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        run_record.write_result(run, bad)
    assert (run / "result.json").read_bytes() == before and sorted(os.listdir(run)) == ["result.json"]


def test_a_cut_off_last_line_of_metrics_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10, "total": 1.0}\n{"step": 20, "total": 0.5}\n{"step": 30, "tot')
    assert [line["step"] for line in run_record.read_metrics(path)] == [10, 20]
    assert list(run_record.read_metrics(tmp_path / "none.jsonl")) == []


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    json_files.write_json(path, {"old": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        json_files.write_json(path, {"new": 2})
    assert json_files.read_json(path) == {"old": 1} and os.listdir(tmp_path) == ["file.json"]


def test_a_file_that_cannot_be_put_in_its_place_is_named_alone(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError) as caught:
        json_files.write_json(tmp_path / "a.json", {})
    assert str(caught.value).endswith("a.json'")
    for first in (OSError(28, "full"), OSError(28, "full", "a", None, "b")):
        with pytest.raises(OSError) as caught, faults.naming("here"):
            raise first
        assert str(caught.value) == "[Errno 28] full: 'here'"
