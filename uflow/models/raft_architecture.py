"""Size and options of RAFT, small, as a value; needs no MindSpore."""

from __future__ import annotations

from uflow.options import Range, option, section

GRID = 8  # px of the image for one of the flow
ENCODER = (32, 32, 64, 96)  # channels of the stem and of three stages
FEATURES, HIDDEN, CONTEXT = 128, 96, 64
MOTION = (96, 64, 32, 80)  # of costs, of flow, of flow again, of both
HEAD = 128


@section
class RaftArchitecture:
    """Options of RAFT. The defaults are those of the small model of the paper: 990,162 parameters."""

    width: float = option(1.0, Range(1 / 32, 4.0), help="multiplier of the number of channels")
    iterations: int = option(12, Range(1, 64), help="updates of the flow")
    cost_levels: int = option(4, Range(1, 6), help="grids of costs")
    radius: int = option(3, Range(1, 8), unit="px", help="reach of a look at each of them, px of the grid")
    sequence: float = option(
        0.8, Range(0.0, 1.0), search=Range(0.5, 0.95), help="weight of an estimate's loss against that of the next one"
    )

    multiple = GRID

    def channels(self, count: int) -> int:
        """A number of channels, times the multiplier."""
        return max(1, round(count * self.width))

    @property
    def normalized(self) -> dict[str, int]:
        """Channels of the features that are normalized."""
        return {"the features": self.channels(FEATURES)}

    def size_problems(self, height: int, width: int) -> list[str]:
        """Why images of a size cannot be trained on; empty if they can."""
        sizes = {"height": height, "width": width}
        found = [f"{name} {size} is not a multiple of {GRID}" for name, size in sizes.items() if size % GRID]
        least = GRID * 2 ** (self.cost_levels - 1)
        return found + [
            f"{name} {size} is too small for network.cost_levels={self.cost_levels}: each grid of costs is half as fine"
            f" as the one before, so at least {least} px or fewer grids are needed"
            for name, size in sizes.items()
            if size < least
        ]
