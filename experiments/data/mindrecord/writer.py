"""Writes the parts of a conversion to MindRecord files; see `experiments.data.mindrecord.reader` for the layout.

A part is written under another name, read back, and renamed when it is whole; its table comes last and says so. So
whatever ends a conversion leaves whole parts, and the next one goes on with the first that is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.data.files.encoded import InMemory
from experiments.data.files.file_set import PairFiles, read_pair
from experiments.data.mindrecord.plan import MEGABYTE, ConversionPlan, Part
from experiments.data.mindrecord.reader import FORMAT
from experiments.data.pairs import DataError
from experiments.records import json_files
from experiments.records.atomic import settle
from uflow import backend as ms

LARGEST_PAGE = 256 * MEGABYTE  # MindRecord's limit; a part is one page
_HEADER = 2**14  # bytes, the least that MindRecord takes
_HEAD = 64  # bytes by which a file is looked for in its part


class WriteError(RuntimeError):
    """A part that could not be written; the parts before it are whole."""


def write_part(
    plan: ConversionPlan,
    part: Part,
    out: pathlib.Path,
    bad: Callable[[PairFiles, str], None],
    report: Callable[[int], None],
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
            json_files.write_json(scratch / table, {"format": FORMAT, "bytes": size, "files": places, "pairs": pairs})
            for name in (f"{path.name}.db", path.name, table) if stored else (table,):
                settle(scratch / name, out / name)
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


def _row(
    plan: ConversionPlan, pair: PairFiles, loaded: Mapping[pathlib.Path, InMemory], problem: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": pair.name, "places": plan.places[pair]}
    if problem:
        return row | {"problem": problem}
    content = hashlib.sha256(os.fsencode(pair.name))
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
        named = key.encode(errors="backslashreplace").decode()  # text to MindSpore; our own table has the very name
        writer.write_raw_data([{"file": named, "content": data}])
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
