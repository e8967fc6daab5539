"""What the generated scenes look like and how many there are."""

from __future__ import annotations

import dataclasses
from typing import Any

from uflow import options
from uflow.options import FLAG, Range, option

# By source: the options that its scenes do not follow, and so are no part of what a run or a set is named by.
UNUSED = {
    "synthetic": frozenset({"photo_part_min", "photo_part_max", "photo_color", "photo_blur"}),
    "photos": frozenset({
        "waves", "object_wavelength_min", "object_wavelength_max", "object_contrast", "background_wavelength_min",
        "background_wavelength_max", "background_contrast", "color_min", "color_max",
    }),
}  # fmt: skip


@options.section
class SceneOptions:
    """Options of the generated scenes; the defaults are made for frames of 64x64 px and are in px at every size.

    They are large shapes in front of a smooth background that moves the other way, mostly sideways, so that motion and
    occlusions are strong enough for an effect to show after little training.
    """

    seed: int = option(1, Range(0, 2**32 - 1), help="seed of the scenes, apart from the seed of training")
    train_pairs: int = option(768, Range(1, 1_000_000), help="number of training pairs")
    validation_pairs: int = option(64, Range(1, 1_000_000), help="number of validation pairs")
    test_pairs: int = option(128, Range(1, 1_000_000), help="number of test pairs")

    shapes_min: int = option(1, Range(0, 50), help="fewest shapes in a scene")
    shapes_max: int = option(2, Range(0, 50), help="most shapes in a scene")
    radius_min: float = option(11.0, Range(1.0, 1000.0), unit="px", help="smallest mean radius of a shape")
    radius_max: float = option(16.0, Range(1.0, 1000.0), unit="px", help="largest mean radius of a shape")
    aspect_min: float = option(1.0, Range(0.25, 4.0), help="least stretch: height grows, width shrinks by this factor")
    aspect_max: float = option(1.8, Range(0.25, 4.0), help="greatest stretch of a shape")
    bumps_max: float = option(0.25, Range(0.0, 0.5), help="greatest height of the bumps of an outline, per radius")

    background_motion_min: float = option(2.0, Range(0.0, 500.0), unit="px", help="slowest pan of the background")
    background_motion_max: float = option(5.0, Range(0.0, 500.0), unit="px", help="fastest pan of the background")
    object_motion_min: float = option(4.0, Range(0.0, 500.0), unit="px", help="slowest shape, against the pan")
    object_motion_max: float = option(9.0, Range(0.0, 500.0), unit="px", help="fastest shape, against the pan")
    vertical_share: float = option(0.3, Range(0.0, 2.0), help="largest vertical motion per horizontal motion")
    random_direction: bool = option(
        True, FLAG, help="pan to either side with equal chance, so that forward and backward flow are alike"
    )
    rotation_max: float = option(0.0, Range(0.0, 45.0), unit="degree", help="largest rotation of a layer")
    scaling_max: float = option(0.0, Range(0.0, 0.5), help="largest log scale factor of a layer")
    shear_max: float = option(0.0, Range(0.0, 0.5), help="largest shear of a layer, horizontal per vertical px")

    waves: int = option(16, Range(1, 256), help="sinusoids in a texture")
    object_wavelength_min: float = option(6.0, Range(2.0, 1000.0), unit="px", help="finest texture of a shape")
    object_wavelength_max: float = option(16.0, Range(2.0, 1000.0), unit="px", help="coarsest texture of a shape")
    object_contrast: float = option(
        0.14, Range(0.0, 0.5), unit="intensity", help="standard deviation of a shape's texture"
    )
    background_wavelength_min: float = option(20.0, Range(2.0, 1000.0), unit="px", help="finest background texture")
    background_wavelength_max: float = option(60.0, Range(2.0, 1000.0), unit="px", help="coarsest background texture")
    background_contrast: float = option(
        0.07, Range(0.0, 0.5), unit="intensity", help="standard deviation of the background's texture"
    )
    color_min: float = option(0.1, Range(0.0, 1.0), unit="intensity", help="darkest mean color")
    color_max: float = option(0.9, Range(0.0, 1.0), unit="intensity", help="brightest mean color")

    photo_part_min: float = option(
        0.25, Range(0.01, 1.0), help="least part of a photograph's sides that fills a frame; more if it were enlarged"
    )
    photo_part_max: float = option(0.75, Range(0.01, 1.0), help="largest part of a photograph's sides")

    occluded_min: float = option(0.0, Range(0.0, 1.0), help="least share of covered and out-of-frame pixels")
    occluded_max: float = option(1.0, Range(0.0, 1.0), help="greatest share of covered and out-of-frame pixels")

    gain: float = option(0.0, Range(0.0, 0.9), help="second frame times a factor in 1 +- this")
    offset: float = option(0.0, Range(0.0, 0.5), unit="intensity", help="second frame plus a number in +- this")
    noise: float = option(0.0, Range(0.0, 0.5), unit="intensity", help="standard deviation of noise on both frames")
    photo_color: float = option(
        0.0, Range(0.0, 0.9), help="each channel of the second photo frame times its own factor in 1 +- this"
    )
    photo_blur: float = option(
        0.0, Range(0.0, 10.0), unit="px", help="largest standard deviation of the blur of a photo frame"
    )

    def followed(self, source: str) -> dict[str, Any]:
        """The options that a pair of a source depends on, by name, in the types that are declared."""
        passed = UNUSED[source]
        return {
            f.name: options.coerce(getattr(self, f.name), f)
            for f in dataclasses.fields(self)
            if f.name not in passed and not f.name.endswith("_pairs")
        }

    def conflicts(self) -> list[str]:
        """One line for every range that is empty."""
        pairs = [f.name.removesuffix("_min") for f in dataclasses.fields(self) if f.name.endswith("_min")]
        ends = [(n, getattr(self, f"{n}_min"), getattr(self, f"{n}_max")) for n in pairs]
        return [f"{n}_min must not exceed {n}_max, got {low!r} and {high!r}" for n, low, high in ends if low > high]
