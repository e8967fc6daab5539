"""Every run is taken once, and a dead worker's run is taken again."""

from experiments.records import locks, run_record
from studies.queue.job import Job
from studies.queue.journal_queue import Queue

NAMES = [f"run{i}__{i:012x}" for i in range(6)]


def queue(tmp_path):
    (tmp_path / "study").mkdir(exist_ok=True)
    for name in NAMES:
        (tmp_path / "runs" / name).mkdir(parents=True, exist_ok=True)
    return Queue(tmp_path / "study")


def jobs(names):
    return [Job(directory=name) for name in names]


def work(q, do):
    """What a worker does, without processes."""
    done = []
    while (claim := q.claim()) is not None:
        record = do(claim.job.directory)
        if record is None:
            q.give_back(claim)
            break
        q.done(claim, record)
        done.append(claim.job.directory)
    return done


def record(name, status="completed"):
    return run_record.RunRecord(run_id=name.split("__")[1], status=status,
                                reason="" if status == "completed" else "why", spec={},
                                metrics={"epe/x/all": 1.0}, validation={}, protocol="full/1")  # fmt: skip


def doing(tmp_path, status="completed"):
    def do(name):
        done = record(name, status)
        run_record.write_result(tmp_path / "runs" / name, done)
        return done

    return do


def test_every_run_is_done_once(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES))
    q.enqueue(jobs(NAMES))
    assert q.waiting() == NAMES
    assert work(q, doing(tmp_path)) == NAMES
    q.enqueue(jobs(NAMES))
    assert q.waiting() == []


def test_a_run_that_diverged_is_done(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:2]))
    assert work(q, doing(tmp_path, "diverged")) == NAMES[:2]
    q.enqueue(jobs(NAMES[:2]))
    assert q.waiting() == []


def test_an_interrupted_run_is_taken_again(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:1]))
    assert work(q, lambda name: None) == []
    assert q.waiting() == NAMES[:1]
    q.enqueue(jobs(NAMES[:1]))
    assert q.waiting() == NAMES[:1]


def test_a_run_belongs_to_its_worker_as_long_as_its_lock_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr("studies.queue.journal_queue._TAKING", -1.0)
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:1]))
    claim = q.claim()
    with locks.held(tmp_path / "runs" / NAMES[0] / "worker.lock"):
        q.enqueue(jobs(NAMES[:1]))
        assert q.states() == (set(), {NAMES[0]})
    q.enqueue(jobs(NAMES[:1]))
    assert q.states() == ({NAMES[0]}, set())
    q.done(claim, doing(tmp_path)(NAMES[0]))  # it lived after all: its result counts, and it may say so


def test_a_run_that_was_just_taken_is_not_taken_for_abandoned(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:1]))
    q.claim()
    q.enqueue(jobs(NAMES[:1]))
    assert q.states() == (set(), {NAMES[0]})
