"""Mixed precision: what of the network is computed in float16 while a training step is traced; needs no MindSpore.

| level | float16 |
|---|---|
| `O0` | nothing |
| `O2` | the convolutions of the network |
| `O3` | the whole network: features, their warping, cost volume and decoders |

Always in float32: parameters and their moments, flows and the coordinates that are made of them, statistics of the
normalization, and everything behind the network, such as census, range map and the sums of the losses. The network is
evaluated in float32 whatever it was trained in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

LEVELS = ("O0", "O2", "O3")


class PrecisionSwitch:
    """The level as graph mode sees it: looked up while a graph is traced, and a constant in it."""

    __ms_class__ = True

    def __init__(self) -> None:
        self.level = "O0"

    @property
    def convolutions(self) -> bool:
        """True if convolutions are computed in float16."""
        return self.level != "O0"

    @property
    def features(self) -> bool:
        """True if features stay in float16 between the convolutions."""
        return self.level == "O3"


switch = PrecisionSwitch()


@contextlib.contextmanager
def traced(level: str) -> Iterator[None]:
    """Graphs that are traced while the block runs are of this level, one of `LEVELS`."""
    before, switch.level = switch.level, level
    try:
        yield
    finally:
        switch.level = before
