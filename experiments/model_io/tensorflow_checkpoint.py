"""Reads the tensors of a TensorFlow checkpoint (`PREFIX.index`, `PREFIX.data-...`) without TensorFlow.

The index is a sorted table as of LevelDB: blocks of keys with shared prefixes, an index block and a footer. Its values
are protocol buffers that say type, shape, file, place and checksum of a tensor; the data files hold nothing but the
values, in the byte order of the machine that wrote them.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
# numbers of TensorFlow's DataType that weights and counters have
_TYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 19: np.float16}


class BundleError(ValueError):
    """A checkpoint that cannot be read; the message names the file and the reason."""


@dataclasses.dataclass(frozen=True)
class TensorEntry:
    """Where a tensor is, and what it is."""

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of the fields of a protocol buffer."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        else:
            raise ValueError(f"unknown wire type {kind}")
        yield tag >> 3, value


def _shape(data: bytes) -> tuple[int, ...]:
    """The sizes in a TensorShapeProto; a size of 0 is left out by the format."""
    return tuple(dict(_fields(value)).get(1, 0) for number, value in _fields(data) if number == 2)


def _entry(data: bytes) -> TensorEntry:
    found = dict(_fields(data))
    return TensorEntry(
        found.get(1, 0), _shape(found.get(2, b"")), found.get(3, 0), found.get(4, 0), found.get(5, 0), found.get(6, 0)
    )


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; each key repeats a part of the one before."""
    if len(data) < offset + size + 5:
        raise ValueError("the index is cut off")
    if _masked_crc32c(data[offset : offset + size + 1]) != int.from_bytes(data[offset + size + 1 :][:4], "little"):
        raise ValueError("the index is damaged (a checksum differs)")
    if data[offset + size] != 0:
        raise ValueError("a block is compressed; TensorFlow writes checkpoints without compression")
    block = data[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + length]
        at += rest + length


def _handle(data: bytes, at: int = 0) -> tuple[int, int, int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return offset, size, at


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table, in order."""
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise ValueError("not the index of a TensorFlow checkpoint")
    footer = data[-_FOOTER:]
    _, _, at = _handle(footer)
    offset, size, _ = _handle(footer, at)
    for _, place in _block(data, offset, size):
        yield from _block(data, *_handle(place)[:2])


def _masked_crc32c(data: bytes) -> int:
    """The checksum of TensorFlow's records: CRC-32C, rotated and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def read(prefix: pathlib.Path | str, leave_out: str = ".OPTIMIZER_SLOT") -> dict[str, np.ndarray]:
    """The tensors of a checkpoint that are numbers, by key.

    Args:
        prefix: the path without `.index`.
        leave_out: keys with this in their name are not read.

    Raises:
        BundleError: if a file is missing, damaged or of another format.
    """
    prefix = pathlib.Path(prefix)
    index = prefix.with_name(f"{prefix.name}.index")
    try:
        content = index.read_bytes()
    except FileNotFoundError:
        beside = sorted(p.name.removesuffix(".index") for p in prefix.parent.glob("*.index"))
        hint = f"; prefixes there: {', '.join(beside)}" if beside else ""
        raise BundleError(f"{index}: no such file{hint}") from None
    except OSError as error:
        raise BundleError(f"{index}: cannot be read ({error.strerror})") from None
    try:
        table = dict(_table(content))
        header = dict(_fields(table.pop(b"", b"")))
        entries = {key.decode(): _entry(value) for key, value in table.items()}
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{index}: {error}") from None
    shards, order = header.get(1, 1), ">" if header.get(2, 0) else "<"
    files: dict[int, bytes] = {}
    found = {}
    for key, entry in entries.items():
        if entry.kind not in _TYPES or leave_out in key:
            continue
        if entry.shard not in files:
            path = prefix.with_name(f"{prefix.name}.data-{entry.shard:05d}-of-{shards:05d}")
            try:
                files[entry.shard] = path.read_bytes()
            except FileNotFoundError:
                raise BundleError(f"{path}: no such file, but {index.name} says that it holds {key}") from None
            except OSError as error:
                raise BundleError(f"{path}: cannot be read ({error.strerror})") from None
        data = files[entry.shard][entry.offset : entry.offset + entry.size]
        dtype = np.dtype(_TYPES[entry.kind]).newbyteorder(order)
        if len(data) != entry.size or entry.size != dtype.itemsize * int(np.prod(entry.shape)):
            raise BundleError(f"{prefix}: {key} is cut off or has another size than its shape {entry.shape}")
        if _masked_crc32c(data) != entry.checksum:
            raise BundleError(f"{prefix}: {key} is damaged (its checksum differs)")
        found[key] = np.frombuffer(data, dtype).reshape(entry.shape)
    return found
