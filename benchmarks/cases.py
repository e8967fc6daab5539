"""What is timed: training steps and inference of some sizes, as values that both sides build from."""

from __future__ import annotations

import dataclasses

import numpy as np

from experiments.spec import ExperimentSpec, changed, default_spec

SEED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A size: image, batch, and network.

    Attributes:
        height: of the images, px.
        width: of the images, px.
        batch: image pairs a step.
        levels: of the pyramid.
        multiplier: of the number of channels.
        crop: what self-supervision cuts off at each side, px.
    """

    height: int
    width: int
    batch: int
    levels: int
    multiplier: float
    crop: int

    @property
    def name(self) -> str:
        """How the command line calls it."""
        return f"{self.height}x{self.width}"

    def spec(self, selfsup: bool) -> ExperimentSpec:
        """Census, the range map, second-order smoothness and normalization, both directions; maybe self-supervision."""
        changes = {
            "photometric.name": "census",
            "occlusion.name": "wang",
            "smoothness.name": "second_order",
            "normalization.name": "center_scale",
            "selfsup.name": "teacher_student" if selfsup else "none",
            "network.levels": self.levels,
            "network.width": self.multiplier,
            "network.level_dropout": 0.0,
            "train.steps": 1000,
            "train.batch_size": self.batch,
            "data.height": self.height,
            "data.width": self.width,
        }
        if selfsup:
            same = {"start": 0.0, "ramp": 0.0, "crop_height": self.crop, "crop_width": self.crop}
            changes |= {f"selfsup.{key}": value for key, value in same.items()}
        return changed(default_spec(), changes)

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Two smooth random images that are shifted against each other, (B, 3, H, W) each, in [0, 1]."""
        generator = np.random.default_rng(SEED)
        y, x = np.mgrid[: self.height, : self.width].astype(np.float64)
        waves = generator.uniform(0.1, 0.6, (self.batch, 3, 6, 2)) * generator.choice([-1, 1], (self.batch, 3, 6, 2))
        phases = generator.uniform(0, 2 * np.pi, (self.batch, 3, 6))

        def at(dx: float, dy: float) -> np.ndarray:
            angle = waves[..., 0, None, None] * (x + dx) + waves[..., 1, None, None] * (y + dy)
            return (0.5 + np.sin(angle + phases[..., None, None]).mean(axis=2) / 2).astype(np.float32)

        return at(0.0, 0.0), at(1.7, -0.6)


CASES = {
    case.name: case
    for case in (
        Case(height=64, width=64, batch=4, levels=3, multiplier=0.25, crop=8),
        Case(height=128, width=128, batch=4, levels=3, multiplier=0.25, crop=16),
        Case(height=192, width=256, batch=2, levels=4, multiplier=0.5, crop=32),
        Case(height=384, width=512, batch=1, levels=5, multiplier=1.0, crop=64),
    )
}
MODES = ("step", "selfsup", "inference")
