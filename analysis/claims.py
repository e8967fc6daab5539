"""What the paper found, as data: each finding says which arm is better than which, on what.

Paper: Jonschkowski et al., What Matters in Unsupervised Optical Flow, ECCV 2020 (UFlow). Its findings are kept as
directions, not sizes: a study at another size, on other data, can show the same direction. `analysis.ledger` holds them
against a study.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

PAPER = "Jonschkowski et al., ECCV 2020"


@dataclasses.dataclass(frozen=True)
class Other:
    """Any choice but `value`."""

    value: Any


Choices = Mapping[str, Any]  # dotted key -> a value, a tuple of possible values, or `Other`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding: arm A is better than arm B, everything else being equal.

    Attributes:
        claim: the finding in words.
        better: choices of arm A, by dotted key such as `occlusion.name`.
        worse: choices of arm B, for the same sections.
        metric: pattern of the metrics that decide, such as `epe/*/all`.
        data: patterns of the data sets it was stated for; they are the second part of a metric's name.
        expected_sign: of A minus B in the metric; -1 where lower is better.
        source: where it was stated.
    """

    claim: str
    better: Choices
    worse: Choices
    metric: str = "epe/*/all"
    data: tuple[str, ...] = ("*",)
    expected_sign: int = -1
    source: str = PAPER


NONE = "none"
CLAIMS = (
    Claim(claim="occlusion masking helps", better={"occlusion.name": Other(NONE)}, worse={"occlusion.name": NONE}),
    Claim(claim="self-supervision helps", better={"selfsup.name": Other(NONE)}, worse={"selfsup.name": NONE}),
    Claim(claim="smoothness helps", better={"smoothness.name": Other(NONE)}, worse={"smoothness.name": NONE}),
    Claim(
        claim="normalising the features before the cost volume helps",
        better={"normalization.name": Other(NONE)},
        worse={"normalization.name": NONE},
    ),
    Claim(
        claim="level dropout helps",
        better={"network.level_dropout": Other(0.0)},
        worse={"network.level_dropout": 0.0},
    ),
    *(
        Claim(
            claim=f"census is a better photometric loss than {name}",
            better={"photometric.name": "census"},
            worse={"photometric.name": name},
        )
        for name in ("l1", "charbonnier", "ssim")
    ),
    Claim(
        claim="the range-map mask (wang) needs its gradient stopped",
        better={"occlusion.name": "wang", "occlusion.stop_gradient": True},
        worse={"occlusion.name": "wang", "occlusion.stop_gradient": False},
    ),
    Claim(
        claim="edge-aware smoothness is better than smoothness blind to edges",
        better={"smoothness.name": Other(NONE), "smoothness.edge_constant": Other(0.0)},
        worse={"smoothness.name": Other(NONE), "smoothness.edge_constant": 0.0},
    ),
    Claim(
        claim="smoothness is better applied at flow resolution (level 2) than at image resolution",
        better={"smoothness.name": Other(NONE), "smoothness.level": 2},
        worse={"smoothness.name": Other(NONE), "smoothness.level": 0},
    ),
    Claim(
        claim="first-order smoothness is better than second-order on FlyingChairs and Sintel",
        better={"smoothness.name": ("first", "first_order")},
        worse={"smoothness.name": ("second", "second_order")},
        data=("*chairs*", "*sintel*"),
    ),
    Claim(
        claim="second-order smoothness is better than first-order on KITTI",
        better={"smoothness.name": ("second", "second_order")},
        worse={"smoothness.name": ("first", "first_order")},
        data=("*kitti*",),
    ),
    Claim(
        claim="the range-map mask (wang) is the choice for FlyingChairs and Sintel, over brox",
        better={"occlusion.name": "wang"},
        worse={"occlusion.name": "brox"},
        data=("*chairs*", "*sintel*"),
    ),
    Claim(
        claim="the forward-backward mask (brox) is the choice for KITTI, over wang",
        better={"occlusion.name": "brox"},
        worse={"occlusion.name": "wang"},
        data=("*kitti*",),
    ),
    Claim(
        claim="photometric augmentation helps",
        better={"data.augmentation.color_swap": True, "data.augmentation.hue": Other(0.0)},
        worse={"data.augmentation.color_swap": False, "data.augmentation.hue": 0.0},
    ),
    Claim(
        claim="self-supervision is better with image resizing",
        better={"selfsup.name": Other(NONE), "selfsup.resize": True},
        worse={"selfsup.name": Other(NONE), "selfsup.resize": False},
    ),
)
