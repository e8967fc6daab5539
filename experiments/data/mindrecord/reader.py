"""Data sets that `python -m experiments.convert` has put into MindRecord files, read as if they were the originals.

A converted data set is a folder with

    mindrecord_manifest.json   which sets and splits it holds, with counts and digests, and the list of its parts
    part-00000.mindrecord      the files of some pairs, byte for byte as they were: {"file": name, "content": bytes}
    part-00000.mindrecord.db   the index that MindSpore's own readers need
    part-00000.json            where each file lies in the part, and which pairs there are; written last

A frame that several pairs share is stored once. Files are read at random by their place in the part, which takes 0.03
ms each; asking MindSpore for one record took 2.4 ms (`MindDataset` with a sampler) or 5.5 ms (`MindPage`). What is
decoded are the bytes of the original files, so pairs, names and digests are those of the original set.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import zlib
from typing import Any

from experiments.data.files.dark_frames import DarkFrames
from experiments.data.files.file_set import PairFiles, read_pair
from experiments.data.pairs import SPLITS, DataError, Pair, check_index, check_split
from experiments.records import json_files

MANIFEST = "mindrecord_manifest.json"
FORMAT = 1


@dataclasses.dataclass(frozen=True, eq=False)
class StoredFile:
    """A file inside a part.

    Attributes:
        part: the MindRecord file.
        key: the path that the file had within its data set.
        offset: its first byte in the part.
        size: bytes.
        checksum: CRC-32 of the bytes.
    """

    part: pathlib.Path
    key: str
    offset: int
    size: int
    checksum: int

    @property
    def name(self) -> str:
        """The name that the file had."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot."""
        return pathlib.PurePosixPath(self.key).suffix

    def read_bytes(self) -> bytes:
        """The bytes of the file; raises `DataError` if the part does not hold them any more."""
        with open(self.part, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), self.size, self.offset)
        if len(data) != self.size or zlib.crc32(data) != self.checksum:
            raise DataError(f"{self}: the part is cut off or damaged, convert it again")
        return data

    def __str__(self) -> str:
        return f"{self.part}[{self.key}]"


@dataclasses.dataclass(frozen=True)
class ConvertedSet:
    """Pairs that are decoded from a converted data set when asked for.

    Args:
        name: of the original set.
        files: where the files of every pair are.
        remark: of the original set, and how many pairs were left out.
        provides: the ground truth that every pair has, out of `flow` and `occlusion`.
        digest: of the original set, if no pair was left out.
        parts: the MindRecord files and their sizes in bytes.
        dark: the frames that turned out to be read too dark.
    """

    name: str
    files: tuple[PairFiles, ...]
    remark: str
    provides: frozenset[str]
    digest: str
    parts: tuple[tuple[pathlib.Path, int], ...]
    dark: DarkFrames = dataclasses.field(default_factory=DarkFrames, repr=False, compare=False)

    @property
    def note(self) -> str:
        """The remark, and what has been noticed on reading."""
        return "; ".join(filter(None, (self.remark, self.dark.note)))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        return read_pair(self.files[index], self.dark.add)

    def verify(self) -> None:
        """Raises `DataError` for a part that is missing or has another size; damage inside is found on reading."""
        for path, size in self.parts:
            if not path.exists():
                raise DataError(f"{path}: is missing, convert it again")
            if (found := path.stat().st_size) != size:
                raise DataError(f"{path}: has {found} bytes where it had {size} when it was written")


def is_converted(folder: str | os.PathLike) -> bool:
    """True if a folder holds a converted data set, whole or not."""
    return (pathlib.Path(folder).expanduser() / MANIFEST).is_file()


def open_converted(folder: str | os.PathLike, name: str, split: str) -> ConvertedSet:
    """The pairs of a split of a set that was converted, in the original order.

    Raises:
        DataError: if the folder holds another set, another split, or a conversion that is not finished.
    """
    check_split(split)
    folder = pathlib.Path(folder).expanduser()
    try:
        return _open(folder, name, split)
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"{folder}: its manifest and its parts do not fit together ({error!r})") from None


def _open(folder: pathlib.Path, name: str, split: str) -> ConvertedSet:
    manifest = load(folder / MANIFEST)
    held = manifest["sets"]
    if name not in held:
        raise DataError(f"{folder}: holds {' and '.join(held)} in MindRecord files, not {name}")
    if split not in held[name]:
        splits = " and ".join(s for s in SPLITS if s in held[name])
        raise DataError(f"{folder}: {name} was converted with its {splits} pairs only, not with {split}")
    tables = _tables(folder, manifest)
    files = {
        key: StoredFile(part, key, *place) for part, table in tables.items() for key, place in table["files"].items()
    }
    known = held[name][split]
    ordered: list[dict[str, Any] | None] = [None] * known["pairs"]
    for table in tables.values():
        for pair in table["pairs"]:
            if (place := pair["places"].get(f"{name}/{split}")) is not None:
                ordered[place] = pair
    if None in ordered:
        raise DataError(f"{folder}: pair {ordered.index(None)} of {name} {split} is in none of the parts")
    bad = [pair["name"] for pair in ordered if "problem" in pair]
    pairs = tuple(
        PairFiles(pair["name"], **{field: files[key] for field, key in pair["files"].items()})
        for pair in ordered
        if "problem" not in pair
    )
    note, digest = known["note"], known["digest"]
    if bad:
        note = "; ".join(filter(None, (note, f"{name}: {len(bad)} of {len(ordered)} pairs were bad and are left out")))
        digest = hashlib.sha256(repr([digest, bad]).encode()).hexdigest()
    used = {file.part for pair in pairs for file in pair.paths}
    sizes = tuple((part, table["bytes"]) for part, table in tables.items() if part in used)
    return ConvertedSet(name, pairs, note, frozenset(known["provides"]), digest, sizes)


def _tables(folder: pathlib.Path, manifest: dict[str, Any]) -> dict[pathlib.Path, dict[str, Any]]:
    """The tables of all parts by the path of the MindRecord file."""
    missing = [part for part in manifest["parts"] if not (folder / f"{part['name']}.json").exists()]
    if missing:
        shards = ", ".join(str(shard) for shard in sorted({part["shard"] for part in missing}))
        raise DataError(
            f"{folder}: {len(missing)} of {len(manifest['parts'])} parts are missing, the conversion is not finished;"
            f" its command continues it (--num-shards {manifest['num_shards']}, --shard {shards})"
        )
    return {folder / f"{p['name']}.mindrecord": load(folder / f"{p['name']}.json") for p in manifest["parts"]}


def load(path: pathlib.Path) -> dict[str, Any]:
    """A manifest or the table of a part; raises `DataError` if it is none of this format."""
    try:
        plain = json_files.read_json(path)
    except json_files.RecordError as error:
        raise DataError(str(error)) from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise DataError(f"{path}: not of a converted data set of format {FORMAT}")
    return plain
