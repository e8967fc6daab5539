"""Study: does it help to train on other data first?

`scratch` trains on the data of the study only. `pretrained` starts from a run of the same length on other data:
built-in scenes of slower motion, whatever `--data` says, or those that `--set initial.data.source=NAME:PATH` says.
`longer` starts from `scratch` itself and takes as many steps in all as `pretrained`, which is compared with it: what
differs between them is the data of the first half, not the number of steps.
"""

from studies.design import Arm, Study
from studies.presets import FROM_SCRATCH, SMALL_MOTION

STUDY = Study(
    name="pretraining_ablation",
    question="Does it help to train on other data first, more than to train for as many steps on the same data?",
    arms=(
        Arm("scratch", {}),
        Arm("longer", {"initial": {}}),
        Arm("pretrained", {"initial": {"data.source": "synthetic"} | SMALL_MOTION}, against="longer"),
    ),
    baseline="scratch",
    preset_changes={"short": FROM_SCRATCH},
)
