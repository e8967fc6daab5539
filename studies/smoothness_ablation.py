"""Study: does smoothness help, of which order, at which pyramid level, and how should it see image edges?

`blind to edges` asks for smoothness everywhere alike; `gaussian edges` switches it off by the square of the image
gradient. Each arm differs from the baseline, first-order smoothness of the flow at level 2, in one thing; second-order
smoothness has half of its weight, as in the paper.
"""

from studies.design import Arm, Study, vary

STUDY = Study(
    name="smoothness_ablation",
    question="Does smoothness help, of which order, at which pyramid level, and how should it see image edges?",
    arms=(
        *vary("smoothness", ("first_order", "none", "second_order")),
        Arm("level 0", {"smoothness.level": 0}),
        Arm("level 1", {"smoothness.level": 1}),
        Arm("blind to edges", {"smoothness.edge_constant": 0.0}),
        Arm("gaussian edges", {"smoothness.edge_weighting": "gaussian"}),
    ),
    baseline="first_order",
    core=("first_order", "none", "second_order", "level 0", "blind to edges"),
)
