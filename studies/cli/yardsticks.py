"""What methods without training reach on the evaluation data of a study, computed once, when it ends."""

from __future__ import annotations

import dataclasses
import pathlib
import sys

from experiments.records import layout
from experiments.records.json_files import RecordError, read_json
from experiments.records.plan import read_plan
from experiments.records.yardsticks import Yardsticks, read_yardsticks, write_yardsticks
from experiments.spec import ExperimentSpec, from_config


def keep_yardsticks(folder: pathlib.Path) -> None:
    """Writes `yardsticks.json` unless it holds the numbers of this protocol on these data already.

    The data are those of the study's baseline. Where they cannot be read, or are others by now, there is no such file
    and a note says why: a study does without.

    Args:
        folder: of the study.
    """
    plan = read_plan(folder)
    spec = _baseline_spec(folder)
    if spec is None or not spec.evaluation.digest:
        return
    try:
        known = read_yardsticks(folder)
    except RecordError:  # it is written again
        known = None
    told = {"protocol": plan.protocol, "digest": spec.evaluation.digest, "regions": spec.evaluation.regions}
    if known and dataclasses.replace(known, **told) == known:
        return
    from experiments.data.pairs import DataError
    from experiments.evaluation.evaluator import evaluate
    from experiments.evaluation.regions import names_of, resolved
    from experiments.evaluation.yardsticks import METHODS
    from experiments.execution.inputs import digest_of, open_pairs

    try:
        pairs = open_pairs(spec, "evaluation", "test")
        if digest_of(pairs, spec.evaluation.source or spec.data.source) != spec.evaluation.digest:
            raise DataError(f"{pairs.name} has changed since the runs were evaluated on it")
        titles = [method.title for method in METHODS.values()]
        print(f"for comparison, once: {', '.join(titles)} on {len(pairs)} pairs of {pairs.name}", flush=True)
        more = names_of(resolved(spec.evaluation.regions))
        numbers = {method.title: evaluate(method, pairs, more=more).metrics for method in METHODS.values()}
    except (ValueError, OSError) as error:
        print(f"note: the tables have no methods without training: {error}", file=sys.stderr)
        return
    write_yardsticks(folder, Yardsticks(**told, numbers=numbers))


def _baseline_spec(folder: pathlib.Path) -> ExperimentSpec | None:
    """The spec of a run of the baseline; `None` if none was begun here."""
    plan = read_plan(folder)
    for name in plan.arm(plan.baseline).runs.values():
        path = layout.run_directory(folder.parent, name) / layout.SPEC
        try:
            return from_config(read_json(path))
        except ValueError:  # not there, damaged, or of another version
            continue
    return None
