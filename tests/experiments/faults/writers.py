"""Writes checkpoints, or a learning curve, until it is killed: one child per line `KIND FOLDER` on standard input.

The children are forked from a process that has imported everything, so that a kill costs milliseconds. Each appends to
`FOLDER/announced` what it has finished writing.
"""

import os
import pathlib
import sys

import numpy as np

from experiments import checkpoints, training
from uflow import backend as ms

SHAPES = {"first": (64, 512), "second": (128, 1024)}  # 640 KiB: long enough to be hit while it is written


def parameters(step, shapes=SHAPES):
    return {
        name: ms.Parameter(ms.Tensor(np.full(shape, step, np.float32)), name=name) for name, shape in shapes.items()
    }


def announcer(folder):
    file = os.open(folder / "announced", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return lambda step: os.write(file, f"{step}\n".encode())


def write_checkpoints(folder):
    place = folder / "checkpoints"
    announce = announcer(folder)
    checkpoints.clear(place)
    found = checkpoints.latest(place)
    step = found.step if found else 0
    while True:
        step += 1
        checkpoints.save(place, step, parameters(step), {"of": step})
        announce(step)


def line(step):
    return {"step": step, "total": step / 7, "name": "é" * (step % 50)}


def write_lines(folder):
    place = folder / "checkpoints"
    announce = announcer(folder)
    checkpoints.clear(place)
    found = checkpoints.latest(place)
    state = training.State.of(found) if found else training.State()
    curve = training.Curve(folder / "metrics.jsonl", state)
    while True:
        state.step += 1
        curve.write(line(state.step))
        announce(state.step)
        if state.step % 5 == 0:
            curve.sync()
            checkpoints.save(place, state.step, parameters(state.step, {"small": (4,)}), state.memory())


if __name__ == "__main__":
    print("ready", flush=True)
    for words in sys.stdin:
        kind, place = words.split(maxsplit=1)
        child = os.fork()
        if child == 0:
            try:
                {"checkpoints": write_checkpoints, "lines": write_lines}[kind](pathlib.Path(place.strip()))
            finally:
                os._exit(1)  # only if it failed: it writes until it is killed
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
