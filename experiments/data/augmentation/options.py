"""How training pairs are varied, as a value."""

from __future__ import annotations

from uflow.options import FLAG, Range, option, section


@section
class AugmentationOptions:
    """Random changes of training pairs; the defaults are the reference's: colors are exchanged and hues turned.

    A photometric change is made to what the network sees, not to what the loss compares. Values of 0 switch a change
    off. Where the reference has a switch, its value for "on" stands in brackets.
    """

    color_swap: bool = option(True, FLAG, help="permute the color channels of both frames alike")
    hue: float = option(0.5, Range(0.0, 0.5), unit="turns", help="largest turn of the hue of both frames")
    saturation: float = option(0.0, Range(0.0, 1.0), help="largest relative change of saturation [0.2]")
    brightness: float = option(0.0, Range(0.0, 1.0), unit="intensity", help="largest change of brightness [0.1]")
    contrast: float = option(0.0, Range(0.0, 1.0), help="largest relative change of contrast [0.2]")
    noise: float = option(0.0, Range(0.0, 1.0), unit="intensity", help="largest deviation of Gaussian noise [0.02]")
    brightness_each: float = option(
        0.0, Range(0.0, 1.0), unit="intensity", help="largest change of brightness of each frame by itself [0.02]"
    )
    contrast_each: float = option(
        0.0, Range(0.0, 1.0), help="largest relative change of contrast of each frame by itself [0.05]"
    )
    flip_horizontal: bool = option(False, FLAG, help="mirror half of the pairs left to right")
    flip_vertical: bool = option(False, FLAG, help="mirror half of the pairs top to bottom")
    scale_low: float = option(1.0, Range(0.1, 10.0), help="smallest factor of the size [0.9]")
    scale_high: float = option(1.0, Range(0.1, 10.0), help="largest factor of the size [1.5]")
    scale_second: float = option(0.0, Range(0.0, 0.9), help="largest relative change of the second frame's size [0.05]")
    rotation: float = option(0.0, Range(0.0, 45.0), unit="degrees", help="largest rotation of both frames [15]")
    rotation_second: float = option(0.0, Range(0.0, 45.0), unit="degrees", help="largest rotation of the second [3]")
    crop_offset: int = option(0, Range(0, 256), unit="px", help="largest offset of the second frame's crop [5]")

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        if self.scale_low > self.scale_high:
            return [f"scale_low ({self.scale_low:g}) must not exceed scale_high ({self.scale_high:g})"]
        return []
