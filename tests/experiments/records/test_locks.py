"""A lock is held by one process and dies with it."""

import contextlib
import signal
import subprocess
import sys

from experiments.records import locks

HOLD = (
    "import pathlib, sys; from experiments.records import locks\n"
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


LOOK = (
    "import pathlib, sys; from experiments.records import locks\n"
    "print('looking', flush=True)\n"
    "while not pathlib.Path(sys.argv[1] + '.end').exists():\n"
    "    assert locks.is_free(pathlib.Path(sys.argv[1]))"
)


@contextlib.contextmanager
def looking(path, code=LOOK):
    """A process that looks at a lock without a pause; it ends well if all that it saw was as it should be."""
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as looker:
        looker.stdout.readline()
        yield
        path.with_name(f"{path.name}.end").touch()
        assert looker.wait() == 0


def test_looks_are_not_taken_for_holders(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    with looking(path), looking(path):
        assert all(locks.is_free(path) for _ in range(5000))


def test_looks_never_keep_a_lock_from_being_taken(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    with looking(path, LOOK.replace("assert locks", "locks")):
        for _ in range(5000):
            with locks.held(path, give_up=lambda: True) as alone:
                assert alone


def test_whoever_may_only_read_can_look(tmp_path):
    path = tmp_path / "lock"
    assert locks.is_free(path) and not path.exists()
    with locks.held(path):
        path.chmod(0o444)
        assert not locks.is_free(path)
    assert locks.is_free(path)
