"""A lock is held by one process and dies with it."""

import signal
import subprocess
import sys
import time

from experiments import locks

HOLD = (
    "import pathlib, sys, time; from experiments import locks\n"
    "with locks.held(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)"
)


def test_a_killed_process_holds_no_lock(tmp_path):
    path = tmp_path / "lock"
    assert locks.is_free(path)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert not locks.is_free(path)
        with locks.held(path, give_up=lambda: True) as alone:
            assert not alone
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert locks.is_free(path)
    with locks.held(path) as alone:
        assert alone and not locks.is_free(path)


def test_waits_until_the_lock_is_free(tmp_path):
    path = tmp_path / "lock"
    code = HOLD.replace("60", "1.0")
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    began = time.monotonic()
    with locks.held(path, poll=0.05) as alone:
        assert alone and time.monotonic() - began > 0.3
    holder.wait()
