import itertools
import threading
import time

import numpy as np
import pytest

from experiments.data.prefetch import ahead


class Source:
    """Batch `step` holds `step`; `wait()` is called at its beginning; one step fails."""

    def __init__(self, wait=lambda: None, fails_at=None):
        self.wait, self.fails_at, self.made, self.threads = wait, fails_at, [], set()

    def batch(self, step):
        self.wait()
        if step == self.fails_at:
            raise OSError(f"step {step} cannot be read")
        self.made.append(step)
        self.threads.add(threading.current_thread())
        return np.full(1, step), np.full(1, -step)


def test_steps_and_batches_come_in_order():
    with ahead(Source(), 3, 8) as prepared:
        got = [(step, int(first[0]), int(second[0])) for step, (first, second) in prepared]
    assert got == [(s, s, -s) for s in range(3, 8)]


def test_nothing_to_do_is_nothing():
    assert list(ahead(Source(), 5, 5)) == []


def test_batches_are_made_in_one_other_thread_which_ends():
    source = Source()
    assert len(list(ahead(source, 0, 5))) == 5
    assert len(source.threads) == 1 and threading.current_thread() not in source.threads
    assert not next(iter(source.threads)).is_alive()


def idle(prepared):
    """Returns once the thread has made everything that it was asked for."""
    prepared._thread.submit(lambda: None).result()


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_batches_are_made_ahead(depth):
    source = Source()
    with ahead(source, 0, 50, depth) as prepared:
        next(prepared)
        idle(prepared)
        assert source.made == list(range(1 + depth))


class Clock:
    """Stands still unless somebody moves it; `looked()` is called after each look."""

    def __init__(self):
        self.now, self.looked = 0.0, lambda: None

    def __call__(self):
        at = self.now
        self.looked()
        return at


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(time, "perf_counter", made)
    return made


def test_waiting_for_slow_batches_is_measured(clock):
    looks, awaited = itertools.count(), threading.Semaphore(0)
    clock.looked = lambda: next(looks) % 2 or awaited.release()  # the first of two looks is before the waiting

    def wait():
        awaited.acquire()
        clock.now += 0.5

    with ahead(Source(wait), 0, 4, depth=1) as prepared:
        assert [(step, prepared.waited) for step, _ in prepared] == [(0, 0.5), (1, 1.0), (2, 1.5), (3, 2.0)]


def test_work_hides_the_time_that_batches_take(clock):
    def wait():
        clock.now += 0.5

    with ahead(Source(wait), 0, 5, depth=1) as prepared:
        for _ in range(5):
            idle(prepared)  # our work takes longer
            next(prepared)
    assert clock.now == 2.5 and prepared.waited == 0


def test_an_exception_is_raised_at_its_step_and_ends_the_iteration():
    source = Source(fails_at=2)
    prepared = ahead(source, 0, 9)
    assert [next(prepared)[0], next(prepared)[0]] == [0, 1]
    with pytest.raises(OSError, match="step 2 cannot be read"):
        next(prepared)
    assert list(prepared) == []
    assert all(not t.is_alive() for t in source.threads)


def test_leaving_early_ends_the_thread():
    source = Source()
    with ahead(source, 0, 1000) as prepared:
        next(prepared)
    made = len(source.made)
    assert made <= 4 and all(not t.is_alive() for t in source.threads)
    prepared.close()
    assert list(prepared) == []
    assert len(source.made) == made


def test_a_depth_below_1_is_refused():
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        ahead(Source(), 0, 1, 0)
