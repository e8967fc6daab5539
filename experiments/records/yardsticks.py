"""What methods without training reach on a study's evaluation data: its `yardsticks.json`, written and checked."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping

from experiments.records import layout
from experiments.records.json_files import RecordError, read_json, write_json
from experiments.records.labels import printable

FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Yardsticks:
    """Numbers that hold for one protocol on one content of the data, whoever computes them.

    Attributes:
        protocol: name and version of the evaluation, such as `full/1`.
        digest: of the data, as in the specs of runs that are evaluated on them.
        regions: of extensions, with their digests, as in these specs.
        numbers: by what a method is called in tables and the name of the metric, such as `epe/synthetic/all`.
    """

    protocol: str
    digest: str
    numbers: Mapping[str, Mapping[str, float]]
    regions: str = ""


def read_yardsticks(directory: pathlib.Path) -> Yardsticks | None:
    """The yardsticks of the study in a directory; `None` if there are none.

    Raises:
        RecordError: if their file is not what it should be.
    """
    path = directory / layout.YARDSTICKS
    if not path.exists():
        return None
    plain = printable(read_json(path))
    try:
        if plain["format"] != FORMAT:
            raise RecordError(f"{path}: format {plain['format']!r}, this version reads {FORMAT}")
        methods = [(method["title"], method["metrics"]) for method in plain["methods"]]
        numbers = {str(title): {str(k): float(v) for k, v in metrics.items()} for title, metrics in methods}
        if not all(math.isfinite(value) for metrics in numbers.values() for value in metrics.values()):
            raise ValueError("a number is not finite")
        told = {"protocol": str(plain["protocol"]), "digest": str(plain["digest"])}
        return Yardsticks(**told, numbers=numbers, regions=str(plain.get("regions", "")))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: not the yardsticks of a study ({type(error).__name__}: {error})") from None


def write_yardsticks(directory: pathlib.Path, found: Yardsticks) -> None:
    """Writes the yardsticks of a study, their methods in the order in which they are shown."""
    plain = {
        "format": FORMAT,
        "protocol": found.protocol,
        "digest": found.digest,
        **({"regions": found.regions} if found.regions else {}),
        "methods": [{"title": title, "metrics": dict(metrics)} for title, metrics in found.numbers.items()],
    }
    write_json(directory / layout.YARDSTICKS, plain)
