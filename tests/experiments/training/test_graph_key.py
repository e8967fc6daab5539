"""What is given to graphs as tensors does not make another graph."""

import pytest

from experiments.spec import changed, default_spec
from experiments.training.graph_cache import graph_key

SPEC = changed(default_spec(), {"train.steps": 10, "train.clip_norm": 1.0})


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"train.clip_norm": 2.0, "train.weight_decay": 0.1, "train.warmup": 0.5, "train.decay": "one_cycle"}, True),
        ({"train.clip_norm": 0.0}, False),
        ({"train.clip_norm": 0.0, "train.weight_decay": 0.1}, True),
    ],
)
def test_values_of_training_options_share_a_graph(changes, same):
    assert (graph_key(changed(SPEC, changes), 0) == graph_key(SPEC, 0)) == same
