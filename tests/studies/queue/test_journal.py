"""Journals of the queue and of a search: cut, zeroed, flipped, on a full disk, after a kill."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys

import launching
import pytest
from test_many_workers import check_complete, launch, terminal

from experiments.records import locks, run_record
from studies.queue import journal
from studies.queue.job import Job
from studies.queue.journal import SEAL, Journal, JournalError
from studies.queue.journal_queue import Queue
from studies.search import tuning
from studies.search.sampler import Sweep

BUDGET = 6


def lines(count, start=0):
    return [{"op_code": 4, "number": number, "text": "ü" * number} for number in range(start, start + count)]


def filled(path, count=5):
    made = Journal(path)
    for line in lines(count):
        made.append_logs([line])
    return path.read_bytes()


def read(path):
    return list(Journal(path).read_logs(0))


def test_what_was_written_is_read_by_the_writer_and_by_others_as_it_comes(tmp_path):
    here, there = Journal(tmp_path / "j"), Journal(tmp_path / "j")
    assert list(here.read_logs(0)) == []
    here.append_logs(lines(2))
    assert list(there.read_logs(0)) == list(here.read_logs(0)) == lines(2)
    there.append_logs(lines(1, 2))
    assert list(here.read_logs(2)) == lines(1, 2) and list(there.read_logs(3)) == []
    assert list(here.read_logs(1)) == lines(2, 1), "what was asked for before may be asked for again"
    assert read(tmp_path / "j") == lines(3)


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "j"
    whole = filled(path)
    for place in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = read(path)
        except JournalError as error:
            assert str(path) in str(error)
        else:
            assert found == lines(4) and place // 8 == len(whole) - 1, place  # the last line is no line any more


def test_a_line_that_is_lost_doubled_or_out_of_order_is_noticed(tmp_path):
    path = tmp_path / "j"
    first, second, third, *rest = filled(path).splitlines(keepends=True)
    for wrong in ([second, third], [first, third], [first, first, second], [first, third, second], [second]):
        path.write_bytes(b"".join(wrong + rest[:1]))
        with pytest.raises(JournalError):
            read(path)


def test_a_last_line_that_was_cut_off_gives_its_place_to_the_next(tmp_path):
    path = tmp_path / "j"
    whole = filled(path)
    for cut in range(len(whole)):
        for tail in (b"", b"\0" * 9):
            path.write_bytes(whole[:cut] + tail)
            known = whole[:cut].count(b"\n")
            made = Journal(path)
            assert list(made.read_logs(0)) == lines(known)
            made.append_logs([{"op_code": 9}])
            assert read(path) == [*lines(known), {"op_code": 9}]


def test_a_journal_of_an_earlier_version_is_continued_and_then_sealed(tmp_path):
    path = tmp_path / "j"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines(2)))
    Journal(path).append_logs(lines(1, 2))
    assert read(path) == lines(3)
    path.write_bytes(path.read_bytes().replace(b'"number": 1', b'"number": 7'))
    with pytest.raises(JournalError, match="line 3 is not what was written"):
        read(path)


def test_a_full_disk_is_named_and_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "j"
    whole, made = filled(path), Journal(path)

    def full(descriptor, data):
        os.write(descriptor, data[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_write", full)
        with pytest.raises(OSError, match="No space left") as raised:
            made.append_logs(lines(1, 5))
        assert raised.value.filename == str(path) and path.read_bytes() == whole
    made.append_logs(lines(1, 5))
    assert read(path) == lines(6)


KILLED = """
import os, pathlib, signal, sys
from studies.queue import journal
def dying(descriptor, data):
    os.write(descriptor, data[:20])
    os.kill(os.getpid(), signal.SIGKILL)
journal._write = dying
journal.Journal(pathlib.Path(sys.argv[1])).append_logs([{"op_code": 9}])
"""


def test_who_is_killed_while_writing_holds_nobody_up(tmp_path, monkeypatch):
    path = tmp_path / "j"
    whole, made = filled(path), Journal(path)
    environment = os.environ | {"PYTHONPATH": str(launching.ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment)
    assert done.returncode == -signal.SIGKILL and len(path.read_bytes()) == len(whole) + 20
    monkeypatch.setattr(journal, "PATIENCE", 0.0)  # not waited for at all
    made.append_logs(lines(1, 5))
    assert read(path) == lines(6)


def test_who_is_stopped_while_writing_is_named_after_a_while(tmp_path, monkeypatch):
    made = Journal(tmp_path / "j")
    monkeypatch.setattr(journal, "PATIENCE", 0.0)
    with locks.held(tmp_path / "j.lock"), pytest.raises(TimeoutError, match=r"j\.lock: another process has held"):
        made.append_logs(lines(1))


def test_a_journal_that_cannot_be_written_to_is_no_damage(tmp_path):
    (tmp_path / "trivial").mkdir()
    (tmp_path / "trivial" / "queue.journal").mkdir()
    with pytest.raises(IsADirectoryError, match=r"queue\.journal"):
        Queue(tmp_path / "trivial")


def damages(whole):
    """One of each kind at each kind of place: within a line, before and after its end, in its seal."""
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    places = [0]
    for end in ends[:: max(1, len(ends) // 2)]:
        places += [end, end - 1, whole.rindex(SEAL, 0, end) + 3, end // 2]
    for place in dict.fromkeys(place for place in places if place < len(whole)):
        yield whole[:place]
        yield whole[:place] + b"\0" * (len(whole) - place)
        yield whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
        yield whole[place:]


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """`searched()` searches, with runs that are done at once; it returns the directories of those that were."""
    monkeypatch.setattr(Sweep, "importance", lambda self: {})  # takes most of the time and changes nothing
    monkeypatch.setattr("studies.search.sampler.RANDOM", 4)  # the last two settings come from what was learned before
    plan = launching.plan(2)
    study = dataclasses.replace(plan.study, searched=plan.study.labels[:1], trials=BUDGET)
    plan = dataclasses.replace(plan, study=study)
    search = tuning.SearchBudget(budget=BUDGET, metric="epe/synthetic/all", only=("train.learning_rate",))

    def run():
        done = []

        def run_all(trials):
            for each in trials.runs:
                directory = tmp_path / "runs" / each.directory
                if not (directory / "result.json").exists():
                    done.append(each.directory)
                    value = abs(each.spec.train.learning_rate - 1e-3)
                    line = {"step": 5, "validation/epe/synthetic/all": value + 1}
                    (directory / "metrics.jsonl").write_text(json.dumps(line) + "\n")
                    run_record.write_result(directory, run_record.RunRecord(
                        run_id=each.spec.run_id, status="completed", spec={}, metrics={}, protocol="full/1",
                        validation={"epe/synthetic/all": value}))  # fmt: skip
            return False

        assert tuning.tune(plan, search, tmp_path, run_all, lambda: False) is not None
        return done

    return run


@pytest.mark.slow
def test_a_search_whose_journal_is_damaged_ends_with_the_same_bytes_and_does_no_run_again(tmp_path, searched):
    assert len(searched()) == BUDGET
    folder = tmp_path / "trivial"
    whole, found = (folder / "search.journal").read_bytes(), (folder / "search.json").read_bytes()
    asides = count = 0
    for damaged in damages(whole):
        (folder / "search.journal").write_bytes(damaged)
        (folder / "search.json").unlink()
        assert searched() == [], damaged
        assert (folder / "search.json").read_bytes() == found, damaged
        count += 1
        asides += len(list(folder.glob("search.journal.damaged_*")))
        for path in folder.glob("search.journal.damaged_*"):
            path.unlink()
    print(f"{count} damages, {asides} of them put aside")
    assert count >= 36 and asides > count / 3


def test_a_queue_whose_journal_is_damaged_has_the_same_runs(tmp_path, capsys):
    names = [run.directory for run in launching.plan(6).runs]
    (tmp_path / "trivial").mkdir()
    queue = Queue(tmp_path / "trivial")
    queue.enqueue([Job(directory=name) for name in names])
    path = tmp_path / "trivial" / "queue.journal"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(names[3].encode(), names[2].encode()))
    again = Queue(tmp_path / "trivial")
    again.enqueue([Job(directory=name) for name in names])
    assert again.waiting() == names
    assert "queue.journal: line 5 is not what was written; the journal is made anew" in capsys.readouterr().err


FULL = """
import errno, os, sys
import launching
from studies.queue import journal
write, written = journal._write, []
def full(descriptor, data):
    written.append(data)
    if len(written) > int(os.environ["WRITES"]):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    write(descriptor, data)
journal._write = full
sys.exit(launching.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("writes", [0, 2])
def test_a_study_whose_queue_is_on_a_full_disk_says_so_and_goes_on_later(tmp_path, monkeypatch, writes):
    monkeypatch.setenv("WRITES", str(writes))
    assert launch(tmp_path, 4, 1, code=FULL).wait() == 1
    said = terminal(tmp_path).strip().splitlines()[-2:]
    assert said == [
        f"studies.queue.endings.CannotRun: {tmp_path}/trivial/queue.journal: the disk is full"
        " (No space left on device)",
        "the study is not finished; the same command goes on with it",
    ]
    assert launch(tmp_path, 4, 1).wait() == 0, terminal(tmp_path)
    check_complete(tmp_path, 4)
