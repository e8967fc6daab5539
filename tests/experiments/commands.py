"""Runs commands in forks of a process that has loaded them, and stops them (SIGSTOP) at a place that a test names.

One JSON object a line on standard input, see `Loaded.start`; answered with the process number, then with "stopped" each
time that it is, at last with the exit code. A test that kills what has stopped kills it there, however fast or busy the
machine is. Loading MindSpore takes four seconds, most of such a short run.
"""

import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import traceback

from studies.workers.subprocess_run import die_with_parent

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
TOUCHING_FILES = {"open", "os.chmod", "os.mkdir", "os.remove", "os.rename", "os.truncate"}  # audit events


class Command:
    """A command that was forked; what the tests use of `subprocess.Popen`, and `wait_until_stopped`."""

    def __init__(self, server):
        self.server, self.returncode, self.pid = server, None, int(server.stdout.readline())

    def wait_until_stopped(self):
        """Returns once it has come to its place; an error if it ends before."""
        assert (said := self.server.stdout.readline()) == "stopped\n", f"ended with {said}"
        return self

    def wait(self):
        """The exit code, negative for a signal."""
        if self.returncode is None:
            self.returncode = int(self.server.stdout.readline())
        return self.returncode

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def go_on(self, number=signal.SIGCONT):
        """Sends a signal to one that has stopped, lets it go on, and returns its exit code."""
        self.send_signal(number)
        self.send_signal(signal.SIGCONT)
        return self.wait()


class Loaded:
    """The process that commands are forked from, started at first use; one command at a time."""

    def __init__(self):
        self.server = self.command = None

    def start(self, words, folder, log, place=None):
        """Starts `python -m WORDS` in a folder.

        Args:
            words: module and arguments.
            folder: working directory.
            log: file that takes what it prints.
            place: where to stop, a kind and a number, or `None`:
                "before step", with so many steps done or more; "saving", when the parameters of that step's checkpoint
                have been written to a temporary file; "saved", after that checkpoint; "file", at that number of times
                that Python has touched a file since training has begun.
        """
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=os.environ | ENVIRONMENT, preexec_fn=die_with_parent,
            )  # fmt: skip
        if self.command is not None and self.command.returncode is None:  # of a test that has failed
            self.command.send_signal(signal.SIGKILL)
            self.command.wait()
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        asked = {"words": list(words), "folder": str(folder), "log": str(log), "place": place, "limit": limit}
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        self.command = Command(self.server)
        return self.command

    def close(self):
        if self.server is not None:
            self.server.kill()  # and with it the command, if there still is one
            self.server.wait()


def stop_at(kind, number):
    """Makes this process stop once, at a place that `Loaded.start` describes."""
    from experiments.training import checkpoints, step

    left = [number]

    def stop(here=True):
        if here and left:
            left.clear()
            os.kill(os.getpid(), signal.SIGSTOP)

    run, write, save = step.run, checkpoints._write, checkpoints.save

    def running(graph, spec, active, at, *rest):
        if kind == "file":
            sys.addaudithook(touching)
        stop(kind == "before step" and at >= number)
        return run(graph, spec, active, at, *rest)

    def writing(file, parameters):
        write(file, parameters)
        stop(kind == "saving" and pathlib.Path(file).name.startswith(f".step_{number:09d}."))

    def saving(directory, at, *rest, **named):
        save(directory, at, *rest, **named)
        stop(kind == "saved" and at == number)

    def touching(event, _):
        if left and event in TOUCHING_FILES:
            left[0] -= 1
            stop(left[0] == 0)

    def first(*arguments):
        step.run = run
        return running(*arguments)

    step.run = first if kind == "file" else running
    checkpoints._write, checkpoints.save = writing, saving


def become(asked):
    """Turns the forked process into the command; does not return."""
    code = 1
    try:
        die_with_parent()
        os.chdir(asked["folder"])
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, file in ((0, nothing), (1, log), (2, log)):
            os.dup2(file, number)
        sys.stdout = sys.stderr = open(2, "w", buffering=1, closefd=False)
        resource.setrlimit(resource.RLIMIT_FSIZE, asked["limit"])
        if asked["place"]:
            stop_at(*asked["place"])
        module, *words = asked["words"]
        sys.argv[1:] = words
        code = sys.modules[module].main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):  # the log may lie on a full disk
            sys.stdout.flush()
        os._exit(code)


def serve():
    from experiments import run, train  # noqa: F401

    run.preload()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            become(json.loads(line))
        print(child, file=answers, flush=True)
        while os.WIFSTOPPED(status := os.waitpid(child, os.WUNTRACED)[1]):
            print("stopped", file=answers, flush=True)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    serve()
