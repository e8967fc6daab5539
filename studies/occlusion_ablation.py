"""Study: does handling occlusions help, and which way to find them is best?"""

from studies.design import Study, vary

STUDY = Study(
    name="occlusion_ablation",
    question="Does it help to know which pixels are occluded, and which way to find them is best?",
    arms=vary("occlusion", ("none", "wang", "brox")),
    baseline="none",
)
