import os
import pathlib

import cv2
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def real():
    """Path of a folder of real samples; the test is skipped where there is none."""

    def folder(name):
        path = pathlib.Path(os.environ.get("UFLOW_DATA") or ROOT / "../shared/data").resolve() / name
        if not path.is_dir():
            pytest.skip(f"no real samples at {path}; set UFLOW_DATA to the folder that holds them")
        return path

    return folder


@pytest.fixture
def warp_ratio():
    """Error of the second frame warped by a flow, per error without motion: below 1 if the flow explains the frames."""

    def ratio(pair, change=lambda flow: flow):
        height, width = pair.first.shape[:2]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        flow = change(pair.flow)
        gray, other = (frame.astype(np.float32).mean(-1) for frame in (pair.first, pair.second))
        tx, ty = x + flow[0], y + flow[1]
        use = (tx >= 0) & (tx <= width - 1) & (ty >= 0) & (ty <= height - 1)
        use &= True if pair.valid is None else pair.valid
        use &= True if pair.occluded is None else ~pair.occluded
        warped = cv2.remap(other, tx, ty, cv2.INTER_LINEAR)
        return np.abs(warped - gray)[use].mean() / np.abs(other - gray)[use].mean()

    return ratio
