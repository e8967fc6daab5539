"""Study: does a part that the paper did not compare do better than the one that it chose?

The baseline is the paper's full method. Each arm exchanges the component of one axis: the photometric loss (census) or
the normalization of the features (statistics shared by both images and the batch). Everything else stays, also weights
that were chosen for the baseline, so a part that loses may lose by its weight; `--search` tunes it for every arm alike.
Some of the parts are older than the paper: they are here because later methods train with them, or because they are
what a reader would try first. The quick presets run one arm of each axis.
"""

from studies.design import Arm, Study, add_each

_PAPER = {
    "photometric.name": "census",
    "occlusion.name": "wang",
    "smoothness.name": "first_order",
    "normalization.name": "center_scale",
    "selfsup.name": "teacher_student",
}

STUDY = Study(
    name="since_2020",
    question="Does a photometric loss or a normalization that the paper did not compare do better than its own?",
    arms=add_each(
        Arm("UFlow", _PAPER),
        {
            "gradient constancy": {"photometric.name": "gradient_constancy"},
            "NCC": {"photometric.name": "ncc"},
            "L1 and SSIM": {"photometric.name": "arflow"},
            "layer": {"normalization.name": "layer"},
            "instance": {"normalization.name": "instance"},
            "group": {"normalization.name": "group"},
            "cosine": {"normalization.name": "l2"},
        },
    ),
    baseline="UFlow",
    core=("UFlow", "L1 and SSIM", "cosine"),
)
