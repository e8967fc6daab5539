"""Batches that are prepared in another thread while the previous ones are used."""

from __future__ import annotations

import collections
import concurrent.futures
import time
from typing import Protocol

from experiments.data.loader import Batch


class HasBatches(Protocol):
    """What can be prepared ahead: `batch(step)` must not depend on earlier calls."""

    def batch(self, step: int) -> Batch:
        """What a step is given."""
        ...


class Ahead:
    """An iterator over `(step, batch)` for steps `start` to `stop - 1`, prepared by one thread.

    An exception in the thread is raised by the `next` that asks for its step. Leaving the `with` block, or `close`,
    ends the thread after the batch at hand.

    Args:
        batches: where the batches come from.
        start: first step.
        stop: the step after the last.
        depth: how many batches are prepared at most, 1 or more.

    Attributes:
        waited: seconds that `next` has waited for a batch, in total.
    """

    def __init__(self, batches: HasBatches, start: int, stop: int, depth: int = 2) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self.waited = 0.0
        self._batches = batches
        self._steps = iter(range(start, stop))
        self._pending: collections.deque = collections.deque()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="batches")
        for _ in range(depth):
            self._prepare()

    def _prepare(self) -> None:
        if (step := next(self._steps, None)) is not None:
            self._pending.append((step, self._thread.submit(self._batches.batch, step)))

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> tuple[int, Batch]:
        if not self._pending:
            self.close()
            raise StopIteration
        step, future = self._pending.popleft()
        began = time.perf_counter()
        try:
            batch = future.result()
        except BaseException:
            self.close()
            raise
        self.waited += time.perf_counter() - began
        self._prepare()
        return step, batch

    def close(self) -> None:
        """Ends the thread; afterwards there are no more batches. May be called again."""
        self._pending.clear()
        self._steps = iter(())
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ahead(batches: HasBatches, start: int, stop: int, depth: int = 2) -> Ahead:
    """Iterates over `(step, batch)` for steps `start` to `stop - 1`, preparing up to `depth` batches in a thread."""
    return Ahead(batches, start, stop, depth)
