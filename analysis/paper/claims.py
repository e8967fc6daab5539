"""What the paper found, as data: each finding says which arm is better than which, on what.

Paper: Jonschkowski et al., What Matters in Unsupervised Optical Flow, ECCV 2020 (UFlow). Its findings are kept as
directions, not sizes: a study at another size, on other data, can show the same direction. `analysis.ledger` holds them
against a study.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

PAPER = "Jonschkowski et al., ECCV 2020"


@dataclasses.dataclass(frozen=True)
class Other:
    """Any choice but `value`, which may be a tuple of several."""

    value: Any


class Relation(enum.StrEnum):
    """A choice that is not a value: `ANY` at all, or a number that is `MORE` or `LESS` than the other arm's."""

    ANY = "any"
    MORE = "more"
    LESS = "less"


Choices = Mapping[str, Any]  # dotted key -> a value, a tuple of possible values, an `Other` or a `Relation`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding: arm A is better than arm B, everything else being equal.

    Attributes:
        claim: the finding in words.
        number: of the finding in the list above `CLAIMS`.
        better: choices of arm A, by dotted key such as `occlusion.name`.
        worse: choices of arm B, for the same sections; an arm that makes them all cannot be arm A.
        metric: pattern of the metrics that decide, such as `epe/*/all`.
        data: patterns of the data sets it was stated for; they are the second part of a metric's name.
        expected_sign: of A minus B in the metric; -1 where lower is better.
        source: where it was stated.
        command: what follows `python -m studies.run` in a command whose study tests it; empty if no study does.
    """

    claim: str
    number: int = 0
    better: Choices
    worse: Choices
    metric: str = "epe/*/all"
    data: tuple[str, ...] = ("*",)
    expected_sign: int = -1
    source: str = PAPER
    command: str = ""

    @property
    def text(self) -> str:
        """The finding in words, with its source if that is another one than `PAPER`."""
        return self.claim if self.source == PAPER else f"{self.claim} ({self.source})"


NONE = "none"
SAME_DATA, OTHER_DATA = "the same data", "other data"  # what was trained on before; or `NONE`
_UNAUGMENTED = {
    "color_swap": False,
    "hue": 0.0,
    "saturation": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "noise": 0.0,
    "brightness_each": 0.0,
    "contrast_each": 0.0,
    "flip_horizontal": False,
    "flip_vertical": False,
    "scale_low": 1.0,
    "scale_high": 1.0,
    "scale_second": 0.0,
    "rotation": 0.0,
    "rotation_second": 0.0,
    "crop_offset": 0,
}
_CHAIRS_SINTEL, _KITTI = ("*chairs*", "*sintel*"), ("*kitti*",)

# The findings, by number: 1 occlusion masking, self-supervision and smoothness each help; 2 so do cost volume
# normalization and level dropout; 3 census is the best photometric loss; 4 the range-map mask needs its gradient
# stopped; 5 smoothness is better edge-aware and at flow resolution, and its order depends on the data; 6 the loss is
# the bottleneck, not the model; 7 the input resolution matters; 8 augmentation and pretraining help; 9 so does resizing
# in self-supervision; 0 a choice that the paper's settings make, without being called a finding.
CLAIMS = (
    Claim(
        number=1,
        claim="occlusion masking helps",
        command="occlusion_ablation",
        # by a mask that is estimated, and has its gradient stopped as in the paper
        better={"occlusion.name": Other((NONE, "ground_truth")), "occlusion.stop_gradient": True},
        worse={"occlusion.name": NONE},
    ),
    Claim(
        number=1,
        claim="self-supervision helps",
        command="selfsup_ablation",
        better={"selfsup.name": Other(NONE)},
        worse={"selfsup.name": NONE},
    ),
    Claim(
        number=1,
        claim="smoothness helps",
        command="smoothness_ablation",
        better={"smoothness.name": Other(NONE)},
        worse={"smoothness.name": NONE},
    ),
    Claim(
        number=2,
        claim="normalizing the features before the cost volume helps",
        command="normalization_ablation",
        better={"normalization.name": "center_scale"},  # the paper's own; others came later
        worse={"normalization.name": NONE},
    ),
    Claim(
        number=2,
        claim="level dropout helps",
        command="model_ablation",
        better={"network.level_dropout": Other(0.0)},
        worse={"network.level_dropout": 0.0},
    ),
    *(
        Claim(
            number=3,
            claim=f"census is a better photometric loss than {name}",
            command="photometric_ablation",
            better={"photometric.name": "census"},
            worse={"photometric.name": name},
        )
        for name in ("l1", "charbonnier", "ssim")
    ),
    Claim(
        number=4,
        claim="the range-map mask (wang) needs its gradient stopped",
        command="occlusion_ablation --arms wang,wang+gradient",
        better={"occlusion.name": "wang", "occlusion.stop_gradient": True},
        worse={"occlusion.name": "wang", "occlusion.stop_gradient": False},
    ),
    Claim(
        number=5,
        claim="edge-aware smoothness is better than smoothness blind to edges",
        command="smoothness_ablation",
        better={"smoothness.name": Other(NONE), "smoothness.edge_constant": Other(0.0)},
        worse={"smoothness.name": Other(NONE), "smoothness.edge_constant": 0.0},
    ),
    Claim(
        number=5,
        claim="smoothness is better applied at flow resolution (level 2) than at a finer one",
        command="smoothness_ablation",
        better={"smoothness.name": Other(NONE), "smoothness.level": 2},
        worse={"smoothness.name": Other(NONE), "smoothness.level": (0, 1)},
    ),
    Claim(
        number=5,
        claim="first-order smoothness is better than second-order on FlyingChairs and Sintel",
        command="smoothness_ablation --data flyingchairs:PATH",
        better={"smoothness.name": "first_order"},
        worse={"smoothness.name": "second_order"},
        data=_CHAIRS_SINTEL,
    ),
    Claim(
        number=5,
        claim="second-order smoothness is better than first-order on KITTI",
        command="smoothness_ablation --data kitti2015:PATH",
        better={"smoothness.name": "second_order"},
        worse={"smoothness.name": "first_order"},
        data=_KITTI,
    ),
    Claim(
        number=6,
        claim="the loss is the bottleneck, not the model: the same network does better with the true flow",
        command="model_ablation --arms 'true flow'",
        better={"train.supervised": True},
        worse={"train.supervised": False},
    ),
    Claim(
        number=7,
        claim="training at a larger resolution is better",
        command="resolution_ablation",
        better={"data.height": Relation.MORE, "data.width": Relation.MORE},
        worse={"data.height": Relation.LESS, "data.width": Relation.LESS},
    ),
    Claim(
        number=8,
        claim="augmentation helps",
        command="augmentation_ablation",
        better={f"data.augmentation.{key}": Relation.ANY for key in _UNAUGMENTED},
        worse={f"data.augmentation.{key}": off for key, off in _UNAUGMENTED.items()},
    ),
    Claim(
        number=8,
        claim="pretraining on other data helps",
        command="pretraining_ablation",
        better={"initial": OTHER_DATA},
        worse={"initial": (NONE, SAME_DATA)},
    ),
    Claim(
        number=9,
        claim="self-supervision is better with image resizing",
        command="selfsup_ablation",
        better={"selfsup.name": Other(NONE), "selfsup.resize": True},
        worse={"selfsup.name": Other(NONE), "selfsup.resize": False},
    ),
    Claim(
        claim="the range-map mask (wang) is the choice for FlyingChairs and Sintel, over brox",
        command="occlusion_ablation --data flyingchairs:PATH",
        better={"occlusion.name": "wang"},
        worse={"occlusion.name": "brox"},
        data=_CHAIRS_SINTEL,
    ),
    Claim(
        claim="the forward-backward mask (brox) is the choice for KITTI, over wang",
        command="occlusion_ablation --data kitti2015:PATH",
        better={"occlusion.name": "brox"},
        worse={"occlusion.name": "wang"},
        data=_KITTI,
    ),
)
