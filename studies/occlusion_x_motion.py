"""Study: does occlusion handling matter more where the motion is large?

Larger motion covers more pixels. Arms are compared on scenes of the same motion only; the interaction says how much
the difference between the two arms, in percent, changes with it: in px it would grow with the motion alone. The large
motion is that of the preset `short`.
"""

from studies.design import Arm, Study, cross, vary
from studies.presets import LARGE_MOTION, SMALL_MOTION

STUDY = Study(
    name="occlusion_x_motion",
    question="Does occlusion handling matter more where the motion is large?",
    arms=cross(
        vary("occlusion", ("none", "wang")),
        (Arm("", SMALL_MOTION), Arm("large motion", LARGE_MOTION)),
        within=True,
    ),
    baseline="none",
)
