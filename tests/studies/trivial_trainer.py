"""Takes the words of `experiments.run` and does in milliseconds what looks like a run from outside.

What a run does is asked of it in the directory of all results: a file `behave.json` maps words that are part of the
run's directory to one of the behaviors below.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import signal
import sys
import time

import psutil

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from experiments.records import locks, run_record  # noqa: E402
from experiments.records.run_settings import RunSettings  # noqa: E402

SECONDS = 0.0


def stopped(number, frame):
    sys.exit(130)


def done(out):
    """How many runs of a study have a result."""
    return len(list(out.glob("runs/*/result.json")))


def main(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", type=pathlib.Path)
    parser.add_argument("--settings", type=RunSettings.from_json)
    given = parser.parse_args(argv)
    out = given.settings.out
    signal.signal(signal.SIGTERM, stopped)
    directory = given.spec.parent
    spec = json.loads(given.spec.read_text())
    asked = out / "behave.json"
    behavior = json.loads(asked.read_text()) if asked.exists() else {}
    how = next((value for key, value in behavior.items() if key in directory.name), {})
    with locks.held(directory / "lock"):
        if (directory / "result.json").exists():
            return 0
        with open(directory / "trained", "a") as file:  # one line for each training that was begun
            file.write(f"{os.getpid()} {out}\n")
        data = spec["data"]["source"].split(":")[0]
        value = how.get("value", 2.0 + spec["seed"] / 10)
        if how.get("tunable"):
            value = abs(math.log10(spec["train"]["learning_rate"] / 1e-3))
        for step in range(1, int(how.get("steps", 1)) + 1):
            line = {"step": step, "total": 1.0 / step, "visible": 0.5}
            if how.get("tunable") and step % 5 == 0:
                line[f"validation/epe/{data}/all"] = value + 1.0 / step
            with open(directory / "metrics.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
            time.sleep(how.get("seconds", SECONDS))
        if "waits" in how:
            with locks.waiting(directory) if how["waits"] else contextlib.nullcontext():
                (directory / "began").touch()
                while not (directory / how["until"]).exists():
                    time.sleep(0.01)
        elif "until" in how:
            while not (out / how["until"]).exists():  # what no test makes is waited for forever
                time.sleep(0.02)
        elif "after" in how:  # so much may be done, and as much again for every file `more*`
            while done(out) >= how["after"] * (1 + len(list(out.glob("more*")))):
                time.sleep(0.02)
        if how.get("memory"):
            taken = bytearray(int(how["memory"]))
            taken[::4096] = b"x" * len(taken[::4096])
            time.sleep(60)
        if "exit" in how:
            print(how.get("says", "gone"))
            return how["exit"]
        if "stops" in how:  # what runs are forked from (1) or the worker (2) does not go on any more
            psutil.Process().parents()[how["stops"] - 1].suspend()
        with open(directory / "ended", "a") as file:  # and one for each that came to its end
            file.write(f"{os.getpid()} {out}\n")
        status = how.get("status", "completed")
        run_record.write_result(directory, run_record.RunRecord(
            run_id=directory.name.rsplit("__")[-1], status=status, reason="" if status == "completed" else "asked to",
            spec={}, metrics={f"epe/{data}/{kind}": value for kind in ("all", "noc", "occ")},
            validation={f"epe/{data}/all": value}, protocol="full/1"))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
