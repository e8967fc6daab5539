"""Study: which parts of the network matter?

The baseline has all of them, with the paper's level dropout; each arm takes one away or exchanges it. `RAFT` is another
network, whose loss is that of all its estimates. `true flow` is the same network trained with ground truth, and `RAFT
with true flow` that one: what a model could reach if the loss were no limit.
"""

from studies.design import Arm, Study, drop_each
from studies.presets import FROM_SCRATCH

STUDY = Study(
    name="model_ablation",
    question="Which parts of the network matter: level dropout, accumulation, warping, cost volume, own decoders?",
    arms=drop_each(
        Arm("full", {"network.level_dropout": 0.1}),
        {
            "level dropout": {"network.level_dropout": 0.0},
            "accumulation": {"network.accumulate_flow": False},
            "warp": {"network.feature_warp": False},
            "cost volume": {"network.cost_volume": False},
            "own decoders": {"network.shared_decoder": True},
        },
    )
    + (
        Arm("true flow", {"network.level_dropout": 0.1, "train.supervised": True}),
        Arm("RAFT", {"network.name": "raft"}),
        Arm("RAFT with true flow", {"network.name": "raft", "train.supervised": True}, against="RAFT"),
    ),
    baseline="full",
    preset_changes={"short": FROM_SCRATCH},
    core=("full", "no level dropout", "no accumulation", "no warp", "no cost volume", "no own decoders"),
)
