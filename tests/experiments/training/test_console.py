"""The lines that users filter for, to the letter."""

from experiments.training.console import Monitor
from experiments.training.loop import Pace


def line(step, **more):
    return {"step": step, "total": 3.140625, "learning_rate": 1e-4} | more


def test_lines_are_those_of_mindspores_monitors(capsys):
    monitor = Monitor()
    monitor(line(10), Pace(steps=9, seconds=0.9, waited=0.09))
    monitor(line(1000, **{"validation/epe/chairs/all": 2.5}), Pace(steps=10, seconds=3.0, waited=0.0))
    monitor(line(1001), Pace())
    first, second, validation, epoch, third = capsys.readouterr().out.splitlines()
    assert first == "epoch: 1 step: 10, loss is 3.14062, lr is 0.0001, per step time: 100.000 ms, data wait: 10.000 ms"
    assert (
        second == "epoch: 1 step: 1000, loss is 3.14062, lr is 0.0001, per step time: 300.000 ms, data wait: 0.000 ms"
    )
    assert validation == "  step 1000 validation/epe/chairs/all: 2.5000"
    assert epoch.startswith("Train epoch time: ") and epoch.endswith(" ms, per step time: 205.263 ms")
    assert third == "epoch: 2 step: 1, loss is 3.14062, lr is 0.0001"
    assert monitor.summary() == "4.87 steps/s, waited 0.09 s for data (2.3 %)"


def test_nothing_is_said_of_what_was_not_timed(capsys):
    monitor = Monitor()
    monitor.finish_epoch()
    assert monitor.summary() == "" and capsys.readouterr().out == ""
