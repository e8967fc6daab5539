"""No self-supervision."""

from __future__ import annotations

from uflow.registry import register


@register("selfsup", "none", source="Jonschkowski et al., ECCV 2020, section 4.5 (without self-supervision)")
class NoSelfSupervision:
    """No self-supervision."""

    weight = 0.0
    start = 1.0
    ramp = 0.0
