"""The two kinds of files that an upload through Xet consists of.

A xorb is a run of chunks, each compressed for itself. A shard says which chunks of which xorbs make up a
file, and what the file's sha256 is. Little-endian; a shard is records of 48 bytes.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import lz4.frame

_TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
_RECORD = 48  # bytes
_END = b"\xff" * 32  # in the place of a hash: no more files
_WITH_VERIFICATION, _WITH_SHA256 = 1 << 31, 1 << 30
_CHUNK_HEADER = 8  # bytes: version, packed size (3), scheme, size (3)
_PLAIN, _LZ4, _GROUPED_LZ4 = 0, 1, 2
_FOOTER = b"XETBLOB"  # some clients end a xorb with an index, which repeats what the headers say
MAX_XORB = (64 << 20) + (1 << 20)  # bytes: the chunks, and some for their headers
MAX_SHARD = 128 << 20  # bytes
_MAX_FILES = 10_000  # of one shard
_MAX_TERMS = 1 << 18  # of one file
_MAX_CHUNKS = 1 << 16  # of one xorb; the client makes 8,192 at most


class XetError(ValueError):
    """A shard or a xorb that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Term:
    """Some chunks of one xorb."""

    xorb: str  # hash, in hex as in addresses
    size: int  # bytes, unpacked
    first: int
    end: int  # the chunk after the last


@dataclass(frozen=True, slots=True)
class FileRecipe:
    """How a file is put together."""

    sha256: str
    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        return sum(term.size for term in self.terms)


def read_shard(shard: IO[bytes]) -> Iterator[FileRecipe]:
    """The files that a shard describes. Raises XetError."""
    if len(header := shard.read(_RECORD)) < _RECORD or header[:32] != _TAG:
        raise XetError("this is no shard")
    files = 0
    while (start := _record(shard))[:32] != _END:
        if (files := files + 1) > _MAX_FILES:
            raise XetError(f"more than {_MAX_FILES:,} files in one shard")
        flags, count = struct.unpack_from("<II", start, 32)
        if count > _MAX_TERMS:
            raise XetError(f"a file of {count:,} parts; at most {_MAX_TERMS:,} are allowed")
        terms = tuple(_term(_record(shard)) for _ in range(count))
        if flags & _WITH_VERIFICATION:
            shard.seek(count * _RECORD, 1)
        if not flags & _WITH_SHA256:
            raise XetError("a file without its sha256")
        yield FileRecipe(_hex(_record(shard)[:32]), terms)


def chunk_offsets(xorb: IO[bytes]) -> array[int]:
    """Where each chunk of a xorb begins; and last, where the chunks end."""
    offsets = array("Q", [0])
    size = xorb.seek(0, 2)
    while True:
        xorb.seek(offsets[-1])
        header = xorb.read(_CHUNK_HEADER)
        if len(header) < _CHUNK_HEADER or header.startswith(_FOOTER):
            return offsets
        offsets.append(offsets[-1] + _CHUNK_HEADER + int.from_bytes(header[1:4], "little"))
        if offsets[-1] > size or len(offsets) > _MAX_CHUNKS + 1:
            raise XetError("a xorb ends too early, or has too many chunks")


def read_chunks(xorb: IO[bytes], offsets: Sequence[int], term: Term) -> Iterator[bytes | memoryview]:
    """The chunks of a term, unpacked. Raises XetError."""
    if term.end >= len(offsets):
        raise XetError(f"xorb {term.xorb} of {len(offsets) - 1} chunks has no chunk {term.end - 1}")
    xorb.seek(offsets[term.first])
    size = 0
    for index in range(term.first, term.end):
        chunk = _unpack(memoryview(xorb.read(offsets[index + 1] - offsets[index])))
        size += len(chunk)
        if size > term.size:
            break
        yield chunk
    if size != term.size:
        raise XetError(f"a part of {term.size:,} bytes has another size in xorb {term.xorb}")


def _unpack(chunk: memoryview) -> bytes | memoryview:
    scheme, size, packed = chunk[4], int.from_bytes(chunk[5:8], "little"), chunk[_CHUNK_HEADER:]
    data: bytes | memoryview
    if not size:  # a file of nothing but these would take long and never grow
        raise XetError("a chunk is empty")
    if scheme == _PLAIN:
        data = packed
    elif scheme in (_LZ4, _GROUPED_LZ4):
        try:
            # One byte more than it may be: what unpacks to more than it says is refused, not unpacked.
            data = lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size + 1)
        except RuntimeError as exc:
            raise XetError(f"a chunk cannot be unpacked: {exc}") from exc
    else:
        raise XetError(f"a chunk is packed in an unknown way, {scheme}")
    if len(data) != size:
        raise XetError(f"a chunk of {len(data):,} bytes should have {size:,}")
    return _ungroup(bytes(data)) if scheme == _GROUPED_LZ4 else data


def _ungroup(data: bytes) -> bytes:
    """All first bytes of four, then all second ones, and so on -> as they belong."""
    out, start = bytearray(len(data)), 0
    for place in range(4):
        count = (len(data) - place + 3) // 4
        out[place::4] = data[start : start + count]
        start += count
    return bytes(out)


def _record(shard: IO[bytes]) -> bytes:
    if len(record := shard.read(_RECORD)) < _RECORD:
        raise XetError("a shard ends too early")
    return record


def _term(record: bytes) -> Term:
    _, size, first, end = struct.unpack_from("<IIII", record, 32)
    if first >= end or not size:
        raise XetError("a file has a part without chunks or bytes")
    return Term(_hex(record[:32]), size, first, end)


def _hex(digest: bytes) -> str:
    """As addresses have it: four numbers of 64 bits."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", digest))
