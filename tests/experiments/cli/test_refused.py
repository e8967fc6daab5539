"""The command refuses options that cannot work together before anything is written, naming option and limit."""

import cv2
import numpy as np
import pytest

from experiments import run
from experiments.spec import problems_of
from studies.presets import PRESETS

SMALL = {"network.levels": 3, "data.height": 64, "data.width": 64, "selfsup.crop_height": 8, "selfsup.crop_width": 8}
# what is not refused by mistake shall end soon
SMALL |= {"network.width": 0.125, "train.steps": 1, "data.scenes.train_pairs": 2, "data.scenes.test_pairs": 1}


@pytest.fixture
def frames(tmp_path):
    """A folder of frames without ground truth."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((64, 64, 3), 40 * number, np.uint8))
    return folder


def refused(tmp_path, capsys, *options, **changes):
    """What the command says; it must refuse and leave nothing behind."""
    before = sorted(tmp_path.rglob("*"))
    words = [f"{key}={value}" for key, value in (SMALL | changes).items()]
    assert run.main(["--out", str(tmp_path / "out"), *options, "with", *words]) == 2
    written = capsys.readouterr()
    assert not written.out and sorted(tmp_path.rglob("*")) == before
    return written.err


COMBINATIONS = {
    "levels for the height": (
        {"network.levels": 5, "data.height": 96},
        "data.height 96 is too small for network.levels=5: the cost volume reaches 4 px at the coarsest level, so at"
        " least 160 rows or fewer levels are needed",
    ),
    "height for the levels": ({"data.height": 60}, "data.height 60 is not a multiple of 8 (2^network.levels"),
    "crop": (
        {"selfsup.crop_width": 32},
        "selfsup.crop_width=32 cuts away all of data.width=64: it must be less than 32",
    ),
    "crop without resizing": (
        {"selfsup.crop_height": 16, "selfsup.resize": "false"},
        "selfsup.crop_height=16: the student's height 32 is too small for network.levels=3",
    ),
    "crop not at a quarter": ({"selfsup.crop_height": 6}, "crop_height must be a multiple of 4"),
    "shift": ({"selfsup.max_shift_width": 12}, "max_shift_width (12) must not exceed crop_width (8)"),
    "advection without masks": (
        {"selfsup.mask": "advection", "occlusion.name": "none"},
        "selfsup.mask=advection needs masks of estimated flows, which occlusion.name=none does not give; possible: ",
    ),
    "advection before masks": (
        {"selfsup.mask": "advection", "occlusion.start": 0.9},
        "selfsup.mask=advection needs masks from selfsup.start=0.5 on, but occlusion.start=0.9 is later",
    ),
    "advection on too few pixels": (
        {"selfsup.mask": "advection", "occlusion.name": "wang4", "selfsup.crop_width": 28, "selfsup.resize": "false"},
        "selfsup.crop_width: the student's width 8 is too small for selfsup.mask=advection, which asks"
        " occlusion.name=wang4 at a quarter of the size: at least 16 px are needed",
    ),
    "1x1 layers": ({"network.level1_1x1": 3}, "network.level1_1x1 (3) must be less than level1_layers (3)"),
    "1x1 layers of PWC-Net": (
        {"network.level1_1x1": 3, "network.level1_layers": 5, "network.original_layer_sizes": "true"},
        "network.level1_1x1 (3) must be less than the layers of original_layer_sizes (3)",
    ),
    "no channel is left": (
        {"network.width": 0.03125, "network.original_layer_sizes": "true"},
        "network.width (0.03125) leaves none of the 16 channels of original_layer_sizes: it must be at least 0.0625",
    ),
    "no context is left": (
        {"network.context_channels": 4},
        "network.width (0.125) leaves none of the 4 channels of context_channels: it must be at least 0.25",
    ),
    "no sign of occlusion": (
        {"occlusion.name": "uflow", "occlusion.fb_abs": "no"}
        | {"occlusion.forward_collision": "no", "occlusion.backward_zero": "no"},
        "at least one of fb_abs, forward_collision and backward_zero must be true",
    ),
    "ramp": (
        {"smoothness.ramp_start": 0.5, "smoothness.ramp_end": 0.4},
        "ramp_start (0.5) must not exceed ramp_end (0.4)",
    ),
    "scales": ({"data.augmentation.scale_low": 1.2}, "scale_low (1.2) must not exceed scale_high (1)"),
    "one side of the working size": (
        {"evaluation.height": 64},
        "evaluation.height=64 and evaluation.width=0: give both or neither",
    ),
    "working size for the levels": (
        {"evaluation.height": 32, "evaluation.width": 64},
        "evaluation.height=32 evaluation.width=64: height 32 is too small for network.levels=3: the cost volume",
    ),
    "option of another component": (
        {"occlusion.name": "wang", "occlusion.beta": 1},
        "unknown option 'occlusion.beta'; did you mean",
    ),
}


@pytest.mark.parametrize("case", COMBINATIONS)
def test_combinations_that_cannot_work(tmp_path, capsys, case):
    changes, sentence = COMBINATIONS[case]
    assert sentence in refused(tmp_path, capsys, **changes)


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [({"train.supervised": "true"}, "flow"), ({"occlusion.name": "ground_truth"}, "occlusion")],
)
def test_data_without_the_ground_truth_that_is_trained_with(tmp_path, capsys, frames, changes, lacking):
    said = refused(tmp_path, capsys, "--data", f"frames:{frames}", "--eval", "synthetic", **changes)
    assert f"no ground truth {lacking}, which this experiment trains with (train.supervised or occlusion.name)" in said


def test_data_without_the_ground_truth_that_is_evaluated_with(tmp_path, capsys, frames):
    said = refused(tmp_path, capsys, "--data", "synthetic", "--eval", f"frames:{frames}")
    assert "frames has no ground truth flow to evaluate on; give other data with --eval, or none to train" in said


def test_data_to_evaluate_on_counts_once(tmp_path, capsys, frames):
    said = refused(tmp_path, capsys, "--data", f"frames:{frames}*2", "--eval", "synthetic*2")
    assert "synthetic*2: what is evaluated on counts once, leave out *2" in said


def test_data_that_is_named_twice(tmp_path, capsys, frames):
    said = refused(tmp_path, capsys, "--data", f"frames:{frames};synthetic;frames:{frames}")
    assert f"frames:{frames} is named twice; to take its pairs twice as often in training write frames:" in said


def test_a_crop_that_is_larger_than_the_frames(tmp_path, capsys, frames):
    changes = {"data.fit": "crop", "data.height": 96}
    said = refused(tmp_path, capsys, "--data", f"frames:{frames}", "--eval", "synthetic", **changes)
    assert "pair 0 of frames has 64x64 px, which is too small for a crop of 64x96 (data.fit=crop)" in said


def test_what_is_refused_nowhere_fits_together():
    assert all(problems_of(preset.spec) == [] for preset in PRESETS.values())
