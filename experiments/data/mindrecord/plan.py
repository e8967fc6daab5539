"""Which part of a conversion to MindRecord files holds what, and which parts are there already."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.data.files.file_set import FileSet, PairFiles, check_headers
from experiments.data.mindrecord.reader import FORMAT, MANIFEST, load
from experiments.data.pairs import SPLITS, DataError

MEGABYTE = 2**20
PART_MEGABYTES = 128  # what is lost at most when a conversion is killed


@dataclasses.dataclass(frozen=True)
class Part:
    """Some pairs, and those of their files that no part before has."""

    number: int
    shard: int
    pairs: tuple[PairFiles, ...]
    files: tuple[pathlib.Path, ...]
    bytes: int

    @property
    def name(self) -> str:
        """The name of its files, without suffix."""
        return f"part-{self.number:05}"


@dataclasses.dataclass(frozen=True)
class ConversionPlan:
    """What goes where; the same for every shard and every attempt.

    Attributes:
        root: folder of the data sets; files are called by their path within it.
        sets: what is converted, by name and split.
        num_shards: how many processes share the work.
        part_bytes: a part that has reached this size is closed.
    """

    root: pathlib.Path
    sets: Mapping[str, Mapping[str, FileSet]]
    num_shards: int = 1
    part_bytes: int = PART_MEGABYTES * MEGABYTE

    @functools.cached_property
    def places(self) -> dict[PairFiles, dict[str, int]]:
        """Every pair once, with its places in the splits, such as `{"flyingchairs/train": 7}`."""
        places: dict[PairFiles, dict[str, int]] = {}
        for name, splits in self.sets.items():
            for split, pairs in splits.items():
                for place, pair in enumerate(pairs.files):
                    places.setdefault(pair, {})[f"{name}/{split}"] = place
        return places

    @functools.cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts of all shards: each shard has a stretch of the pairs, as long as the others'."""
        pairs, seen, parts = list(self.places), set(), []
        for shard in range(self.num_shards):
            begin, end = (len(pairs) * edge // self.num_shards for edge in (shard, shard + 1))
            chosen: list[PairFiles] = []
            files: list[pathlib.Path] = []
            size = 0
            for pair in pairs[begin:end]:
                fresh = [path for path in dict.fromkeys(pair.paths) if path not in seen]
                more = sum(path.stat().st_size + 8 for path in fresh)
                if chosen and size + more > self.part_bytes:
                    parts.append(Part(len(parts), shard, tuple(chosen), tuple(files), size))
                    chosen, files, size = [], [], 0
                seen.update(fresh)
                chosen.append(pair)
                files += fresh
                size += more
            if chosen:
                parts.append(Part(len(parts), shard, tuple(chosen), tuple(files), size))
        return tuple(parts)

    def label(self, pair: PairFiles) -> str:
        """A pair by its first place and its name, which no other pair has."""
        return f"{next(iter(self.places[pair]))}: {pair.name}"

    def key(self, path: pathlib.Path) -> str:
        """What a file is called in the converted set."""
        return path.relative_to(self.root).as_posix()

    @functools.cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of the manifest, known before anything is written."""
        sets = {
            name: {
                split: {"pairs": len(s), "digest": s.digest, "note": s.note, "provides": sorted(s.provides)}
                for split, s in splits.items()
            }
            for name, splits in self.sets.items()
        }
        parts = [{"name": p.name, "shard": p.shard, "pairs": len(p.pairs), "files": len(p.files)} for p in self.parts]
        return {"format": FORMAT, "num_shards": self.num_shards, "sets": sets, "parts": parts}


def check_manifest(plan: ConversionPlan, out: pathlib.Path) -> None:
    """Raises `DataError` if a folder holds another conversion than the planned one."""
    if not (out / MANIFEST).exists():
        return
    found, wanted = load(out / MANIFEST), plan.manifest
    if found == wanted:
        return
    if found["num_shards"] != plan.num_shards:
        reason = f"it was begun with --num-shards {found['num_shards']}, not {plan.num_shards}"
    elif found["sets"] != wanted["sets"]:
        reason = f"it holds {_described(found)}; here is {_described(wanted)}"
    else:
        reason = "its parts have other sizes, it was begun with another --part-mb"
    raise DataError(f"{out}: holds another conversion: {reason}; give another --out")


def _described(manifest: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {split} ({known['pairs']} pairs, digest {known['digest'][:12]})"
        for name, splits in manifest["sets"].items()
        for split in SPLITS
        if (known := splits.get(split))
    )


def pending(plan: ConversionPlan, out: pathlib.Path, shard: int) -> list[Part]:
    """The parts of a shard that are not there yet, or not whole any more."""
    return [part for part in plan.parts if part.shard == shard and not _is_whole(out, part)]


def _is_whole(out: pathlib.Path, part: Part) -> bool:
    try:
        size = load(out / f"{part.name}.json")["bytes"]
        return not part.files or os.path.getsize(out / f"{part.name}.mindrecord") == size
    except (DataError, OSError):
        return False


def bad_pairs(plan: ConversionPlan, out: pathlib.Path, shard: int) -> dict[str, str]:
    """Pairs of a shard that are known to be bad, by label, with the reason.

    In whole parts they were found when the part was written; in the others, those whose files are missing, cut off or
    of different sizes are found now.
    """
    bad = {}
    for part in plan.parts:
        if part.shard != shard:
            continue
        if _is_whole(out, part):
            rows = load(out / f"{part.name}.json")["pairs"]
            known = zip(part.pairs, rows, strict=True)
            bad |= {plan.label(pair): row["problem"] for pair, row in known if "problem" in row}
            continue
        for pair in part.pairs:
            try:
                check_headers(pair)
            except DataError as error:
                bad[plan.label(pair)] = str(error)
    return bad
