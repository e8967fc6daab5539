"""What training prints: lines in the form of MindSpore's `LossMonitor` and `TimeMonitor`, which users filter for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

EPOCH = 1000  # steps; the reference's epoch, whatever the number of pairs


class Monitor:
    """Prints each line of the learning curve, and a line for each epoch of `EPOCH` steps.

    An epoch that is continued counts from where it was continued.

    Attributes:
        steps: steps that were timed, without those that compiled.
        seconds: what they took.
        waited: what of it was waiting for data, s.
    """

    def __init__(self) -> None:
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0
        self._start()

    def _start(self) -> None:
        self._began, self._before = time.monotonic(), (self.steps, self.seconds)

    def __call__(self, line: Mapping[str, Any], pace: Any) -> None:
        """Prints a line; see `experiments.training.loop.train`."""
        self.steps, self.seconds, self.waited = (
            self.steps + pace.steps, self.seconds + pace.seconds, self.waited + pace.waited,
        )  # fmt: skip
        epoch, step = divmod(line["step"] - 1, EPOCH)
        shown = f"epoch: {epoch + 1} step: {step + 1}, loss is {line['total']:.6g}, lr is {line['learning_rate']:.6g}"
        if pace.steps:
            shown += f", per step time: {1e3 * pace.seconds / pace.steps:.3f} ms"
            shown += f", data wait: {1e3 * pace.waited / pace.steps:.3f} ms"
        print(shown, flush=True)
        for name, value in line.items():
            if name.startswith("validation/"):
                print(f"  step {line['step']} {name}: {value:.4f}", flush=True)
        if step + 1 == EPOCH:
            self.finish_epoch()

    def finish_epoch(self) -> None:
        """Prints what the epoch so far has taken; nothing if it has not begun."""
        steps, seconds = self.steps - self._before[0], self.seconds - self._before[1]
        if steps:
            spent = 1e3 * (time.monotonic() - self._began)
            print(f"Train epoch time: {spent:.3f} ms, per step time: {1e3 * seconds / steps:.3f} ms", flush=True)
        self._start()

    def summary(self) -> str:
        """Speed over all and the share of time that waited for data; '' if nothing was timed."""
        if not self.steps or not self.seconds:
            return ""
        share = 100 * self.waited / self.seconds
        return f"{self.steps / self.seconds:.2f} steps/s, waited {self.waited:.2f} s for data ({share:.1f} %)"
