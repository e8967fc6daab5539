"""Study: does a part that the paper did not compare do better than the one that it chose?

The baseline is the paper's full method. Each arm exchanges one part of it: the photometric loss (census), the
smoothness term, the normalization of the features (statistics shared by both images and the batch), the teacher of
self-supervision, how parameters are updated; or it adds the consistency of forward and backward flow, with UnFlow's
weight for KITTI and Cityscapes. Everything else stays, also weights that were chosen for the baseline, so a part that
loses may lose by its weight; `--search` tunes it for every arm alike. Some of the parts are older than the paper: they
are here because later methods train with them, or because they are what a reader would try first. What moves out of a
crop, `data.margin`, is no arm: it takes frames that are larger than the crop, which scenes of the size of the training
images are not. The quick presets run one arm each of the photometric loss and the normalization.
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
    question="Does a part of the method that the paper did not compare do better than its own?",
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
            "L1 and SSIM before census": {"photometric.name": "mixture", "photometric.change": 0.5},
            "bilateral": {"smoothness.name": "bilateral"},
            "superpixels": {"smoothness.name": "superpixels"},
            "consistency": {"occlusion.consistency": 0.2},
            "mean teacher": {"selfsup.teacher": "mean"},
            "occluders": {"selfsup.occluders": 4},
            "superpixel occluders": {"selfsup.occluders": 4, "selfsup.occluder_shape": "superpixel"},
            "ARFlow": {"selfsup.name": "arflow"},
            "RAFT": {"network.name": "raft"},
            "clipping": {"train.clip_norm": 1.0},
            "weight decay": {"train.weight_decay": 1e-4},
            "one cycle": {"train.decay": "one_cycle", "train.warmup": 0.05},
        },
    ),
    baseline="UFlow",
    core=("UFlow", "L1 and SSIM", "cosine"),
)
