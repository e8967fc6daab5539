"""A clock that goes backwards: an hour in a second, however often and by whom it is looked at."""

import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from experiments.records import json_files

SOURCE = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

/* MONOTONIC and REALTIME: what the two clocks showed, in ns, when the test began. All processes and threads see the
   same clock, and no number of looks takes it further back than the time that has passed. */
static void set_back(struct timespec *at) {
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at);
    long long shown = REALTIME - 3600 * (at->tv_sec * SECOND + at->tv_nsec - MONOTONIC);
    at->tv_sec = shown / SECOND;
    at->tv_nsec = shown % SECOND;
}

int clock_gettime(clockid_t which, struct timespec *at) {
    if (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE) return syscall(SYS_clock_gettime, which, at);
    set_back(at);
    return 0;
}

time_t time(time_t *to) {
    struct timespec at;
    set_back(&at);
    if (to) *to = at.tv_sec;
    return at.tv_sec;
}

int gettimeofday(struct timeval *to, void *zone) {
    struct timespec at;
    (void)zone;
    set_back(&at);
    to->tv_sec = at.tv_sec;
    to->tv_usec = at.tv_nsec / 1000;
    return 0;
}
"""


@pytest.fixture
def backwards(tmp_path, monkeypatch):
    """Every process that is started from here on has such a clock."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("g++")
    if not compiler:
        pytest.skip("no C compiler to make the clock with")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(SOURCE)
    kind = ["-x", "c"] if compiler.endswith("++") else []
    began = [f"-DMONOTONIC={time.monotonic_ns()}LL", f"-DREALTIME={time.time_ns()}LL"]
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", *began, *kind, str(source), "-o", str(library)], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))


LOOKS = """
import datetime, time
before, first, between = time.monotonic(), time.time(), time.monotonic()
while time.monotonic() == between:
    pass
for _ in range(1000):  # looks do not move it
    time.time()
after, second, end = time.monotonic(), datetime.datetime.now().timestamp(), time.monotonic()
print(3600 * (after - between), first - second, 3600 * (end - before))
"""


def test_the_clock_of_the_tests_goes_backwards_an_hour_in_a_second(backwards):
    done = subprocess.run([sys.executable, "-c", LOOKS], capture_output=True, text=True, check=True)
    least, back, most = map(float, done.stdout.split())
    assert 0 < least - 1e-3 <= back <= most + 1e-3, "a date is rounded to microseconds"


@pytest.mark.slow
def test_a_run_gives_the_same_bits_and_no_negative_duration(undisturbed, runner, backwards, tmp_path):
    out = tmp_path / "out"
    run = runner.finish(out, "--checkpoint-seconds", "0", anew=True)
    for name in ("result.json", "metrics.jsonl"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes()
    cost = json_files.read_json(run / "cost.json")
    assert all(cost[key] >= 0 for key in ("seconds", "ms_per_step", "data_wait_seconds")) and cost["seconds"] > 0
    seconds = [
        float(line.split()[2]) for line in (out / "log.txt").read_text().splitlines() if line.startswith("step ")
    ]
    assert len(seconds) == 6 and seconds == sorted(seconds) and seconds[0] >= 0
    # the time that was written down is that of the clock, which nothing else is made of
    sacred = json_files.read_json(run / "sacred.json")
    assert sacred["stop_time"] < sacred["start_time"] and sacred["status"] == "COMPLETED"


@pytest.mark.slow
def test_checkpoints_are_still_made_in_time(runner, backwards, tmp_path):
    out = pathlib.Path(tmp_path / "out")
    # more steps than it can do before the second checkpoint is seen
    process = runner.start_anew(out, "--checkpoint-seconds", "0.05", **{"train.steps": 1000, "train.validations": 1})
    while len(list(out.glob("runs/*/checkpoints/step_*.json"))) < 2:
        assert process.poll() is None, "it is over, and nothing was saved on the way"
        time.sleep(0.01)
    process.kill()
    process.wait()
