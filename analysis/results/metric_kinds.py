"""What a metric means, by the first part of its name: its unit and what difference matters.

Every metric is an error: lower is better.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricKind:
    """A family of metrics.

    Attributes:
        title: what it is called in prose.
        unit: unit of its values.
        margin: smallest difference that matters, in `unit`, whatever the baseline's value.
        relative_margin: the same as a share of the baseline's mean; the larger of the two counts.
        decimals: digits after the point in a table.
    """

    title: str
    unit: str
    margin: float
    relative_margin: float = 0.01
    decimals: int = 3

    def equivalence_margin(self, baseline_mean: float) -> float:
        """Half-width of the zone in which two arms count as equal, in `unit`."""
        return max(self.margin, self.relative_margin * abs(baseline_mean))

    def improvement(self, difference: float) -> float:
        """A difference (arm minus baseline) with its sign turned so that positive is better."""
        return -difference


KINDS = {
    "epe": MetricKind(title="endpoint error", unit="px", margin=0.02),
    "fl": MetricKind(title="share of outliers", unit="%", margin=0.1, decimals=2),
}


def metric_kind(name: str) -> MetricKind:
    """The family of a metric such as `epe/synthetic/occ`.

    Raises:
        ValueError: if the part before the first slash is no known family: unit and margin must not be guessed.
    """
    prefix = name.split("/", 1)[0]
    if prefix not in KINDS:
        raise ValueError(f"metric {name!r}: unknown family {prefix!r} (known: {', '.join(KINDS)})")
    return KINDS[prefix]
