"""Simulated studies: run files with known effects, written the way runs write them."""

import dataclasses
import hashlib
import json
import pathlib

import hypothesis
import pytest

from experiments.records.json_files import write_json
from experiments.records.run_record import RunRecord, sealed, write_result

METRIC = "epe/synthetic/all"

# A busy machine is slow, not wrong.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@dataclasses.dataclass
class SimulatedStudy:
    """Writes a plan and any run of it; values are chosen by the test."""

    out: pathlib.Path
    labels: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    baseline: str | None = None
    metrics: tuple[str, ...] = (METRIC,)
    metric: str = METRIC
    changes: dict = dataclasses.field(default_factory=dict)
    name: str = "occlusion_ablation"

    def __post_init__(self):
        self.baseline = self.baseline or self.labels[0]
        self.directory = self.out / self.name
        self.directory.mkdir(parents=True)
        write_json(self.directory / "plan.json", self.plan())

    def run_name(self, label, seed):
        digest = hashlib.sha256(f"{label}/{seed}".encode()).hexdigest()[:12]
        return f"run_{self.labels.index(label)}-s{seed}__{digest}"

    def plan(self):
        arms = [
            {
                "label": label,
                "changes": self.changes.get(label, {"occlusion.name": label}),
                "runs": {str(seed): self.run_name(label, seed) for seed in self.seeds},
            }
            for label in self.labels
        ]
        return {
            "format": 1,
            "study": self.name,
            "question": "Which mask is best?",
            "preset": "short",
            "metrics": list(self.metrics),
            "metric": self.metric,
            "baseline": self.baseline,
            "protocol": "full/1",
            "seeds": list(self.seeds),
            "arms": arms,
        }

    def run(self, label, seed):
        path = self.out / "runs" / self.run_name(label, seed)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def spec(self, label, seed, **changes):
        spec = {
            "format": 1,
            "seed": seed,
            "data": {"name": "synthetic", "digest": "d0"},
            "evaluation": {"name": "synthetic", "digest": "e0"},
            "occlusion": {"name": label, "revision": 1, "stop_gradient": True},
        }
        return {**spec, **changes}

    def write(self, label, seed, value, *, metric=METRIC, status="completed", frames=None, spec=None, **more):
        """A finished run; `value` is a number, or a dictionary of metrics."""
        metrics = value if isinstance(value, dict) else {} if value is None else {metric: value}
        record = RunRecord(
            run_id=self.run_name(label, seed).rsplit("__", 1)[1],
            status=status,
            reason="" if status == "completed" else "loss was not finite",
            step=100,
            spec=spec or self.spec(label, seed),
            metrics=metrics,
            validation={},
            frames=frames or {},
            protocol=more.get("protocol", "full/1"),
        )
        write_result(self.run(label, seed), record)
        return self.run(label, seed)

    def write_arm(self, label, values, **more):
        for seed, value in zip(self.seeds, values, strict=True):
            if value == "diverged":
                self.write(label, seed, None, status="diverged", **more)
            elif value is not None:
                self.write(label, seed, value, **more)

    def edit(self, label, seed, change):
        """Rewrites a result.json after `change` was applied to its content."""
        path = self.run(label, seed) / "result.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(sealed(content)))


@pytest.fixture(scope="session")
def simulated_study():
    """The class itself, for a study that several tests look at."""
    return SimulatedStudy


@pytest.fixture
def simulate(tmp_path):
    """`simulate(labels, ...)` -> a `SimulatedStudy` in a new directory."""

    def make(*labels, **more):
        return SimulatedStudy(tmp_path / "out", labels, **more)

    return make
