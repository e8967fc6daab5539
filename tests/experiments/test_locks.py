"""A lock is held by one process and dies with it."""

import signal
import subprocess
import sys

from experiments import locks

HOLD = (
    "import pathlib, sys; from experiments import locks\n"
    "with locks.held(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.read()"
)


def hold(path):
    """A process that holds a lock until its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_killed_process_holds_no_lock(tmp_path):
    path = tmp_path / "lock"
    assert locks.is_free(path)
    with hold(path) as holder:
        assert not locks.is_free(path)
        with locks.held(path, give_up=lambda: True) as alone:
            assert not alone
        holder.send_signal(signal.SIGKILL)
    assert locks.is_free(path)
    with locks.held(path) as alone:
        assert alone and not locks.is_free(path)


def test_waits_until_the_lock_is_free(tmp_path):
    path = tmp_path / "lock"
    asked = []

    def waiting():
        asked.append(locks.is_free(path))
        if len(asked) == 3:
            holder.stdin.close()  # which lets it go
            holder.wait()
        return False

    with hold(path) as holder, locks.held(path, give_up=waiting, poll=0.05) as alone:
        assert alone and asked == [False] * 3
