"""The network sees what the options of the data say."""

from __future__ import annotations

import numpy as np

from uflow.registry import register


@register("augmentation", "none", source="Jonschkowski et al., ECCV 2020, section 5")
class NoAugmentation:
    """Nothing is done beside what `data.augmentation` says."""

    def __call__(self, frames: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The frames, unchanged."""
        return frames
