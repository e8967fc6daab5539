"""What an evaluation leaves behind: a table to read, `evaluation.json` and `per_frame.csv`."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.evaluation.evaluator import Measured
from experiments.evaluation.metrics import REMOVED
from experiments.evaluation.protocols import Protocol
from experiments.evaluation.regions import NAMES, resolved
from experiments.records import json_files
from experiments.records.metric_names import metric_name
from experiments.records.plain_name import printable

FORMAT = 1
RESULT, FRAMES = "evaluation.json", "per_frame.csv"


def numbers(found: Measured, protocol: Protocol) -> dict[str, dict[str, Any]]:
    """Every number by its full name, such as `epe/sintel_clean/occ`, each with its unit, protocol and frames."""
    plain = {}
    for key, value in found.numbers.items():
        measure, region = key.split("/")
        plain[metric_name(found.name, region, measure)] = value, found.frames[key], protocol.measures[measure].unit
    if found.occlusion is not None:
        plain[f"occlusion_f/{found.name}"] = found.occlusion.f_score, found.occlusion.frames, ""
        plain[f"occlusion_threshold/{found.name}"] = found.occlusion.threshold, found.occlusion.frames, ""
    if found.confidence is not None:
        plain[f"ause/{found.name}"] = found.confidence.ause, found.confidence.frames, ""
    return {
        name: {
            "value": value,
            "unit": unit,
            "protocol": protocol.name,
            "frames": frames,
        }
        for name, (value, frames, unit) in plain.items()
    }


def sparsification(found: Measured) -> dict[str, Any]:
    """The curves of confidence, if it was estimated: errors of what is left, as shares, when so much is taken away."""
    if (score := found.confidence) is None:
        return {}
    return {
        "sparsification": {"removed": REMOVED.tolist(), "error": list(score.curve), "oracle": list(score.oracle)},
    }


def write(
    out: pathlib.Path,
    protocol: Protocol,
    described: Mapping[str, Any],
    sets: Sequence[tuple[Measured, Mapping[str, Any]]],
) -> None:
    """Writes both files, `evaluation.json` last.

    Args:
        out: an existing directory.
        protocol: what was counted.
        described: the network or the method, as its `describe` says it.
        sets: the numbers of every data set, and what is known of the data set itself.
    """
    json_files.atomic_write(out / FRAMES, frame_table([found for found, _ in sets]))
    plain = {
        "format": FORMAT,
        "protocol": protocol.name,
        **({"regions": resolved(",".join(protocol.more))} if protocol.more else {}),
        **described,
        "sets": [
            {"name": found.name, **about, "skipped": list(found.skipped), "unknown": list(found.unknown)}
            | sparsification(found)
            for found, about in sets
        ],
        "numbers": {name: entry for found, _ in sets for name, entry in numbers(found, protocol).items()},
    }
    json_files.write_json(out / RESULT, plain)


def _ordered(keys: Iterable[str]) -> list[str]:
    """The regions of `<measure>/<region>`: those of this project in their order, then those of extensions."""
    found = dict.fromkeys(key.split("/")[1] for key in keys)
    return [*(name for name in NAMES if name in found), *(name for name in found if name not in NAMES)]


def frame_table(sets: Sequence[Measured]) -> str:
    """A line per frame, CSV: data set, frame, and its values by `<measure>/<region>`; empty without such pixels.

    What cannot be printed in the name of a frame is escaped.
    """
    known = dict.fromkeys(key for found in sets for row in found.rows for key in row)
    measures = dict.fromkeys(measure for found in sets for measure in found.measures)
    columns = [f"{m}/{r}" for m in measures for r in _ordered(known) if f"{m}/{r}" in known]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["data", "frame", *columns])
    for found in sets:
        for frame, row in zip(found.pairs, found.rows, strict=True):
            values = (row.get(column) for column in columns)
            lines.writerow([found.name, printable(frame), *("" if value is None else repr(value) for value in values)])
    return text.getvalue()


def table(found: Measured, occlusion: str | None) -> str:
    """The numbers of a data set for people: a row per measure, a column per region."""
    regions = _ordered(found.numbers)
    rows = [["", *regions]]
    for measure, kind in found.measures.items():
        values = [found.numbers.get(f"{measure}/{region}") for region in regions]
        if any(value is not None for value in values):
            rows.append([kind.label, *("-" if value is None else f"{value:.3f}" for value in values)])
    frames = [next(found.frames[f"{m}/{r}"] for m in found.measures if f"{m}/{r}" in found.frames) for r in regions]
    rows.append(["frames", *map(str, frames)])
    widths = [max(8, *(len(row[0]) + 1 for row in rows)), *(max(9, len(region) + 2) for region in regions)]
    lines = [row[0].ljust(widths[0]) + "".join(map(str.rjust, row[1:], widths[1:])) for row in rows]
    if found.occlusion is not None:
        score = found.occlusion
        lines.append(
            f"occlusion ({occlusion}): F {score.f_score:.3f} at threshold {score.threshold:.3f}, {score.frames} frames"
        )
    if found.confidence is not None:
        lines.append(f"confidence: AUSE {found.confidence.ause:.3f} (0 is best), {found.confidence.frames} frames")
    speed = found.pairs_per_second
    rest = f", {speed:.2f} pairs/s after the first batch" if speed else ""
    lines.append(f"{len(found.pairs)} pairs in {found.seconds:.1f} s with compiling{rest}")
    lines += [f"skipped: {printable(sentence)}" for sentence in found.skipped]
    if found.unknown:
        named = ", ".join((*map(printable, found.unknown[:5]), *(["..."] if len(found.unknown) > 5 else [])))
        lines.append(f"in no number, having no known pixel: {len(found.unknown)} of {len(found.pairs)} pairs ({named})")
    return "\n".join(lines)
