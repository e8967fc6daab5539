"""Study: is it better to train at a larger resolution?

Every scene is drawn once, with 128x128 px, where everything is twice as large and moves twice as far as in the other
studies. The arms are trained on the same frames brought to their size, and all are evaluated at 128x128 px.
"""

from studies.design import Arm, Study
from studies.presets import FROM_SCRATCH

_FULL = 128  # px
_DRAWN = {
    "data.scene_height": _FULL,
    "data.scene_width": _FULL,
    "data.scenes.radius_min": 22.0,
    "data.scenes.radius_max": 32.0,
    "data.scenes.object_motion_min": 6.0,
    "data.scenes.object_motion_max": 12.0,
    "data.scenes.background_motion_min": 2.0,
    "data.scenes.background_motion_max": 6.0,
    "data.scenes.object_wavelength_min": 12.0,
    "data.scenes.object_wavelength_max": 32.0,
    "data.scenes.background_wavelength_min": 40.0,
    "data.scenes.background_wavelength_max": 120.0,
}

STUDY = Study(
    name="resolution_ablation",
    question="Is it better to train at a larger resolution, for an evaluation at the same one?",
    arms=tuple(Arm(f"{size} px", {"data.height": size, "data.width": size}) for size in (_FULL, 96, 64, 48)),
    baseline=f"{_FULL} px",
    changes=_DRAWN,
    preset_changes={
        "short": FROM_SCRATCH,
        "paper": {"network.levels": 3, "selfsup.crop_height": 8, "selfsup.crop_width": 8},  # what 48 px leave room for
    },
    core=(f"{_FULL} px", "64 px", "48 px"),
)
