"""Study: does normalizing the features before the cost volume help, and which part of it?

The baseline subtracts one mean and divides by one standard deviation, both over channels, images and the batch; each
arm leaves one of these out.
"""

from studies.design import Arm, Study, drop_each
from studies.presets import FROM_SCRATCH

STUDY = Study(
    name="normalization_ablation",
    question="Does normalizing the features before the cost volume help, and which part of it?",
    arms=drop_each(
        Arm("center_scale", {"normalization.name": "center_scale"}),
        {
            "normalization": {"normalization.name": "none"},
            "center": {"normalization.center": False},
            "scale": {"normalization.scale": False},
            "statistics across channels": {"normalization.across_channels": False},
            "statistics across images": {"normalization.across_images": False},
        },
    ),
    baseline="center_scale",
    preset_changes={"short": FROM_SCRATCH},
    seeds={"short": 12},  # some seeds of every arm follow the background only; eight are too few to tell how many
    core=("center_scale", "no normalization", "no center", "no scale"),
)
