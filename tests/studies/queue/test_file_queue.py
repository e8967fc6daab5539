"""Every run is taken once, and a dead worker's run is taken again."""

import pytest
from test_many_workers import check_complete, launch, terminal

from experiments.records import json_files, run_record
from studies.queue.file_queue import Queue
from studies.queue.job import Job

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
        finished = do(claim.job.directory) is not None
        q.ended(claim, finished)
        if not finished:
            break
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
    assert q.states()[0] == NAMES
    assert work(q, doing(tmp_path)) == NAMES
    q.enqueue(jobs(NAMES))
    assert q.states()[0] == []


def test_a_run_whose_result_was_taken_away_is_done_again_when_it_is_asked_for(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:2]))
    work(q, doing(tmp_path))
    (tmp_path / "runs" / NAMES[1] / "result.json").unlink()
    q.enqueue(jobs(NAMES[:2]))
    assert q.states() == ([NAMES[1]], [])


def test_a_list_that_another_process_has_written_is_read_anew(tmp_path):
    q, other = queue(tmp_path), queue(tmp_path)
    q.enqueue(jobs(NAMES[:1]))
    assert other.states()[0] == NAMES[:1]
    q.enqueue(jobs(NAMES))
    assert other.states()[0] == NAMES


def test_a_run_that_diverged_is_done(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:2]))
    assert work(q, doing(tmp_path, "diverged")) == NAMES[:2]
    q.enqueue(jobs(NAMES[:2]))
    assert q.states()[0] == []


def test_an_interrupted_run_is_taken_again(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:1]))
    assert work(q, lambda name: None) == []
    assert q.states()[0] == NAMES[:1]
    q.enqueue(jobs(NAMES[:1]))
    assert q.states()[0] == NAMES[:1]


def test_a_run_belongs_to_its_worker_until_it_ends_however_it_ends(tmp_path):
    q, other = queue(tmp_path), queue(tmp_path)
    q.enqueue(jobs(NAMES[:1]))
    claim = q.claim()
    other.enqueue(jobs(NAMES[:1]))
    assert q.states() == other.states() == ([], [NAMES[0]]) and other.claim() is None
    claim.key.close()  # as the kernel does when a process is killed
    assert q.states() == ([NAMES[0]], [])
    assert other.claim().job == claim.job


def test_a_run_that_was_given_back_comes_after_those_that_wait(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:3]))
    for name in NAMES[:3]:
        claim = q.claim()
        assert claim.job.directory == name
        q.ended(claim, False)
    q.enqueue(jobs(NAMES))
    assert sorted(q.states()[0][:3]) == NAMES[3:] and sorted(q.states()[0][3:]) == NAMES[:3]


def test_one_more_attempt_takes_the_place_of_the_last(tmp_path):
    q = queue(tmp_path)
    q.enqueue(jobs(NAMES[:1]))
    work(q, doing(tmp_path, "failed"))
    q.enqueue([Job(directory=NAMES[0], attempt=2)])
    q.enqueue(jobs(NAMES[:1]))
    assert q.claim().job.attempt == 2 and q.claim() is None


def test_a_list_that_cannot_be_read_is_no_damage(tmp_path):
    q = queue(tmp_path)
    (tmp_path / "study" / "queue.json").mkdir()
    with pytest.raises(json_files.RecordError, match=r"queue\.json: cannot be read"):
        q.enqueue(jobs(NAMES))


def test_a_queue_of_before_is_made_anew_from_the_plan(tmp_path):
    q = queue(tmp_path)
    (tmp_path / "study" / "queue.journal").write_text('{"op_code": 0}\n')
    assert not q.has_runs() and q.claim() is None
    q.enqueue(jobs(NAMES))
    assert q.has_runs() and q.states() == (NAMES, [])


FULL = """
import resource, sys, launching
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, resource.RLIM_INFINITY))
sys.exit(launching.main())
"""


@pytest.mark.slow
def test_a_study_whose_queue_cannot_be_written_says_so_and_goes_on_later(tmp_path):
    assert launch(tmp_path, 40, 1, code=FULL).wait() == 1
    assert terminal(tmp_path).strip().splitlines()[-2:] == [
        f"studies.queue.endings.CannotRun: {tmp_path}/trivial/queue.json: the file would be larger than the limit"
        " (ulimit -f) (File too large)",
        "the study is not finished; the same command goes on with it",
    ]
    assert not list((tmp_path / "trivial").glob(".queue*"))
    assert launch(tmp_path, 4, 1).wait() == 0, terminal(tmp_path)
    check_complete(tmp_path, 4)
