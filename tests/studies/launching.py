"""A study of as many trivial runs as one likes, launched like a real one: in a process that can be killed.

`python launching.py OUT RUNS WORKERS [join] [key=value ...] [to.key=value ...]`; what begins with `to.` is an option of
the launcher, the storage is taken from UFLOW_STORAGE. With `search=K` K learning rates of each arm are tried instead.
"""

import dataclasses
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from studies.design import Arm, Study  # noqa: E402
from studies.launchers.supervisor import join, run_all, start_of  # noqa: E402
from studies.planning import plan_store, planner  # noqa: E402
from studies.presets import PRESETS  # noqa: E402
from studies.search import tuning  # noqa: E402
from studies.workers.subprocess_run import Execution, Limits  # noqa: E402
from studies.workers.worker import WorkerSettings, stop_on_signals  # noqa: E402
from uflow import extensions  # noqa: E402

STUDY = Study(
    name="trivial",
    question="Is every run done once?",
    arms=(Arm("none", {"occlusion.name": "none"}), Arm("wang", {"occlusion.name": "wang"})),
    baseline="none",
    metric="all",
)


def plan(runs):
    asked = planner.PlanRequest(preset=PRESETS["smoke"], seeds=tuple(range(runs // 2)))
    return planner.make(STUDY, asked)


def settings(out, storage=None, tracking=None, heartbeat=15, linger=0.0, limits=None):
    return WorkerSettings(
        execution=Execution(out=out, program="trivial_trainer", limits=limits or Limits()),
        study=STUDY.name,
        queue=STUDY.name,
        storage=storage,
        heartbeat=heartbeat,
        linger=linger,
        tracking=tracking,
    )


def main():
    out, runs, workers, *rest = sys.argv[1:]
    out, storage = pathlib.Path(out), os.environ.get("UFLOW_STORAGE")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    given = {key.removeprefix("to."): options.pop(key) for key in list(options) if key.startswith("to.")}
    extensions.load(options.pop("extensions").split(",") if "extensions" in options else ())
    launcher = start_of(options.pop("launcher", "local"), given)
    limits = Limits(seconds=float(options["timeout"]) if "timeout" in options else None,
                    gigabytes=float(options["memory"]) if "memory" in options else None)  # fmt: skip
    given = settings(out, storage, os.environ.get("UFLOW_TRACKING_URI"), int(options.get("heartbeat", 15)),
                     float(options.get("linger", 0)), limits)  # fmt: skip
    if "join" in rest:
        return max(abs(code) for code in join(given, int(workers), given_cards(), launcher))
    made = plan(int(runs))
    if "search" in options:
        made = dataclasses.replace(
            made, study=dataclasses.replace(STUDY, searched=STUDY.labels, trials=int(options["search"]))
        )
        search = tuning.SearchBudget(
            budget=int(options["search"]), metric="epe/synthetic/all", only=("train.learning_rate",)
        )
        stop = stop_on_signals()

        def done(trials):
            return run_all(trials, given, int(workers), given_cards(), launcher, stage="search", stop=stop)

        return 130 if tuning.tune(made, search, out, done, stop) is None else 0
    plan_store.write(made, out, made.plain())
    return 130 if run_all(made, given, int(workers), given_cards(), launcher) else 0


def given_cards():
    from studies.workers.cards import Card

    return (Card("CPU"),)


if __name__ == "__main__":
    sys.exit(main())
