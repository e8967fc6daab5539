"""Measures what `--plan` estimates times by: `python -m benchmarks.costs` writes studies/planning/costs.json.

For every preset two runs of its baseline, one after the other, by the command itself, with fewer steps; what counts is
the second one, which finds its graphs compiled like most runs of a study. On an idle machine.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from benchmarks.step import processor
from experiments.cli.flags import Parser
from experiments.records import json_files, layout
from studies.planning import costs
from studies.presets import PRESETS

# few steps where they take long; scenes are made and evaluated as often as there are of them
CHANGES: Mapping[str, Sequence[str]] = {
    "short": ("train.steps=150",),
    "night": ("train.steps=150",),
    "paper": ("train.steps=6", "train.validations=1", "data.scenes.train_pairs=4", "data.scenes.validation_pairs=1",
              "data.scenes.test_pairs=1"),
}  # fmt: skip


def measured(preset: str, folder: pathlib.Path) -> costs.RunCost:
    """What a run of a preset's baseline costs on one core.

    Raises:
        RuntimeError: if a run fails.
    """
    words = [
        "occlusion_ablation",
        "--preset",
        preset,
        "--arms",
        "none",
        "--seeds",
        "2",
        "--workers",
        "1",
        "--device",
        "cpu",
    ]
    words += ["--force", "--tracking-uri", "none", "--out", str(folder)]
    for change in CHANGES.get(preset, ()):
        words += ["--set", change]
    done = subprocess.run([sys.executable, "-m", "studies.run", *words], stdout=sys.stderr)
    if done.returncode:
        raise RuntimeError(f"preset {preset}: studies.run {' '.join(words)} ended with exit code {done.returncode}")
    results = sorted((folder / layout.RUNS).glob(f"*/{layout.RESULT}"), key=lambda path: path.stat().st_mtime)
    last = results[-1].parent
    found = costs.cost_of(json_files.read_json(last / layout.SPEC), json_files.read_json(last / layout.COST))
    if found is None:
        raise RuntimeError(f"{last}: its cost.json does not tell what it has cost")
    return found


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m benchmarks.costs", description=__doc__)
    made.add_argument("--presets", default=",".join(PRESETS), help="which presets (%(default)s)")
    made.add_argument("--json", type=pathlib.Path, metavar="FILE", default=costs.TABLE, help="where to (%(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measures; 0, or 2 for an unknown preset."""
    made = parser()
    given = made.parse_args(argv)
    names = given.presets.split(",")
    if unknown := [name for name in names if name not in PRESETS]:
        made.error(f"--presets: unknown {', '.join(unknown)} (known: {', '.join(PRESETS)})")
    known = dict(costs.table()["presets"]) if costs.TABLE.exists() else {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="uflow-costs-") as folder:
            found = measured(name, pathlib.Path(folder))
        known[name] = {key: round(value, 1) for key, value in dataclasses.asdict(found).items()}
        print(f"{name}: {found.ms_per_step:.1f} ms a step, {found.seconds_per_run:.1f} s beside them", flush=True)
    json_files.atomic_write(given.json, json.dumps({"machine": processor(), "presets": known}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
