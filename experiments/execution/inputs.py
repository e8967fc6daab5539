"""The data of a run: what it is trained, validated and tested on, opened and checked."""

from __future__ import annotations

import dataclasses
import hashlib

from experiments.data.catalog import absolute, check_once, open_source, parse
from experiments.data.loader import check_room
from experiments.data.pairs import DataError, PairSet, check_known
from experiments.data.skipping import without_bad
from experiments.evaluation.regions import check_brought, resolved
from experiments.spec import ExperimentSpec, wanted_truth
from uflow import extensions


@dataclasses.dataclass(frozen=True)
class Data:
    """The pairs of a run.

    Attributes:
        training: what is trained on.
        validation: what is evaluated on the way, of the training data or, if they have no true flow, of the data of
            the evaluation; `None` if neither has.
        tested: what the result is measured on; `None` if no data were named for it and the training data have no flow.
    """

    training: PairSet
    validation: PairSet | None
    tested: PairSet | None


def open_data(spec: ExperimentSpec, skip_bad: int = 0) -> Data:
    """The pairs of a run, without up to `skip_bad` pairs of each set that cannot be read.

    Raises:
        DataError: if data is missing, or more pairs than that cannot be read.
    """
    training, tested = open_pairs(spec, "data", "train"), _tested(spec)
    training = without_bad(training, skip_bad)
    tested = None if tested is None else without_bad(tested, skip_bad)
    for section in ("data", "evaluation"):
        validation = open_pairs(spec, section, "validation")
        if "flow" in validation.provides:
            return Data(training, without_bad(validation, skip_bad), tested)
    return Data(training, None, tested)


def _tested(spec: ExperimentSpec) -> PairSet | None:
    """The pairs to evaluate on; `None` if those are the training data, which have no true flow."""
    pairs = open_pairs(spec, "evaluation", "test")
    return pairs if spec.evaluation.source or "flow" in pairs.provides else None


def open_pairs(spec: ExperimentSpec, section: str, split: str) -> PairSet:
    """The pairs of a split of the data (`data`) or of what is evaluated on (`evaluation`)."""
    if section == "evaluation":
        check_once(spec.evaluation.source)
    source = getattr(spec, section).source or spec.data.source
    height, width = spec.data.scene_size
    return open_source(source, split, height=height, width=width, scenes=spec.data.scenes)


def with_digests(spec: ExperimentSpec, data: Data | None = None) -> ExperimentSpec:
    """The spec with the digests and absolute paths of its data, after a check of the data's headers and sizes.

    So of what it starts from.

    Args:
        spec: the experiment.
        data: its own pairs, if they are open already.

    Raises:
        DataError: if the data is missing or damaged, is not what a digest in the spec says, is too small for the crop,
            or what was named to evaluate on has no pixel for it, or none of a region, or nothing is evaluated.
        ValueError: if a region is unknown, or not what a digest in the spec says.
    """
    regions = resolved(spec.evaluation.regions)
    if spec.initial:
        spec = dataclasses.replace(spec, initial=with_digests(spec.initial))
    if data is None:
        training, tested = open_pairs(spec, "data", "train"), _tested(spec)
    else:
        training, tested = data.training, data.tested
    for pairs in {id(p): p for p in (training, tested) if p is not None}.values():
        pairs.verify()
    if lacking := wanted_truth(spec) - training.provides:
        raise DataError(
            f"{training.name} has no ground truth {' and no '.join(sorted(lacking))}, which this experiment trains with"
            " (train.supervised or occlusion.name)"
        )
    if tested is not None:
        _check_truth(tested)
        check_brought(regions, tested)
    elif regions:
        raise DataError(
            f"evaluation.regions={regions}: nothing is evaluated, {training.name} has no true flow; give data that has"
            " it with --eval, or no regions"
        )
    if spec.data.fit == "crop":  # of the other pairs, whoever reads them
        check_room(training.name, training[0], spec.data.height, spec.data.width)
    # the digest of a short set stands for its content; all splits of a set come from the same files
    read = spec.evaluation.source or spec.data.source
    found = {
        "data": digest_of(training, spec.data.source),
        "evaluation": "" if tested is None else digest_of(tested, read),
    }
    for section, value in found.items():
        if (given := getattr(spec, section).digest) and given != value:
            raise DataError(
                f"the {section} of this spec had digest {given}, what is there now has {value}: the data has changed,"
                " so this is another experiment"
            )
    evaluated = spec.evaluation.source and absolute(spec.evaluation.source)
    return dataclasses.replace(
        spec,
        data=dataclasses.replace(spec.data, digest=found["data"], source=absolute(spec.data.source)),
        evaluation=dataclasses.replace(spec.evaluation, digest=found["evaluation"], source=evaluated, regions=regions),
    )


def digest_of(pairs: PairSet, source: str) -> str:
    """16 hex digits of the content of a set, and of the code that reads it where that comes from an extension."""
    brought = extensions.functions("SOURCES")
    code = [brought[part.name][1].digest for part in parse(source) if part.name in brought]
    return hashlib.sha256(" ".join([pairs.digest, *code]).encode()).hexdigest()[:16] if code else pairs.digest[:16]


def _check_truth(tested: PairSet) -> None:
    """Raises `DataError` if there is nothing to evaluate on."""
    if "flow" not in tested.provides:
        raise DataError(
            f"{tested.name} has no ground truth flow to evaluate on; give other data with --eval, or none to train"
            " without an evaluation"
        )
    check_known(tested.name, (tested[index] for index in range(len(tested))))
