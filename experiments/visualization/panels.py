"""A frame, its flow and what is hidden, side by side, with the legend below: one picture for people."""

from __future__ import annotations

import cv2
import numpy as np

from experiments.visualization.flow_colors import colors, wheel

WIDEST = 1920  # px, of a row of panels: what players and screens take
FOOTER = 84  # px
GAP = 2  # px, between panels
_WHEEL = 71
_PAPER, _INK = 240, (40, 40, 40)


def visibility_picture(visible: np.ndarray) -> np.ndarray:
    """A visibility (H, W) in [0, 1] as gray levels, uint8: white is seen in the second frame, black hidden or NaN."""
    return np.rint(255 * np.clip(np.nan_to_num(visible), 0, 1)).astype(np.uint8)


def panel_size(height: int, width: int, count: int) -> tuple[int, int]:
    """Height and width of one of `count` panels for frames of a size, even numbers as video codecs want them."""
    scale = min(1.0, (WIDEST - GAP * (count - 1)) / (count * width))
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * int(width * scale / 2))


def panels(frame: np.ndarray, flow: np.ndarray, visible: np.ndarray | None, longest: float) -> np.ndarray:
    """The picture, uint8 (H', W', 3), RGB, of even height and width.

    Args:
        frame: uint8 (H, W, 3), RGB.
        flow: (2, H, W), px.
        visible: (H, W), in [0, 1], or `None` for no such panel.
        longest: px, the motion that has full color.
    """
    shown = [("first frame", frame), ("flow", colors(flow, longest))]
    if visible is not None:
        shown.append(("white: seen in the second frame", cv2.cvtColor(visibility_picture(visible), cv2.COLOR_GRAY2RGB)))
    height, width = panel_size(*frame.shape[:2], len(shown))
    picture = np.full((height + FOOTER, len(shown) * (width + GAP) - GAP, 3), _PAPER, np.uint8)
    footer = picture[height:]
    for index, (caption, content) in enumerate(shown):
        left = index * (width + GAP)
        picture[:height, left : left + width] = cv2.resize(content, (width, height), interpolation=cv2.INTER_AREA)
        _write(footer, caption, left + 8, 20, width - 16)
    if width > _WHEEL + 48:
        left = width + GAP
        place = footer[FOOTER - _WHEEL - 6 : FOOTER - 6, left + width - _WHEEL - 8 : left + width - 8]
        disc = np.hypot(*(np.mgrid[:_WHEEL, :_WHEEL] - _WHEEL // 2)) <= _WHEEL // 2
        place[disc] = wheel(_WHEEL)[disc]
        _write(footer, f"full color: {longest:.3g} px", left + 8, 44, width - _WHEEL - 32)
        _write(footer, "longer: darker", left + 8, 68, width - _WHEEL - 32)
    return picture


def _write(picture: np.ndarray, text: str, x: int, y: int, room: int) -> None:
    """Puts text on a picture, smaller if there is little room."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    (length, _), _ = cv2.getTextSize(text, font, 0.55, 1)
    cv2.putText(picture, text, (x, y), font, min(0.55, 0.55 * room / length), _INK, 1, cv2.LINE_AA)


def legend(longest: float, size: int = 201) -> np.ndarray:
    """The color wheel with its scale, uint8, RGB: the color of each motion at the place where it leads."""
    picture = np.full((size + 34, size + 20, 3), 255, np.uint8)
    picture[10 : 10 + size, 10 : 10 + size] = wheel(size)
    _write(picture, f"rim: {longest:.3g} px", 10, size + 26, size)
    return picture
