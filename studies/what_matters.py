"""Study: what matters? Every axis on and off in all combinations.

The 32 arms are a two-level factorial: with all of them the report has exact Shapley values and interactions. The quick
presets run those that take one part away from the full method or bring one into the bare one.
"""

from studies.design import Study, factorial, leave_one_out_and_add_one_in

_FACTORS = {
    "census": ({"photometric.name": "l1"}, {"photometric.name": "census"}),
    "occlusion": ({"occlusion.name": "none"}, {"occlusion.name": "wang"}),
    "smoothness": ({"smoothness.name": "none"}, {"smoothness.name": "first_order"}),
    "normalization": ({"normalization.name": "none"}, {"normalization.name": "center_scale"}),
    "selfsup": ({"selfsup.name": "none"}, {"selfsup.name": "teacher_student"}),
}

STUDY = Study(
    name="what_matters",
    question="What matters: census, occlusion handling, smoothness, normalisation, self-supervision?",
    arms=factorial(_FACTORS),
    baseline="full",
    core=leave_one_out_and_add_one_in(_FACTORS),
)
