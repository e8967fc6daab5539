"""Puts the files of data sets into MindRecord files, part by part; see `experiments.data.mindrecord` for the layout.

A part is written under another name, read back, and renamed when it is whole; its table comes last and says so. So
whatever ends a conversion leaves whole parts, and the next one goes on with the first that is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import mmap
import os
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments import records
from experiments.data.encoded import InMemory
from experiments.data.file_set import FileSet, PairFiles, check_headers, read_pair
from experiments.data.mindrecord import FORMAT, MANIFEST, load
from experiments.data.pairs import SPLITS, DataError
from uflow import backend as ms

MEGABYTE = 2**20
PART_MEGABYTES = 128  # what is lost at most when a conversion is killed
LARGEST_PAGE = 256 * MEGABYTE  # MindRecord's limit; a part is one page
_HEADER = 2**14  # bytes, the least that MindRecord takes
_HEAD = 64  # bytes by which a file is looked for in its part


class WriteError(RuntimeError):
    """A part that could not be written; the parts before it are whole."""


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
class Plan:
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


def check_manifest(plan: Plan, out: pathlib.Path) -> None:
    """Raises `DataError` if a folder holds another conversion than the planned one."""
    if not (out / MANIFEST).exists():
        return
    found, wanted = load(out / MANIFEST), plan.manifest
    if found == wanted:
        return
    if found["num_shards"] != plan.num_shards:
        reason = f"it was begun with --num_shards {found['num_shards']}, not {plan.num_shards}"
    elif found["sets"] != wanted["sets"]:
        reason = f"it holds {_described(found)}; here is {_described(wanted)}"
    else:
        reason = "its parts have other sizes, it was begun with another --part_mb"
    raise DataError(f"{out}: holds another conversion: {reason}; give another --output_dir")


def _described(manifest: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {split} ({known['pairs']} pairs, digest {known['digest'][:12]})"
        for name, splits in manifest["sets"].items()
        for split in SPLITS
        if (known := splits.get(split))
    )


def pending(plan: Plan, out: pathlib.Path, shard: int) -> list[Part]:
    """The parts of a shard that are not there yet, or not whole any more."""
    return [part for part in plan.parts if part.shard == shard and not _is_whole(out, part)]


def _is_whole(out: pathlib.Path, part: Part) -> bool:
    try:
        size = load(out / f"{part.name}.json")["bytes"]
        return not part.files or os.path.getsize(out / f"{part.name}.mindrecord") == size
    except (DataError, OSError):
        return False


def bad_pairs(plan: Plan, out: pathlib.Path, shard: int) -> dict[str, str]:
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


def write_part(
    plan: Plan, part: Part, out: pathlib.Path, bad: Callable[[PairFiles, str], None], report: Callable[[int], None]
) -> None:
    """Writes one part: all of it or nothing.

    Args:
        plan: what the part belongs to.
        part: what to write.
        out: folder, which must exist.
        bad: told each pair that cannot be decoded, with the reason; may raise to stop.
        report: told the bytes that were read for each pair.

    Raises:
        WriteError: if the files cannot be written, as when the disk is full.
    """
    if part.bytes > LARGEST_PAGE:
        raise WriteError(f"{part.name}: {part.bytes} bytes for one pair, MindRecord takes {LARGEST_PAGE}")
    path = out / f"{part.name}.mindrecord"
    with _scratch(out / f".{part.name}.tmp") as scratch:
        stored: dict[str, tuple[bytes, int, int]] = {}
        pairs = []
        try:
            with _writer(scratch / path.name, part) as write:
                for pair, loaded, problem in _loaded(part.pairs):
                    if problem:
                        bad(pair, problem)
                    for source in part.files:
                        if source in loaded and plan.key(source) not in stored and loaded[source].data:
                            data = loaded[source].data
                            write(plan.key(source), data)
                            stored[plan.key(source)] = data[:_HEAD], len(data), zlib.crc32(data)
                    pairs.append(_row(plan, pair, loaded, problem))
                    report(sum(len(file.data) for file in loaded.values()))
            places = _find(scratch / path.name, stored) if stored else {}
            size = (scratch / path.name).stat().st_size if stored else 0
            table = f"{part.name}.json"
            records.write_json(scratch / table, {"format": FORMAT, "bytes": size, "files": places, "pairs": pairs})
            for name in (f"{path.name}.db", path.name, table) if stored else (table,):
                _settle(scratch / name, out / name)
        except (OSError, RuntimeError, ms.mindrecord.MindRecordException) as error:
            raise WriteError(f"{path}: {_reason(error, out, part)}") from error


def _loaded(pairs: tuple[PairFiles, ...]) -> Iterator[tuple[PairFiles, dict[pathlib.Path, InMemory], str]]:
    """Each pair with the content of its files, and why it is bad or ''."""
    loaded: dict[pathlib.Path, InMemory] = {}
    for pair in pairs:
        before, loaded, problem = loaded, {}, ""
        for path in pair.paths:
            try:
                loaded[path] = before.get(path) or InMemory(path, path.read_bytes())
            except OSError as error:
                problem = f"{path}: cannot be read ({error.strerror})"
        if not problem:
            try:
                # what is checked is what is stored
                read_pair(PairFiles(pair.name, **{field: loaded[path] for field, path in pair.by_field.items()}))
            except DataError as error:
                problem = str(error)
        yield pair, loaded, problem


def _row(plan: Plan, pair: PairFiles, loaded: Mapping[pathlib.Path, InMemory], problem: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": pair.name, "places": plan.places[pair]}
    if problem:
        return row | {"problem": problem}
    content = hashlib.sha256(pair.name.encode())
    for field, path in pair.by_field.items():
        content.update(f" {field} {hashlib.sha256(loaded[path].data).hexdigest()}".encode())
    files = {field: plan.key(path) for field, path in pair.by_field.items()}
    return row | {"files": files, "digest": content.hexdigest()}


@contextlib.contextmanager
def _writer(path: pathlib.Path, part: Part) -> Iterator[Callable[[str, bytes], None]]:
    """A function that adds a file to a MindRecord file, which is complete when the block is left."""
    if not part.files:
        yield lambda key, data: None
        return
    writer = ms.mindrecord.FileWriter(os.fspath(path))
    # the usual 16 MiB for the header and pages of 32 MiB, most of the last one empty, would double small sets
    writer.set_header_size(_HEADER)
    writer.set_page_size(max(2**15, -(-part.bytes // 4096) * 4096))
    writer.add_schema({"file": {"type": "string"}, "content": {"type": "bytes"}}, "files of image pairs")
    writer.add_index(["file"])
    added = []

    def write(key: str, data: bytes) -> None:
        writer.write_raw_data([{"file": key, "content": data}])
        added.append(key)

    yield write
    if added:
        writer.commit()


def _find(path: pathlib.Path, stored: Mapping[str, tuple[bytes, int, int]]) -> dict[str, tuple[int, int, int]]:
    """Offset, size and checksum of every file in a part.

    The very bytes are looked for: nothing is assumed of MindRecord's layout, and a write that failed is found, which
    MindSpore 2.10 does not always notice.
    """
    places, begin = {}, 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for key, (head, size, checksum) in stored.items():
            begin = content.find(head, begin)
            while begin >= 0 and zlib.crc32(content[begin : begin + size]) != checksum:
                begin = content.find(head, begin + 1)
            if begin < 0:
                raise OSError(f"{key} is not in it as it was written")
            places[key] = begin, size, checksum
            begin += size
    return places


def _settle(path: pathlib.Path, target: pathlib.Path) -> None:
    """Brings a file to the disk and then to its name."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    path.chmod(0o644)
    os.replace(path, target)


@contextlib.contextmanager
def _scratch(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty folder while the block runs."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reason(error: Exception, out: pathlib.Path, part: Part) -> str:
    free = shutil.disk_usage(out).free
    lines = [line.strip() for line in str(error).splitlines() if "[ERROR]" in line] or [str(error).strip()]
    reason = lines[0].replace("[ERROR]", "").strip()
    # MindSpore wants 10 MB to be left over
    full = free < part.bytes + 10 * MEGABYTE or "No free disk" in reason
    return f"no space left on the disk, {free / 1e6:.1f} MB free ({reason})" if full else reason
