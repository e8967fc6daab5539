"""What counts as a fault of the machine, and what is said of it."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest

from experiments.data.pairs import DataError
from experiments.records import faults

ROOT = pathlib.Path(__file__).parents[3]


def caught(action):
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def full():
    with faults.naming("runs/x/metrics.jsonl"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_in_one_sentence():
    error = caught(full)
    assert str(faults.of(error)) == "runs/x/metrics.jsonl: the disk is full (No space left on device)"
    assert faults.passing(error)


def test_another_error_of_the_system_is_told_as_it_is():
    with pytest.raises(OSError) as raised:
        open("/nowhere/file")
    assert str(faults.of(raised.value)) == "/nowhere/file: No such file or directory"
    assert not faults.passing(raised.value)


def unreadable():
    try:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    except OSError:
        raise DataError("img.ppm: cannot be read\n (Input/output error)") from None


def test_data_that_a_disk_cannot_read_is_a_fault_in_the_words_of_the_data():
    assert str(faults.of(caught(unreadable))) == "img.ppm: cannot be read (Input/output error)"
    assert faults.passing(caught(unreadable))


@pytest.mark.parametrize("error", [ValueError("x"), DataError("no pairs"), RuntimeError("x"), OSError("no number")])
def test_the_runs_own_errors_are_none(error):
    assert faults.of(error) is None and not faults.passing(error)


def test_a_message_that_cannot_be_written_does_not_change_the_exit_code():
    code = "import sys; from experiments.records import faults; print('line'); faults.tell('sentence'); sys.exit(5)"
    command = [sys.executable, "-c", code]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with open("/dev/full", "wb") as full_disk:
        done = subprocess.run(command, stdout=full_disk, stderr=full_disk, env=environment, cwd=ROOT)
    assert done.returncode == 5
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (5, "line\n", "sentence\n")
