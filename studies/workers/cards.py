"""Which devices the runs of a study train on: `--device` as a value."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping

VISIBLE = {"GPU": "CUDA_VISIBLE_DEVICES", "Ascend": "ASCEND_RT_VISIBLE_DEVICES"}
_NAMES = {"auto": "auto", "cpu": "CPU", "gpu": "GPU", "ascend": "Ascend"}
_FILES = {"GPU": "nvidia", "Ascend": "davinci"}
MOST_CARDS = 1024


@dataclasses.dataclass(frozen=True)
class Card:
    """Where one run trains.

    Attributes:
        target: `auto`, `CPU`, `GPU` or `Ascend`.
        number: of the card, or `None` for the only one that the run can see.
    """

    target: str
    number: int | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The variable that shows a run this card and no other; set before MindSpore is loaded."""
        return {} if self.number is None else {VISIBLE[self.target]: str(self.number)}


def parse(text: str) -> tuple[Card, ...]:
    """The cards of `auto`, `cpu`, `gpu`, `ascend`, `gpu:0,1` or `ascend:0-7`; one run at a time trains on each.

    `auto` is Ascend if there is one, else a GPU, else the CPU; without numbers all cards of a kind are meant that the
    machine has.

    Raises:
        ValueError: if it is none of these.
    """
    from experiments.training.device import available

    kind, colon, numbers = text.strip().partition(":")
    if kind.lower() not in _NAMES:
        raise ValueError(f"--device must be auto, cpu, gpu, ascend, or as in gpu:0,1 or ascend:0-7, got {text!r}")
    target = _NAMES[kind.lower()]
    target = available() if target == "auto" and not colon else target
    if not colon:
        return tuple(Card(target, number) for number in _usable(target)) or (Card(target),)
    if target not in VISIBLE:
        raise ValueError(f"--device {text}: only gpu and ascend have cards with numbers")
    found: list[int] = []
    for part in numbers.split(","):
        if not (match := re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)):
            raise ValueError(f"--device {text}: {part!r} is not the number of a card or a range, as in 0-3")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= MOST_CARDS:
            raise ValueError(f"--device {text}: the range {part.strip()} must rise and stay below {MOST_CARDS}")
        found += range(first, last + 1)
    if len(set(found)) < len(found):
        raise ValueError(f"--device {text} names a card twice")
    return tuple(Card(target, number) for number in found)


def _usable(target: str) -> list[int]:
    """Numbers of the cards of a kind: those that a scheduler has given to this process, or all of the machine."""
    given = os.environ.get(VISIBLE.get(target, ""), "")
    if given and all(part.strip().isdigit() for part in given.split(",")):
        return [int(part) for part in given.split(",")]
    return [] if given else _present(target)


def _present(target: str, folder: pathlib.Path = pathlib.Path("/dev")) -> list[int]:
    """Numbers of the cards that this machine has of a kind; none for the CPU."""
    if target not in _FILES:
        return []
    names = (path.name.removeprefix(_FILES[target]) for path in folder.glob(f"{_FILES[target]}[0-9]*"))
    return sorted(int(name) for name in names if name.isdigit())
