"""The parts of `benchmarks.accelerator`: `python -m benchmarks.accelerator_parts PART TARGET SIZES DIRECTORY`.

Each is done by a process of its own, which a driver may take with it. What a part finds is in `found.json` of its
directory, which is written anew with everything that it has found, and so is `error` there if it raised; exit code 1
then. SIZES is `paper`, or `tiny` for a look at whether everything works.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import component_values
from benchmarks.cases import CASES, Case
from benchmarks.step import processor
from experiments.records import json_files, layout
from experiments.records.code_version import code_version

SIZES = {
    "paper": CASES["384x512"],
    "tiny": Case(height=32, width=32, batch=1, levels=2, multiplier=0.0625, crop=8),
}
STEPS = 30  # timed at most, of each kind
SECONDS = 5.0  # after which no more are timed
TOLERANCE = 1e-3  # of the largest value: how far a component may be from the CPU
OF_NETWORK = 1e-2  # the same of the network, whose convolutions some cards round to 10 bits
OF_FLOAT16 = 2e-2  # of the loss: how far that of float16 may be from that of float32
STUDY = "occlusion_ablation"
TINY_NAMES = ("photometric.l1", "occlusion.brox", component_values.NETWORK)
TINY_STUDY = {
    "network.levels": "2", "network.width": "0.0625", "data.height": "32", "data.width": "32", "train.steps": "4",
    "train.validations": "1", "data.scenes.train_pairs": "4", "data.scenes.validation_pairs": "2",
    "data.scenes.test_pairs": "2",
}  # fmt: skip


class Failed(Exception):
    """What a part was to show does not hold; the message says why."""


@dataclasses.dataclass
class Part:
    """What a part is told, and what it has found so far.

    Attributes:
        target: the device.
        sizes: one of `SIZES`.
        directory: of the part; those of the other parts are beside it.
        found: what it has found, plain data.
    """

    target: str
    sizes: str
    directory: pathlib.Path
    found: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def case(self) -> Case:
        """Image, batch and network."""
        return SIZES[self.sizes]

    def keep(self, **found: Any) -> None:
        """Adds to what was found, and writes it down."""
        self.found |= found
        json_files.write_json(self.directory / "found.json", self.found)


def plain(value: float, digits: int = 6) -> float | str:
    """A number as JSON can hold it."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else str(value)


def versions(part: Part) -> None:
    """Software, host and cards, and a sum that the device gets right."""
    packages = ("mindspore", "numpy", "scipy", "optuna", "sacred", "mlflow")
    part.keep(
        code=code_version(),
        python=platform.python_version(),
        system=platform.platform(),
        packages={name: importlib.metadata.version(name) for name in packages},
        cpu=processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=plain(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 3),
        cards=cards(),
    )
    from experiments.training import device
    from uflow import backend as ms

    device.prepare(part.target, 0, part.directory / "mindspore")
    total = float((ms.Tensor(np.arange(4, dtype=np.float32)) * 2).sum().asnumpy())
    if total != 12.0:
        raise Failed(f"twice 0 + 1 + 2 + 3 is {total} on {part.target}")


def cards() -> dict[str, str]:
    """What the tools and files of drivers say of the cards of this machine, those that are there."""
    tools = {
        "nvidia-smi": ["--query-gpu=index,name,driver_version,memory.total,compute_cap", "--format=csv"],
        "nvcc": ["--version"],
        "npu-smi": ["info"],
    }
    said = {}
    for tool, words in tools.items():
        if shutil.which(tool):
            done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=15)
            said[tool] = (done.stdout if done.returncode == 0 else done.stdout + done.stderr).strip()
    for file in ("/usr/local/cuda/version.json", "/usr/local/Ascend/ascend-toolkit/latest/version.cfg"):
        if os.path.exists(file):
            said[file] = pathlib.Path(file).read_text(errors="replace").strip()
    return said


def parity(part: Part) -> None:
    """Every component's output and gradient, and the flow of a network, against the CPU.

    The CPU computes with MindSpore's own operators, as a card does; if it is compared with itself, the kernels are what
    is compared.
    """
    names = component_values.names()
    if part.sizes == "tiny":
        names = TINY_NAMES
    ours, theirs = part.directory / "device", part.directory / "cpu"
    started = [_values("CPU", theirs, names, kernels="off"), _values(part.target, ours, names, kernels="auto")]
    errors: dict[str, Any] = {}
    wrong: list[str] = []
    for name in names:
        # what is there of either is whole; it is looked at while the rest is computed
        while not all(_is_there(folder, name) for folder in (ours, theirs)) and None in [p.poll() for p in started]:
            time.sleep(0.2)
        problem, errors[name] = compared(ours, theirs, name)
        wrong += [f"{name}: {problem}"] if problem else []
        part.keep(tolerance=TOLERANCE, tolerance_of_network=OF_NETWORK, error_by_largest_value=errors, wrong=wrong)
    codes = [process.wait() for process in started]
    if wrong:
        raise Failed(f"{len(wrong)} of {len(names)} differ, such as {wrong[0]} (exit codes {codes[0]} and {codes[1]})")


def _is_there(folder: pathlib.Path, name: str) -> bool:
    return (folder / f"{name}.npz").exists() or (folder / f"{name}.error").exists()


def _values(target: str, directory: pathlib.Path, names: Sequence[str], kernels: str) -> subprocess.Popen:
    """Starts computing the values of components on a device."""
    command = [sys.executable, "-m", "benchmarks.component_values", target, str(directory), *names]
    return subprocess.Popen(command, env=os.environ | {"UFLOW_KERNELS": kernels}, stdout=sys.stderr)


def compared(ours: pathlib.Path, theirs: pathlib.Path, name: str) -> tuple[str, Any]:
    """Why the values of a component do not agree, or nothing; and their errors in units of the largest value.

    Args:
        ours: directory of the values on the device.
        theirs: directory of the values on the CPU.
        name: of the component.
    """
    for where, folder in (("the device", ours), ("the CPU", theirs)):
        if (file := folder / f"{name}.error").exists():
            return f"on {where}: {file.read_text()}", None
        if not (folder / f"{name}.npz").exists():
            return f"was not computed on {where}", None
    mine, other = np.load(ours / f"{name}.npz"), np.load(theirs / f"{name}.npz")
    errors = {}
    for key in other.files:
        if mine[key].shape != other[key].shape:
            return f"{key} has shape {mine[key].shape}, {other[key].shape} on the CPU", None
        largest = float(np.abs(other[key]).max())
        errors[key] = float(np.abs(mine[key] - other[key]).max()) / (largest or 1.0)
    allowed = OF_NETWORK if name == component_values.NETWORK else TOLERANCE
    wrong = [f"{key} by {value:.2g}" for key, value in errors.items() if not value <= allowed]  # NaN is wrong too
    return ", ".join(wrong), {key: plain(value, 3) for key, value in errors.items()}


def timed(part: Part, mode: str, amp: str = "O0") -> dict[str, Any]:
    """Seconds of the first call, ms of the others, and what the first one found, of a step or inference."""
    from benchmarks.side import uflow_side
    from uflow import backend as ms

    directory = part.directory / f"{mode}_{amp}"
    directory.mkdir(exist_ok=True)
    began = time.perf_counter()
    run = uflow_side(part.case, mode, directory, part.target, amp)
    first = time.perf_counter() - began
    run()
    times: list[float] = []
    while len(times) < STEPS and sum(times) < 1e3 * SECONDS:
        began = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - began))
    found = {
        "first_call_s": plain(first, 3),
        "ms": plain(statistics.median(times), 4),
        "ms_range": [plain(min(times), 4), plain(max(times), 4)],
        "steps": len(times),
    }
    if part.target != "CPU":
        found["memory_gb"] = plain(ms.runtime.max_memory_allocated() / 1e9, 3)
        ms.runtime.reset_peak_memory_stats()
    return found


def step(part: Part) -> None:
    """Milliseconds of a training step, of inference, and of a step with self-supervision, in float32."""
    case = part.case
    part.keep(size=case.name, batch=case.batch, levels=case.levels, width=case.multiplier)
    for mode in ("step",) if part.sizes == "tiny" else ("step", "inference", "selfsup"):
        part.keep(**{mode: timed(part, mode)})


def float16(part: Part) -> None:
    """Milliseconds of a training step in mixed precision, and its first loss and gradients, against float32."""
    single, before = part.directory.parent / "step", _found(part, "step").get("step")
    part.keep(O0=before or timed(part, "step"))
    exact = np.load((single if before else part.directory) / "step_O0" / "uflow.npz")
    wrong = []
    for amp in ("O2",) if part.sizes == "tiny" else ("O2", "O3"):
        found = timed(part, "step", amp)
        mixed = np.load(part.directory / f"step_{amp}" / "uflow.npz")
        loss = abs(float(mixed["loss"]) - float(exact["loss"])) / abs(float(exact["loss"]))
        keys = [key for key in exact.files if key != "loss"]
        one, two = (np.concatenate([side[key].ravel() for key in keys]).astype(np.float64) for side in (mixed, exact))
        length = float(np.linalg.norm(one) * np.linalg.norm(two))
        found |= {
            "of_float32": plain(found["ms"] / part.found["O0"]["ms"], 3),
            "loss_error": plain(loss, 3),
            "cosine_of_gradients": plain(float(one @ two) / length, 6) if length else None,
        }
        part.keep(**{amp: found})
        wrong += [] if loss <= OF_FLOAT16 else [f"{amp}: the loss differs by {loss:.2g} of it"]
        wrong += [] if one.any() else [f"{amp}: the update was left out, for its gradients are not finite"]
    if wrong:
        raise Failed("; ".join(wrong))


def _found(part: Part, other: str) -> dict[str, Any]:
    """What another part has found, which may be nothing."""
    file = part.directory.parent / other / "found.json"
    return json_files.read_json(file) if file.exists() else {}


def study(part: Part) -> None:
    """A smoke study by the command itself, two runs one after the other; the second finds its graphs compiled."""
    _study(part, 1)


def two_workers(part: Part) -> None:
    """The same with two workers at a time on one card, and how much sooner it is done."""
    _study(part, 2)
    if alone := _found(part, "study"):
        part.keep(
            of_one_worker=plain(part.found["seconds"] / alone["seconds"], 3),
            same_metrics=alone["metrics"] == part.found["metrics"],
        )


def _changes(part: Part) -> Mapping[str, str]:
    return TINY_STUDY if part.sizes == "tiny" else {}


def _device(part: Part) -> str:
    """The first card of the kind, as `--device` takes it."""
    from studies.workers import cards as known

    first = known.parse(part.target)[0]
    return first.target.lower() + ("" if first.number is None else f":{first.number}")


def _study(part: Part, workers: int) -> None:
    """Does a smoke study with a number of workers; raises if a run does not complete."""
    words = [STUDY, "--preset", "smoke", "--arms", "none", "--seeds", "2", "--workers", str(workers), "--force"]
    words += ["--device", _device(part), "--tracking-uri", "none", "--out", str(part.directory / "out"), "--json"]
    for key, value in _changes(part).items():
        words += ["--set", f"{key}={value}"]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "studies.run", *words], stdout=sys.stderr)
    seconds = time.monotonic() - began
    runs = {path.parent.name: path for path in sorted((part.directory / "out").glob(f"runs/*/{layout.RESULT}"))}
    records = {name: json_files.read_json(path) for name, path in runs.items()}
    costs = {name: json_files.read_json(path.with_name(layout.COST)) for name, path in runs.items()}
    part.keep(
        seconds=plain(seconds, 4),
        workers=workers,
        exit_code=done.returncode,
        status={name: record["status"] for name, record in records.items()},
        metrics={name: record["metrics"] for name, record in records.items()},
        cost={name: {key: cost[key] for key in ("seconds", "ms_per_step", "device")} for name, cost in costs.items()},
    )
    if done.returncode or len(records) < 2:
        raise Failed(f"studies.run {' '.join(words)} ended with exit code {done.returncode}, {len(records)} of 2 runs")


def forked(part: Part) -> None:
    """A run of the study once more, forked from a process that has loaded MindSpore, or fresh where the study forks.

    The project forks on the CPU only; on a card this tells whether what its driver sets up survives a fork.
    """
    from experiments.records.run_record import read_result
    from studies.planning import catalog, plan_store, planner
    from studies.presets import PRESETS
    from studies.workers import cards as known
    from studies.workers.fork_server import ForkServer, can_fork
    from studies.workers.subprocess_run import Execution, fresh

    request = planner.PlanRequest(preset=PRESETS["smoke"], seeds=(0,), changes=dict(_changes(part)), arms=("none",))
    plan = planner.make(catalog.load(STUDY), request)
    out = part.directory / "out"
    plan_store.write(plan, out, plan.plain())
    execution = Execution(out=out, card=known.parse(part.target)[0])
    directory = layout.run_directory(out, plan.runs[0].directory)
    server = None if can_fork(execution) else ForkServer(execution)
    part.keep(how="forked" if server else "fresh")
    began = time.monotonic()
    process = server.start(directory, ()) if server else fresh(execution, directory, ())
    try:
        while process.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1.0)
    finally:
        if server:
            server.close()
    seconds = time.monotonic() - began
    done = layout.finished(directory)
    status = read_result(directory).status if done else f"ended with {process.returncode} and no result"
    part.keep(seconds=plain(seconds, 4), status=status)
    if status != "completed":
        log = (directory / layout.LOG).read_text(errors="replace").strip().splitlines()
        raise Failed(f"the run that was {part.found['how']}: {status}; {log[-1] if log else 'it said nothing'}")
    other = layout.run_directory(part.directory.parent / "study" / "out", directory.name)
    if not layout.finished(other):
        raise Failed("the study has left no run to compare with")
    names = (layout.RESULT, layout.METRICS)
    part.keep(same_bytes=all((directory / name).read_bytes() == (other / name).read_bytes() for name in names))


PARTS: Mapping[str, Callable[[Part], None]] = {
    "versions": versions,
    "parity": parity,
    "step": step,
    "float16": float16,
    "study": study,
    "forked": forked,
    "two_workers": two_workers,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Does a part; 0, or 1 if it failed."""
    name, target, sizes, directory = sys.argv[1:] if argv is None else argv
    part = Part(target, sizes, pathlib.Path(directory))
    part.directory.mkdir(parents=True, exist_ok=True)
    try:
        PARTS[name](part)
    except Exception as error:  # whatever a driver can raise is what the part has found
        lines = [line.strip() for line in str(error).splitlines() if line.strip(" -\t")]
        kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
        part.keep(error=f"{kind}{lines[0] if lines else ''}")
        if not isinstance(error, Failed):
            import traceback

            traceback.print_exc()
        return 1
    part.keep()
    return 0


if __name__ == "__main__":
    sys.exit(main())
