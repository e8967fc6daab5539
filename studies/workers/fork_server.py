"""Runs in fresh processes that need not load MindSpore: forked from a process that has loaded it once.

Loading MindSpore, Sacred and the rest takes two seconds of CPU time, up to a tenth of a short run. A worker on the CPU
keeps a process that has loaded them and has computed nothing; each run is a fork of it. After loading it has no thread
but the main one and one of jemalloc, which sees to forks itself, and results are the same bit for bit. On GPU and
Ascend every run is started anew: what their drivers set up at loading is not known to survive a fork.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from experiments.records import layout
from studies.queue.endings import CannotRun
from studies.workers.subprocess_run import Execution, die_with_parent, environment_of, words_of


def can_fork(execution: Execution) -> bool:
    """True where a run may be a fork of a process that has loaded MindSpore."""
    from experiments.training.device import available

    target = available() if execution.card.target == "auto" else execution.card.target
    return target == "CPU" and hasattr(os, "fork") and sys.platform == "linux"


class Forked:
    """A run that was forked, or is going to be; what `subprocess.Popen` would offer of it.

    Attributes:
        pid: its process number; `None` until the server has said it, which takes as long as it is loading.
        returncode: its exit code, negative for a signal; `None` until it has ended.
    """

    def __init__(self, server: subprocess.Popen):
        self._server, self._ended = server, False
        self.pid: int | None = None
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        """The exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: if it has not ended by then, or the server has not answered.
            CannotRun: if the server has ended before there was a run.
        """
        until = time.monotonic() + timeout
        while self.returncode is None:
            left = until - time.monotonic()
            if not select.select([self._server.stdout], [], [], max(0.0, left))[0]:
                raise subprocess.TimeoutExpired("run", timeout)
            line = self._server.stdout.readline()
            if not line and self.pid is None and not self._ended:
                code = self._server.wait()
                raise CannotRun(f"what runs are forked from ended with exit code {code}, for it could not be loaded")
            if line and self.pid is None:
                self.pid = int(line)
            else:
                self.returncode = int(line) if line else -signal.SIGKILL  # the server is gone, and the run with it
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal to the run; to the server, if that is loading for it."""
        if self.returncode is None:
            self._ended = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid or self._server.pid, number)

    def kill(self) -> None:
        """Ends the run at once, and the server, which may be what does not answer."""
        self._ended = True
        self._server.kill()
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


class ForkServer:
    """The process that runs are forked from, started at first use and again if it has died.

    Args:
        execution: how runs are started.
    """

    def __init__(self, execution: Execution):
        self.execution = execution
        self._server: subprocess.Popen | None = None

    def start(self, directory: pathlib.Path, shared_steps: Sequence[int]) -> Forked:
        """Starts a run."""
        if self._server is None or self._server.poll() is not None:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "studies.workers.fork_server", self.execution.program],
                # unbuffered: `select` would not see an exit code that was read along with the process number
                bufsize=0,
                env=environment_of(self.execution), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip
        asked = {"words": words_of(self.execution, directory, shared_steps), "directory": str(directory)}
        try:
            self._server.stdin.write(json.dumps(asked).encode() + b"\n")
            self._server.stdin.flush()
        except BrokenPipeError:
            self._server.wait()
        return Forked(self._server)

    def close(self) -> None:
        """Ends the process; a run that is still there ends too."""
        if self._server is not None:
            self._server.stdin.close()
            self._server.kill()  # it has nothing to save, and may be stopped
            self._server.wait()


def serve(program: str) -> None:
    """Loads a program, then forks a run for every line on stdin; answers with its process number and its exit code."""
    module = importlib.import_module(program)
    getattr(module, "preload", lambda: None)()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        parent = os.getpid()
        if (pid := os.fork()) == 0:
            _run(module, asked, parent)
        print(pid, file=answers, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=answers, flush=True)


def _run(module: Any, asked: dict[str, Any], parent: int) -> None:
    """Does a run in the forked process, which ends with it."""
    code = 1
    try:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        os.setsid()
        os.chdir(asked["directory"])
        log = os.open(layout.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, file in ((0, nothing), (1, log), (2, log)):
            os.dup2(file, number)
        sys.stdout = sys.stderr = open(2, "w", buffering=1, closefd=False)
        sys.argv[1:] = asked["words"]
        code = module.main(asked["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the log may lie on a full disk
                stream.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    serve(sys.argv[1])
