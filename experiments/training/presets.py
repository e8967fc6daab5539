"""Settings to train one network with, by name: the paper's for its data sets, and a tiny one that shows that all works.

Source: Jonschkowski et al., ECCV 2020, section 5, and the commands of the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# a validation every 10,000 of a million steps; how often one looks does not change the weights
_CHAIRS: dict[str, Any] = {"train.validations": 100}
_SINTEL = _CHAIRS | {"data.height": 448, "data.width": 1024, "data.augmentation.flip_vertical": True}
_KITTI = _CHAIRS | {
    "data.height": 640,
    "data.width": 640,
    "smoothness.name": "second_order",
    "smoothness.weight": 2.0,
    "occlusion.name": "brox",
}
_PHOTOS = {
    "network.levels": 4,
    "network.width": 0.25,
    "network.level_dropout": 0.0,  # made training on photographs worse in pilots
    "data.height": 96,
    "data.width": 128,
    "train.steps": 9000,
    "train.batch_size": 4,
    "train.learning_rate": 5e-4,  # at 1e-3 the flow left the frame within 70 steps
    "train.warmup": 0.02,
    "train.decay": "cosine",
    "train.decay_start": 0.5,
    "train.decay_length": 0.5,
    "train.validations": 9,
    "occlusion.start": 0.5,
    "smoothness.weight": 2.0,
    "smoothness.initial": 0.25,
    "smoothness.ramp_start": 0.4,
    "smoothness.ramp_end": 0.65,
    "selfsup.name": "none",
    "data.scenes.train_pairs": 6000,
    "data.scenes.shapes_max": 4,
    "data.scenes.radius_min": 12.0,
    "data.scenes.radius_max": 28.0,
    "data.scenes.object_motion_min": 2.0,
    "data.scenes.object_motion_max": 14.0,
    "data.scenes.background_motion_min": 0.0,
    "data.scenes.background_motion_max": 7.0,
    "data.scenes.vertical_share": 1.0,
    "data.scenes.rotation_max": 8.0,
    "data.scenes.scaling_max": 0.1,
    "data.scenes.gain": 0.1,
    "data.scenes.offset": 0.05,
    "data.scenes.noise": 0.01,
}
_SMOKE = {
    "network.levels": 3,
    "network.width": 0.125,
    "data.height": 64,
    "data.width": 64,
    "train.steps": 40,
    "train.batch_size": 2,
    "train.learning_rate": 1e-3,
    "train.validations": 2,
    "train.collapse_below": 0.0,  # forty steps leave a network on which no mask can work
    "selfsup.crop_height": 8,
    "selfsup.crop_width": 8,
    "data.scenes.train_pairs": 32,
    "data.scenes.validation_pairs": 8,
    "data.scenes.test_pairs": 8,
}

PRESETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "chairs": ("the paper's settings for FlyingChairs: 384x512, a million steps", _CHAIRS),
    "sintel": ("the paper's for Sintel: 448x1024, flipped up and down", _SINTEL),
    "kitti": ("the paper's for KITTI: 640x640, second-order smoothness, occlusion by consistency", _KITTI),
    "photos": ("those of the network that comes with the project, with --data photos: a quarter of the width", _PHOTOS),
    "smoke": ("a tiny network for 40 steps at 64x64: shows that everything works", _SMOKE),
}
