"""Frames of 16 bits whose values leave two bits or more empty, so that they are read a quarter as bright as meant."""

from __future__ import annotations

from experiments.data.files.encoded import Encoded


class DarkFrames:
    """Those of a set, as far as it has been read; see `experiments.data.files.image.read_image`."""

    def __init__(self) -> None:
        self._largest: dict[Encoded, int] = {}

    def add(self, file: Encoded, largest: int) -> None:
        """Remembers a frame and its largest value; a frame that is read again counts once."""
        self._largest[file] = largest

    @property
    def note(self) -> str:
        """A sentence with the first of them, in the order of their paths, and their number; '' if there is none."""
        found = dict(self._largest)  # another thread may be reading
        if not found:
            return ""
        first = min(found, key=str)
        others = f", and so of {len(found)} frames that were read" if len(found) > 1 else ""
        return (
            f"the largest value of {first.name} is {found[first]} of {2**16 - 1}{others}:"
            f" frames of {max(found.values()).bit_length()} bits are read too dark unless they are scaled,"
            " or say their bits (sBIT in PNG, the largest value in PGM and PPM)"
        )
