import threading
import time

import numpy as np
import pytest

from experiments.data.ahead import ahead


class Slow:
    """Batch `step` holds `step`; takes a while; fails at one step."""

    def __init__(self, seconds=0.0, fails_at=None):
        self.seconds, self.fails_at, self.made, self.threads = seconds, fails_at, [], set()

    def batch(self, step):
        time.sleep(self.seconds)
        if step == self.fails_at:
            raise OSError(f"step {step} cannot be read")
        self.made.append(step)
        self.threads.add(threading.current_thread())
        return np.full(1, step), np.full(1, -step)


def test_steps_and_batches_come_in_order():
    with ahead(Slow(), 3, 8) as prepared:
        got = [(step, int(first[0]), int(second[0])) for step, (first, second) in prepared]
    assert got == [(s, s, -s) for s in range(3, 8)]


def test_nothing_to_do_is_nothing():
    assert list(ahead(Slow(), 5, 5)) == []


def test_batches_are_made_in_one_other_thread_which_ends():
    slow = Slow()
    assert len(list(ahead(slow, 0, 5))) == 5
    assert len(slow.threads) == 1 and threading.current_thread() not in slow.threads
    assert not next(iter(slow.threads)).is_alive()


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_batches_are_made_ahead(depth):
    slow = Slow()
    with ahead(slow, 0, 50, depth) as prepared:
        next(prepared)
        time.sleep(0.1)
        assert slow.made == list(range(1 + depth))


def test_waiting_for_slow_batches_is_measured():
    with ahead(Slow(seconds=0.05), 0, 4) as prepared:
        list(prepared)
    assert 0.15 <= prepared.waited < 0.5


def test_work_hides_the_time_that_batches_take():
    with ahead(Slow(seconds=0.02), 0, 5) as prepared:
        next(prepared)
        first = prepared.waited
        for _ in range(4):
            time.sleep(0.06)
            next(prepared)
    assert first >= 0.015 and prepared.waited - first < 0.03


def test_an_exception_is_raised_at_its_step_and_ends_the_iteration():
    slow = Slow(fails_at=2)
    prepared = ahead(slow, 0, 9)
    assert [next(prepared)[0], next(prepared)[0]] == [0, 1]
    with pytest.raises(OSError, match="step 2 cannot be read"):
        next(prepared)
    assert list(prepared) == []
    assert all(not t.is_alive() for t in slow.threads)


def test_leaving_early_ends_the_thread():
    slow = Slow(seconds=0.01)
    with ahead(slow, 0, 1000) as prepared:
        next(prepared)
    made = len(slow.made)
    assert made <= 4 and all(not t.is_alive() for t in slow.threads)
    prepared.close()
    assert list(prepared) == []
    time.sleep(0.05)
    assert len(slow.made) == made


def test_a_depth_below_1_is_refused():
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        ahead(Slow(), 0, 1, 0)
