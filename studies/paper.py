"""Campaign: what matters, by the paper's own questions, on procedural scenes and on moving parts of photographs."""

from studies.design import Campaign

CAMPAIGN = Campaign(
    name="paper",
    question="Which findings of the paper are reproduced, and do verdicts on small scenes carry over to other data?",
    studies=(
        "photometric_ablation",
        "normalization_ablation",
        "occlusion_ablation",
        "smoothness_ablation",
        "selfsup_ablation",
        "model_ablation",
        "resolution_ablation",
        "augmentation_ablation",
        "pretraining_ablation",
        "what_matters",
    ),
    kinds={"synthetic": {}, "photos": {"data.source": "photos"}},
)
