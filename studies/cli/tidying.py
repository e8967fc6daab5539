"""What no run will ask for any more is removed from a results folder."""

from __future__ import annotations

import contextlib
import pathlib
import shutil

from experiments.records import json_files, layout, locks
from experiments.spec import from_config, prefix_id


def prune_prefixes(out: pathlib.Path) -> list[str]:
    """Removes the training that runs had in common where all of them have a result; returns its names.

    A run that is planned later trains such a part again, to the same bits. What a run is at, or another study in the
    folder waits for, stays.

    Args:
        out: directory of all results.
    """
    waiting = []
    for path in out.glob(f"{layout.RUNS}/*/{layout.SPEC}"):
        if not path.with_name(layout.RESULT).exists():
            try:
                waiting.append(from_config(json_files.read_json(path)))
            except ValueError:  # nobody knows what it shares
                return []
    removed = []
    for folder in sorted(path for path in (out / layout.PREFIXES).glob("*") if path.is_dir()):
        steps = {int(path.stem[5:]) for path in folder.glob("step_*.json") if path.stem[5:].isdigit()}
        if any(prefix_id(spec, step) == folder.name for spec in waiting for step in steps):
            continue
        lock = folder.with_name(f"{folder.name}.lock")
        with contextlib.suppress(OSError), locks.held(lock, give_up=lambda: True) as alone:
            if alone:
                shutil.rmtree(folder)
                lock.unlink()
                removed.append(folder.name)
    return removed
