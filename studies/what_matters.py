"""Study: what matters? Every axis on and off in all combinations.

The 32 arms are a two-level factorial, and all of them run by default, also in the quick presets. So each part is
looked at from both directions, taken away from the full method and brought into the bare one, and in between: Shapley
values, main effects and interactions. The twelve arms of the two directions alone would not be much cheaper: `--plan`
says 1.6 hours for them and 2.9 for all on two cores in preset `short`, for the others share the first two thirds of
their training with these. A half fraction of 16 arms would have neither `nothing` nor any `no part`, so no direction.
Seeds are the outer loop: a study that is cut short has all arms of fewer seeds.
"""

from studies.design import Study, factorial

_FACTORS = {
    "census": ({"photometric.name": "l1"}, {"photometric.name": "census"}),
    "occlusion": ({"occlusion.name": "none"}, {"occlusion.name": "wang"}),
    "smoothness": ({"smoothness.name": "none"}, {"smoothness.name": "first_order"}),
    "normalization": ({"normalization.name": "none"}, {"normalization.name": "center_scale"}),
    "selfsup": ({"selfsup.name": "none"}, {"selfsup.name": "teacher_student"}),
}

STUDY = Study(
    name="what_matters",
    question="What matters: census, occlusion handling, smoothness, normalization, self-supervision?",
    arms=factorial(_FACTORS),
    baseline="full",
)
