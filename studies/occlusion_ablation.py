"""Study: does handling occlusions help, and which way to find them is best?

The quick presets run `none`, the paper's choice for FlyingChairs and Sintel (`wang`) and the one for KITTI (`brox`).
`ground_truth` is what a method without mistakes finds. Only soft masks have a gradient that could be stopped or not:
those of `brox`, `fb_abs`, `wangthres` and `wang4thres` are 0 or 1.
"""

from studies.design import Arm, Study, vary
from studies.presets import HAS_LEARNED

_METHODS = ("none", "wang", "brox", "fb_abs", "wang4", "wangthres", "wang4thres", "uflow", "ground_truth")
_SOFT = ("wang", "wang4", "uflow")

STUDY = Study(
    name="occlusion_ablation",
    question="Does it help to know which pixels are occluded, and which way to find them is best?",
    arms=vary("occlusion", _METHODS)
    + tuple(Arm(f"{name}+gradient", {"occlusion.name": name, "occlusion.stop_gradient": False}) for name in _SOFT),
    baseline="none",
    core=("none", "wang", "brox"),
    gates={"short": HAS_LEARNED},
)
