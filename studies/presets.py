"""Named starting points: how large the network is, how long it trains and on what."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.spec import ExperimentSpec, changed, default_spec
from studies.design import GateRule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """A starting spec and the number of seeds that goes with it.

    Attributes:
        name: how the command line calls it.
        about: one line.
        changes: what it changes in the paper's settings, by dotted key.
        usual: options of components that are not in the starting spec, used where an arm brings such a component.
        seeds: how many seeds a study takes by default.
        device: the device that it needs: `any`, or `accelerator`.
        quick: whether a study runs its core arms only, unless others are asked for.
    """

    name: str
    about: str
    changes: Mapping[str, Any]
    usual: Mapping[str, Any]
    seeds: int
    device: str = "any"
    quick: bool = True

    @property
    def spec(self) -> ExperimentSpec:
        """The starting spec."""
        return changed(default_spec(), self.changes, self.usual)


# Of the occlusion methods, `brox` with the paper's tolerance of 0.5 px^2 declares everything occluded within 300 steps
# (seeds 0 and 1); with 2 px^2 it does not (validation, seed 0). Networks this small do not reach the accuracy that the
# paper's tolerance is made for, so `short` takes 2 px^2.
# Scenes, warm start and schedule: large opposed motion, weak smoothness first, the mask on a network that has learned
# to match. A mask only takes a signal away; the smoothness has to supply another one, hence its weight at the end.
_SMALL = {
    "network.levels": 3,
    "network.width": 0.25,
    "network.level_dropout": 0.0,
    "data.height": 64,
    "data.width": 64,
    "data.augmentation.color_swap": False,
    "data.augmentation.hue": 0.0,
    "data.augmentation.flip_vertical": True,
    "train.batch_size": 4,
    "train.learning_rate": 2e-3,
    "smoothness.edge_constant": 30.0,
    "occlusion.name": "none",
    "selfsup.name": "none",
}
_SMALL_USUAL = {
    "smoothness.edge_constant": 30.0,
    "selfsup.crop_height": 8,
    "selfsup.crop_width": 8,
}

# Objects of the scenes' default speed are not learned from most seeds: the network settles on the background's motion
# everywhere (end-point error on validation 2.3-2.5 after 1000 steps from seeds 1, 2 and 3, 1.6 from seed 0). With these
# they are (1.1 after 600 steps).
LARGE_MOTION = {
    "data.scenes.object_motion_min": 3.0,
    "data.scenes.object_motion_max": 6.0,
    "data.scenes.background_motion_min": 1.0,
    "data.scenes.background_motion_max": 3.0,
}
SMALL_MOTION = {key: value / 3 for key, value in LARGE_MOTION.items()}
# The second frame is brighter or darker by up to a fifth and a tenth of the full range.
ILLUMINATION = {"data.scenes.gain": 0.2, "data.scenes.offset": 0.1}
# From 1 to 14: strong smoothness from the first step keeps the network from learning any motion.
_GROWING_SMOOTHNESS = {
    "smoothness.initial": 0.0714,
    "smoothness.ramp_start": 0.4,
    "smoothness.ramp_end": 0.65,
}
# `night`: the same from 1 to the paper's own weight.
_GROWING_TO_4 = _GROWING_SMOOTHNESS | {"smoothness.initial": 0.25}
# At half of the training a network that has learned to match has an error of 1.3 to 1.5 px on the validation pairs, one
# that follows the background's motion everywhere 1.75 or more: seeds 7 and 8 of the seeds 0 to 11, which this was fixed
# by. No mask can help what does not match.
HAS_LEARNED = GateRule(at=0.5, limit=1.65)
# For questions that show early in training: no warm start, and the weak smoothness with which a network can learn to
# match.
FROM_SCRATCH = {
    "train.steps": 250,
    "smoothness.weight": 1.0,
    "smoothness.initial": 1.0,
    "smoothness.ramp_start": 0.0,
    "smoothness.ramp_end": 0.0,
}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="smoke",
            about="shows that everything works; its numbers mean nothing",
            changes=_SMALL
            | {
                "network.width": 0.125,
                "train.steps": 40,
                "train.batch_size": 2,
                "train.validations": 2,
                "train.collapse_below": 0.0,  # twenty steps leave a network on which no mask can work
                "data.scenes.train_pairs": 32,
                "data.scenes.validation_pairs": 8,
                "data.scenes.test_pairs": 8,
            },
            usual=_SMALL_USUAL | {"occlusion.start": 0.5, "selfsup.start": 0.5, "selfsup.ramp": 0.1},
            seeds=2,
        ),
        Preset(
            name="short",
            about="small scenes and a small network on two CPU cores; directions compare with the paper's",
            changes=_SMALL
            | LARGE_MOTION
            | {
                "train.steps": 1200,
                "train.decay": "linear",
                "train.decay_start": 0.95,
                "train.decay_length": 0.05,
                "smoothness.weight": 14.0,
            }
            | _GROWING_SMOOTHNESS,
            usual=_SMALL_USUAL
            | _GROWING_SMOOTHNESS
            | {
                "smoothness.weight": 7.0,  # of second order: half of the first order's, as in the paper
                "occlusion.start": 0.65,
                "occlusion.beta": 2.0,
                "selfsup.start": 0.65,
                "selfsup.ramp": 0.05,
            },
            seeds=8,
        ),
        Preset(
            name="night",
            about="what `short` is too short for: 1500 steps from scratch, four seeds, all arms of a study",
            changes=_SMALL
            | LARGE_MOTION
            | {
                "train.steps": 1500,
                "train.decay": "linear",
                "train.decay_start": 0.95,
                "train.decay_length": 0.05,
                "data.scenes.train_pairs": 2000,
                "smoothness.weight": 4.0,
            }
            | _GROWING_TO_4,
            usual=_SMALL_USUAL
            | _GROWING_TO_4
            | {
                "smoothness.weight": 2.0,  # of second order
                "occlusion.start": 0.65,
                "occlusion.beta": 2.0,
                "selfsup.start": 0.65,
                "selfsup.ramp": 0.05,
            },
            seeds=4,
            quick=False,
        ),
        Preset(
            name="paper",
            about="the paper's settings: 384x512, 5 levels, full width, a million steps; needs a GPU or Ascend",
            changes={},
            usual={},
            seeds=3,
            device="accelerator",
            quick=False,
        ),
    )
}
