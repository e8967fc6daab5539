"""Writes checkpoints, or a learning curve, until it is killed: one child per line `KIND WRITES TOUCHES FOLDER`.

The children are forked from a process that has imported everything, so that a kill costs milliseconds. Each appends to
`FOLDER/announced` what it has finished writing. After so many writes and then so many times that Python touches a file
it kills itself; with no number of touches (0) it says "there" and is killed from outside, at any moment.
"""

import os
import pathlib
import signal
import sys

import numpy as np
from commands import TOUCHING_FILES

from experiments.training import checkpoints, run_files
from uflow import backend as ms

SHAPES = {"first": (64, 512), "second": (128, 1024)}  # 640 KiB: long enough to be hit while it is written


def parameters(step, shapes=SHAPES):
    return {
        name: ms.Parameter(ms.Tensor(np.full(shape, step, np.float32)), name=name) for name, shape in shapes.items()
    }


def announcer(folder, writes, touches):
    """`announce(step)`, which sees to the end of this process too."""
    file = os.open(folder / "announced", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    left = [writes, touches]

    def touched(event, _):
        if left[0] <= 0 and event in TOUCHING_FILES:
            left[1] -= 1
            if left[1] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def announce(step):
        os.write(file, f"{step}\n".encode())
        left[0] -= 1
        if left[0] == 0 and not touches:
            print("there", flush=True)

    sys.addaudithook(touched)
    return announce


def write_checkpoints(folder, announce):
    place = folder / "checkpoints"
    checkpoints.clear(place)
    found = checkpoints.latest(place)
    step = found.step if found else 0
    while True:
        step += 1
        checkpoints.save(place, step, parameters(step), {"of": step})
        announce(step)


def line(step):
    return {"step": step, "total": step / 7, "name": "é" * (step % 50)}


def write_lines(folder, announce):
    place = folder / "checkpoints"
    checkpoints.clear(place)
    found = checkpoints.latest(place)
    state = run_files.State.of(found) if found else run_files.State()
    curve = run_files.CurveFile(folder / "metrics.jsonl", state)
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
        kind, writes, touches, place = words.split(maxsplit=3)
        folder = pathlib.Path(place.strip())
        child = os.fork()
        if child == 0:
            try:
                print(os.getpid(), flush=True)
                announce = announcer(folder, int(writes), int(touches))
                {"checkpoints": write_checkpoints, "lines": write_lines}[kind](folder, announce)
            finally:
                os._exit(1)  # only if it failed: it writes until it is killed
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
