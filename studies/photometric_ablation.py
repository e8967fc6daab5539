"""Study: which photometric loss is best, under a change of illumination between the two frames?

The baseline is the loss that the paper found best, so every row says how much another one loses. All losses have the
weight 1 of their definition; `--search` tunes it for every arm alike.
"""

from studies.design import Study, vary
from studies.presets import FROM_SCRATCH, ILLUMINATION

STUDY = Study(
    name="photometric_ablation",
    question="Which photometric loss is best when the illumination changes between the two frames?",
    arms=vary("photometric", ("census", "l1", "charbonnier", "ddflow", "ssim")),
    baseline="census",
    changes=ILLUMINATION,
    preset_changes={"short": FROM_SCRATCH},
)
