"""Any name in a form that others take: of a video file for OpenCV, of anything for those who read it.

OpenCV takes names as UTF-8 text; at other bytes, which Linux allows in a name, version 4.11 ends the process. In the
name of a video it reads `%` as the place of a number.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import tempfile
import unicodedata
from collections.abc import Iterator


@contextlib.contextmanager
def plain_name(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A link to a file while the block runs; it has the suffix of the file, if that is plain too."""
    suffix = path.suffix if re.fullmatch(r"\.[a-zA-Z0-9]+", path.suffix) else ""
    with tempfile.TemporaryDirectory(prefix="uflow-") as folder:
        link = pathlib.Path(folder, f"link{suffix}")
        link.symlink_to(path.absolute())
        yield link


def printable(name: str) -> str:
    r"""A name with escapes (`\x1b`) in place of control, format and unpaired characters (bytes that are no UTF-8)."""
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c)[0] == "C" else c for c in name)
