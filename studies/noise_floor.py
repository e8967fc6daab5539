"""Study: how much does the baseline differ from itself?

`other seeds` repeats it with as many other seeds: what it differs by is noise. Arms that are compared on the same seeds
share some of that noise, so their differences can be smaller and still be real. `again` is the same training with the
same seeds, evaluated more often on the way, which must not change it: on a CPU it differs by exactly 0, and what it
differs by elsewhere is the machine's own noise.
"""

from studies.design import Arm, Study

STUDY = Study(
    name="noise_floor",
    question="How much does the baseline differ from itself, with other seeds and with the same ones?",
    arms=(
        Arm("baseline", {}),
        Arm("other seeds", {}, seed_offset=1_000_000),
        Arm("again", {"train.validations": 7}),
    ),
    baseline="baseline",
)
