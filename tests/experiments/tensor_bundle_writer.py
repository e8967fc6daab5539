"""Writes tensors in the format of TensorFlow's checkpoints, as its writer lays them out, for tests of the reader."""

import os

import numpy as np

from experiments.model_io import tensorflow_checkpoint

KINDS = {"float32": 1, "float64": 2, "int64": 9}
PER_BLOCK = 7  # keys; small, so that there are several blocks


def varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def nested(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def entry(array, offset):
    shape = b"".join(nested(2, number(1, size)) for size in array.shape)
    place = number(4, offset) + number(5, array.nbytes)
    checksum = varint(6 << 3 | 5) + tensorflow_checkpoint._masked_crc32c(array.tobytes()).to_bytes(4, "little")
    return number(1, KINDS[array.dtype.name]) + nested(2, shape) + place + checksum


def block(pairs):
    out, before = b"", b""
    for key, value in pairs:
        shared = len(os.path.commonprefix([key, before]))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def sealed(content):
    """A block with its trailer: no compression, and the checksum of both."""
    return content + b"\0" + tensorflow_checkpoint._masked_crc32c(content + b"\0").to_bytes(4, "little")


def write(prefix, arrays):
    """Writes `PREFIX.index` and `PREFIX.data-00000-of-00001`."""
    data, table = b"", [(b"", number(1, 1) + nested(3, number(1, 1)))]
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        table.append((key.encode(), entry(array, len(data))))
        data += array.tobytes()
    out, index = b"", []
    for start in range(0, len(table), PER_BLOCK):
        part = table[start : start + PER_BLOCK]
        index.append((part[-1][0], len(out), block(part)))
        out += sealed(index[-1][2])
    places = [(key, varint(offset) + varint(len(content))) for key, offset, content in index]
    meta, out = len(out), out + sealed(block([]))
    at, out = len(out), out + sealed(block(places))
    footer = varint(meta) + varint(len(block([]))) + varint(at) + varint(len(block(places)))
    out += footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")
    prefix.with_name(f"{prefix.name}.index").write_bytes(out)
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
