"""What a queue in PostgreSQL costs, and that whoever takes a run is alone with it."""

import threading

import launching
import pytest
import sqlalchemy
from postgres import Postgres

from experiments.records import locks
from experiments.spec import to_config
from studies.queue.database_queue import DatabaseQueue
from studies.queue.job import Job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MANY = 3000


@pytest.fixture(scope="module")
def server():
    made = Postgres().start()
    yield made
    made.remove()


@pytest.fixture
def storage(server, request):
    name = f"q{abs(hash(request.node.name))}"
    server.query_outside(f"create database {name}")
    yield server.url.replace("/postgres", f"/{name}")
    server.query_outside(f"drop database {name} with (force)")


@pytest.fixture
def opened(storage, tmp_path):
    """`opened()` is one more connection to the queue of one study."""
    (tmp_path / "trivial").mkdir()
    made = []

    def make(**changes):
        made.append(DatabaseQueue(tmp_path / "trivial", "trivial", storage, heartbeat=1, **changes))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


def jobs(count, start=0, attempt=1):
    return [Job(directory=f"run{i}__{i:012x}", attempt=attempt) for i in range(start, start + count)]


def counted(queue, action):
    """How many statements an action sends, and how many rows come back."""
    statements, rows = [], []

    def sent(connection, cursor, statement, parameters, context, executemany):
        statements.append(statement)
        rows.append(max(0, cursor.rowcount) if cursor.description else 0)

    sqlalchemy.event.listen(queue._engine, "after_cursor_execute", sent)
    try:
        action()
    finally:
        sqlalchemy.event.remove(queue._engine, "after_cursor_execute", sent)
    return len(statements), sum(rows)


def test_taking_and_ending_a_run_cost_the_same_whatever_waits(opened):
    """Counted in statements and rows, which do not depend on the machine."""
    queue, costs = opened(), []
    for start, count in ((0, 10), (10, MANY)):
        queue.enqueue(jobs(count, start))
        claim = queue.claim()
        costs.append([counted(queue, queue.claim), counted(queue, lambda c=claim: queue.ended(c, False))])
    assert costs[0] == costs[1] and costs[1] == [(2, 1), (1, 0)]
    plan = queue._execute(
        "explain select run from uflow_runs where queue = :queue and state = 'waiting' order by position limit 1"
    )
    assert "uflow_runs_waiting" in str(plan)


def test_putting_runs_and_specs_into_the_queue_takes_a_few_statements(opened):
    queue, spec = opened(), launching.plan(2).runs[0].spec
    given = jobs(1200)
    specs = {job.directory: spec for job in given}
    assert counted(queue, lambda: queue.enqueue(given, specs))[0] < 10
    assert counted(queue, lambda: queue.enqueue(given, specs)) == (2, 1200)  # abandoned ones, and what is there
    assert queue.states()[0] == [job.directory for job in given] and queue.claim().told["spec"] == to_config(spec)


def test_many_at_once_never_take_one_run_twice(opened):
    queues, taken = [opened() for _ in range(6)], [[] for _ in range(6)]
    queues[0].enqueue(jobs(200))
    start = threading.Barrier(6)

    def take(queue, mine):
        start.wait()
        while (claim := queue.claim()) is not None:
            mine.append(claim)

    threads = [threading.Thread(target=take, args=pair) for pair in zip(queues, taken, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [claim.job.directory for mine in taken for claim in mine]
    assert sorted(names) == sorted(job.directory for job in jobs(200))
    assert (sorted(queues[0].states()[1]), queues[0].states()[0]) == (sorted(names), [])


def test_who_was_taken_for_dead_has_no_say_in_a_run_any_more(opened):
    first, second = opened(), opened()
    first.enqueue(jobs(1))
    old = first.claim()
    assert second.claim() is None
    second._end(old.job.directory, old.key, "waiting")  # what is done with a run whose worker is taken for dead
    new = second.claim()
    assert new.job == old.job and new.key != old.key
    first.ended(old, False)
    assert first.states() == ([], [new.job.directory]), "the run is the second one's"
    first.heartbeat = 0.01
    first._beat(old, threading.Event())
    assert old.lost and not new.lost


def test_who_is_stopped_while_another_process_here_holds_the_runs_lock_does_not_begin_it(opened, tmp_path):
    queue, stops = opened(), [False, True]
    queue.enqueue(jobs(1))
    claim = queue.claim()
    with queue.kept(claim, lambda: False) as over:
        assert not over()
    with locks.held(tmp_path / "runs" / claim.job.directory / "worker.lock"):
        with queue.kept(claim, lambda: stops.pop(0) if stops else False) as over:
            assert over(), "although nothing says so any more"


def test_a_run_of_which_one_more_attempt_is_wanted_is_in_the_queue_once(opened):
    queue = opened()
    queue.enqueue(jobs(2))
    queue.enqueue(jobs(1, attempt=2))
    assert queue.states()[0] == [job.directory for job in (*jobs(1, 1), *jobs(1))]
    queue.enqueue(jobs(1))
    assert [queue.claim().job.attempt for _ in range(2)] == [1, 2] and queue.claim() is None


def test_a_run_that_was_given_back_comes_after_those_that_wait(opened):
    queue = opened()
    queue.enqueue(jobs(3))
    queue.ended(queue.claim(), False)
    assert queue.states()[0] == [job.directory for job in (*jobs(2, 1), *jobs(1))]


def test_two_studies_share_a_database(opened, storage, tmp_path):
    (tmp_path / "other").mkdir()
    here, there = opened(), DatabaseQueue(tmp_path / "other", "other", storage)
    here.enqueue(jobs(2))
    there.enqueue(jobs(3))
    assert len(here.states()[0]) == 2 and len(there.states()[0]) == 3
    assert [there.claim() is None for _ in range(4)] == [False, False, False, True] and len(here.states()[0]) == 2
    there.close()
