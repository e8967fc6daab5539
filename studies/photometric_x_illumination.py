"""Study: does the advantage of census over L1 depend on changes of illumination?

Arms are compared on scenes of the same illumination only; the interaction says how much the difference between the two
losses changes with it.
"""

from studies.design import Arm, Study, cross, vary
from studies.presets import FROM_SCRATCH, ILLUMINATION

STUDY = Study(
    name="photometric_x_illumination",
    question="Does the advantage of census over L1 depend on changes of illumination?",
    arms=cross(
        vary("photometric", ("census", "l1")),
        (Arm("", dict.fromkeys(ILLUMINATION, 0.0)), Arm("illumination", ILLUMINATION)),
        within=True,
    ),
    baseline="census",
    preset_changes={"short": FROM_SCRATCH},
)
