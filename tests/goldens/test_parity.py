"""Walks a directory of the reference's inputs and outputs and compares every array in every file.

The directory is named by `UFLOW_GOLDENS`; sizes, seeds and parameters are read from it.
"""

import json
import os
import re

import numpy as np
import pytest

from goldens import augmenting, geometry, losses, masks, networks, parity, totals, training
from goldens.conftest import directory
from goldens.golden import SMALL, Golden, manifest

CHECKS = {
    "warp_ops": geometry.check_warp_ops,
    "resize": geometry.check_resize,
    "range_map": geometry.check_range_map,
    "losses_basic": losses.check_losses_basic,
    "smoothness": losses.check_smoothness,
    "supervised": losses.check_supervised,
    "occlusion": masks.check_occlusion,
    "normalize_cost": networks.check_normalize_cost,
    "model_dropout": networks.check_dropout,
    "model_.*": networks.check_model,
    "inference": networks.check_inference,
    "augmentation": augmenting.check_augmentation,
    "optimizer": training.check_optimizer,
    "schedules": training.check_schedules,
    "metrics": training.check_metrics,
    "selfsup_transforms": training.check_selfsup_transforms,
    "total_loss": totals.check_total_loss,
    "train_step": totals.check_train_step,
}
DIRECTORY, ABSENT = directory()
WRITING = os.environ.get("UFLOW_PARITY")


def check_of(name):
    for pattern, check in CHECKS.items():
        if re.fullmatch(pattern, name):
            return check
    raise KeyError(f"{name}.npz: no check knows this file; known are {', '.join(CHECKS)}")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(path.stem for path in DIRECTORY.glob("*.npz")))
def test_every_array_equals_the_reference(name, report):
    golden = Golden(DIRECTORY, name)
    report(golden)
    check_of(name)(golden)
    golden.finish()
    stored = None if WRITING else parity.cases_stored(golden)
    if stored is not None:  # other goldens have other numbers
        found = {component: cases for component, (cases, _) in parity.summary(golden).items()}
        assert found == stored, f"{parity.STORED.name} is out of date, see {parity.__name__}"


def listed(directory):
    """Names of the files that a directory says it has, and of those that are there."""
    names = set(manifest(directory))
    if (directory / "INDEX.json").exists():
        names |= set(json.loads((directory / "INDEX.json").read_text()).get("files", {}))
    return names, {path.stem for path in directory.glob("*.npz")}


def test_every_listed_file_is_there_with_its_arrays():
    names, there = listed(DIRECTORY)
    assert names, f"{DIRECTORY}/manifest.json lists no file"
    assert there == names, f"missing: {sorted(names - there)}; in no list: {sorted(there - names)}"
    for name, entry in manifest(DIRECTORY).items():
        with np.load(DIRECTORY / f"{name}.npz") as arrays:
            found = {key: f"{arrays[key].dtype}{list(arrays[key].shape)}" for key in arrays.files}
        said = entry.get("keys", found)
        other = sorted(key for key in found.keys() | said.keys() if found.get(key) != said.get(key))
        assert not other, f"{name}.npz does not hold what manifest.json says: {other}"


def test_the_whole_set_is_compared():
    if DIRECTORY == SMALL:
        pytest.skip(f"only the files in {SMALL.name} were compared: {ABSENT}")
