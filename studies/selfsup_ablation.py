"""Study: does self-supervision help, does it need the resized crop, and which mask suits it?

All arms handle occlusions (`wang`), since the mask `advection` is made of that. The baseline is the paper's choice: the
student sees a crop, resized, and counts where a Gaussian of the flows' agreement says so.
"""

from studies.design import Arm, Study
from studies.presets import HAS_LEARNED

_TEACHER = {"selfsup.name": "teacher_student"}

STUDY = Study(
    name="selfsup_ablation",
    question="Does self-supervision help, does it need the resized crop, and which mask suits it?",
    arms=(
        Arm("none", {"selfsup.name": "none"}),
        Arm("crop", _TEACHER | {"selfsup.resize": False}),
        Arm("crop+resize", _TEACHER),
        Arm("mask ddflow", _TEACHER | {"selfsup.mask": "ddflow"}),
        Arm("mask advection", _TEACHER | {"selfsup.mask": "advection"}),
    ),
    baseline="crop+resize",
    changes={"occlusion.name": "wang"},
    core=("none", "crop", "crop+resize"),
    gates={"short": HAS_LEARNED},
)
