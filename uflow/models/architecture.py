"""The network's size and switches, as a value; needs no MindSpore."""

from __future__ import annotations

from uflow.options import FLAG, Range, option, section

DISPLACEMENT = 4  # reach of the cost volume, px of its level
DENSE = (128, 128, 96, 64, 32)  # channels of the decoder's dense block
CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))  # channels and dilations of the context network
PWC_PYRAMID = ((3, 16), (3, 32), (3, 64), (3, 96), (3, 128), (3, 196))  # layers and channels of Sun et al.


@section
class Architecture:
    """Options of the network. The defaults are the paper's: 5 levels, 5,718,218 parameters."""

    levels: int = option(5, Range(2, 6), help="pyramid levels; the finest has half the size of the image")
    width: float = option(1.0, Range(1 / 32, 4.0), help="multiplier of the number of channels")
    level1_layers: int = option(3, Range(1, 8), help="convolutions of the finest pyramid level")
    level1_filters: int = option(32, Range(1, 512), help="channels of the finest pyramid level, before the multiplier")
    level1_1x1: int = option(0, Range(0, 7), help="how many of the last convolutions of the finest level are 1x1")
    original_layer_sizes: bool = option(False, FLAG, help="channels of PWC-Net's pyramid instead of 32 everywhere")
    shared_decoder: bool = option(False, FLAG, help="one decoder for all levels")
    cost_volume: bool = option(True, FLAG, help="correlate the features; else a convolution of both")
    feature_warp: bool = option(True, FLAG, help="warp the features of the other frame by the flow so far")
    accumulate_flow: bool = option(True, FLAG, help="each level adds to the flow of the coarser one")
    context: bool = option(True, FLAG, help="hand the decoder's features to the next finer level")
    context_channels: int = option(32, Range(1, 512), help="channels of these features, before the multiplier")
    level_dropout: float = option(
        0.1, Range(0.0, 0.9), search=Range(0.0, 0.5), help="chance per step to leave out the estimate of a level"
    )

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        found = []
        layers, _ = self.pyramid()[0]
        if self.level1_1x1 >= layers and self.level1_1x1:
            where = "the layers of original_layer_sizes" if self.original_layer_sizes else "level1_layers"
            found.append(f"level1_1x1 ({self.level1_1x1}) must be less than {where} ({layers})")
        fewest = min(channels for _, channels in PWC_PYRAMID[: self.levels])
        counts = (
            {"original_layer_sizes": fewest} if self.original_layer_sizes else {"level1_filters": self.level1_filters}
        )
        if self.context:
            counts["context_channels"] = self.context_channels
        return found + [
            f"width ({self.width:g}) leaves none of the {count} channels of {name}: it must be at least {1 / count:g}"
            for name, count in counts.items()
            if self.channels(count) < 1
        ]

    def channels(self, count: int) -> int:
        """A number of channels, times the multiplier."""
        return int(count * self.width)

    def pyramid(self) -> tuple[tuple[int, int], ...]:
        """Number of convolutions and channels of each pyramid level, finest first."""
        plain = ((self.level1_layers, self.level1_filters),) + ((3, 32),) * 5
        sizes = PWC_PYRAMID if self.original_layer_sizes else plain
        return tuple((layers, self.channels(channels)) for layers, channels in sizes[: self.levels])

    @property
    def multiple(self) -> int:
        """Sizes at which the network works are multiples of this, px."""
        return 2**self.levels

    @property
    def normalized(self) -> dict[str, int]:
        """Channels of the features that are normalized; level 1 has no cost volume."""
        return {f"pyramid level {level}": channels for level, (_, channels) in enumerate(self.pyramid()[1:], 2)}

    def size_problems(self, height: int, width: int) -> list[str]:
        """Why images of a size cannot be trained on; empty if they can."""
        unit = self.multiple
        found = [
            f"{name} {size} is not a multiple of {unit} (2^network.levels with network.levels={self.levels})"
            for name, size in (("height", height), ("width", width))
            if size % unit
        ]
        least = (DISPLACEMENT + 1) * unit
        if height // unit <= DISPLACEMENT and self.cost_volume:
            found.append(
                f"height {height} is too small for network.levels={self.levels}: the cost volume reaches"
                f" {DISPLACEMENT} px at the coarsest level, so at least {least} rows or fewer levels are needed"
            )
        return found
