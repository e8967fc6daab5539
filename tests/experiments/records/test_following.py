"""A growing learning curve: whatever is read is read once, and what was begun again is begun again."""

import json

from experiments.records import json_files, run_record
from experiments.records.following import Following
from studies.launchers.progress_line import Progress
from studies.queue.pruning import PruningThresholds, watch


def text(*steps):
    return b"".join(json.dumps({"step": step, "total": 1.0 / step}).encode() + b"\n" for step in steps)


def steps(found):
    return [line["step"] for line in found[0]], found[1]


def append(path, data):
    with open(path, "ab") as file:
        file.write(data)


def test_each_line_is_seen_once_however_it_is_written(tmp_path):
    path, whole = tmp_path / "metrics.jsonl", text(*range(1, 9))
    following, seen = Following(path), []
    assert following.look() == ([], False)
    for byte in whole:
        append(path, bytes([byte]))
        seen += following.look()[0]
    assert seen == list(run_record.read_metrics(path)) and len(seen) == 8


def test_a_curve_that_is_cut_to_a_checkpoint_is_begun_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(text(1, 2, 3))
    following = Following(path)
    assert steps(following.look()) == ([1, 2, 3], True)
    json_files.atomic_write(path, text(1, 2))
    append(path, text(3, 4, 5))  # more than before, but another file
    assert steps(following.look()) == ([1, 2, 3, 4, 5], True)
    assert steps(following.look()) == ([], False)
    path.write_bytes(text(1, 3, 4, 5, 6, 7))  # the same file, and longer
    assert steps(following.look()) == ([1, 3, 4, 5, 6, 7], True)
    path.write_bytes(text(1))
    assert steps(following.look()) == ([1], True)
    path.unlink()
    assert following.look() == ([], True)


def test_looking_at_a_long_curve_reads_what_was_added(tmp_path, monkeypatch):
    """The bytes that are parsed are counted, whoever looks."""
    path = tmp_path / "runs" / "a-wang_s0__0123456789ab" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(text(1) + b'{"step": 2, "total": 0.25}\n' * 20_000)
    parsed = []
    parse = run_record.whole_lines
    monkeypatch.setattr(run_record, "whole_lines", lambda data: parsed.append(len(data)) or parse(data))
    monkeypatch.setattr("studies.launchers.progress_line.locks.is_free", lambda path: False)
    progress = Progress(tmp_path / "runs", {path.parent.name: 10})
    should_prune = watch(PruningThresholds(metric="m", limits=((3, 1.0),)), path.parent)
    assert "2/10" in progress.line() and not should_prune() and sum(parsed) == 2 * path.stat().st_size > 1e6
    parsed.clear()
    for step in range(3, 9):
        append(path, text(step))
        assert f"{step}/10" in progress.line() and not should_prune()
    assert sum(parsed) == 2 * len(text(*range(3, 9)))
    append(path, b'{"step": 9, "validation/m": 2.0}\n')
    assert not should_prune()  # there is no limit at step 9
    append(path, b'{"step": 3, "validation/m": 2.0}\n')
    assert should_prune() and should_prune()
