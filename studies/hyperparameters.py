"""Study: how far from their best are the default settings?

`tuned` is the baseline with the best of 16 settings of all options that declare a search range: Optuna's TPE sampler
with median pruning, on the validation split and a seed that no reported run has. `--search K` tries K of them,
`--search-over KEY,KEY` searches some options only.
"""

from studies.design import Arm, Study

STUDY = Study(
    name="hyperparameters",
    question="How much is gained by tuning the settings of the baseline?",
    arms=(Arm("default", {}), Arm("tuned", {})),
    baseline="default",
    searched=("tuned",),
    trials=16,
)
