"""Study: which augmentation of the training pairs helps?

The baseline trains on the pairs as they are; each arm brings in one kind of change, at the strength of the reference
implementation. `color` is the paper's photometric augmentation.
"""

from studies.design import Arm, Study, add_each

_PLAIN = {
    "data.augmentation.color_swap": False,
    "data.augmentation.hue": 0.0,
    "data.augmentation.flip_horizontal": False,
    "data.augmentation.flip_vertical": False,
}

STUDY = Study(
    name="augmentation_ablation",
    question="Which augmentation of the training pairs helps: flips, colors, brightness, noise, geometry?",
    arms=add_each(
        Arm("none", _PLAIN),
        {
            "flips": {"data.augmentation.flip_horizontal": True, "data.augmentation.flip_vertical": True},
            "color": {"data.augmentation.color_swap": True, "data.augmentation.hue": 0.5},
            "brightness": {
                "data.augmentation.saturation": 0.2,
                "data.augmentation.brightness": 0.1,
                "data.augmentation.contrast": 0.2,
            },
            "brightness of each frame": {
                "data.augmentation.brightness_each": 0.02,
                "data.augmentation.contrast_each": 0.05,
            },
            "noise": {"data.augmentation.noise": 0.02},
            "geometry": {
                "data.augmentation.scale_low": 0.9,
                "data.augmentation.scale_high": 1.5,
                "data.augmentation.rotation": 15.0,
            },
        },
    ),
    baseline="none",
    core=("none", "flips", "color"),
)
