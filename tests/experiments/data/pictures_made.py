"""Pictures with texture at all sizes, written to files."""

import cv2
import numpy as np


def picture(seed, height, width):
    """Noise of several sizes, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128.0)
    for size in (3, 8, 20):
        coarse = random.normal(0, 20, (height // size + 2, width // size + 2, 3))
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def folder_of(place, count, height=160, width=200):
    """A folder of different pictures `1.png` to `<count>.png`."""
    place.mkdir()
    for number in range(1, count + 1):
        cv2.imwrite(str(place / f"{number}.png"), picture(number, height, width))
    return place
