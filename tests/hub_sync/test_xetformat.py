"""Shards and xorbs, byte by byte."""

import io
import struct

import lz4.frame
import pytest

from hub_sync.xetformat import _TAG, FileRecipe, Term, XetError, chunk_offsets, read_chunks, read_shard

XORB = "00112233445566778899aabbccddeeff0123456789abcdef0f1e2d3c4b5a6978"
XORB_BYTES = bytes.fromhex("7766554433221100ffeeddccbbaa9988efcdab896745230178695a4b3c2d1e0f")
"""The same hash: in an address it is four numbers, in a file each of them is little-endian."""


def chunk(data: bytes, scheme: int = 0) -> bytes:
    packed = {0: lambda: data, 1: lambda: lz4.frame.compress(data)}.get(scheme, lambda: data)()
    header = (
        bytes([0]) + len(packed).to_bytes(3, "little") + bytes([scheme]) + len(data).to_bytes(3, "little")
    )
    return header + packed


def grouped(data: bytes, size: int) -> bytes:
    packed = lz4.frame.compress(data)
    return bytes([0]) + len(packed).to_bytes(3, "little") + bytes([2]) + size.to_bytes(3, "little") + packed


def unpacked(xorb: bytes, first: int, end: int, size: int) -> bytes:
    file = io.BytesIO(xorb)
    return b"".join(read_chunks(file, chunk_offsets(file), Term(XORB, size, first, end)))


def test_a_shard_says_how_files_are_put_together() -> None:
    verification, terms = bytes(48), XORB_BYTES + struct.pack("<IIII", 0, 70, 2, 5)
    with_both = bytes(32) + struct.pack("<IIQ", 3 << 30, 1, 0) + terms + verification + XORB_BYTES + bytes(16)
    plain = bytes(32) + struct.pack("<IIQ", 1 << 30, 2, 0) + terms + terms + XORB_BYTES + bytes(16)
    shard = _TAG + bytes(16) + with_both + plain + b"\xff" * 32 + bytes(16) + b"xorbs follow"
    term = Term(XORB, size=70, first=2, end=5)
    assert list(read_shard(io.BytesIO(shard))) == [FileRecipe(XORB, (term,)), FileRecipe(XORB, (term, term))]
    assert FileRecipe(XORB, (term, term)).size == 140


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", "ends too early"),
        (bytes(32) + struct.pack("<IIQ", 1 << 30, 5, 0), "ends too early"),
        (bytes(32) + struct.pack("<IIQ", 0, 0, 0), "without its sha256"),
        (bytes(32) + struct.pack("<IIQ", 1 << 30, 1 << 31, 0), "at most 262,144"),
        (
            bytes(32) + struct.pack("<IIQ", 1 << 30, 1, 0) + bytes(32) + struct.pack("<IIII", 0, 1, 3, 3),
            "without chunks",
        ),
        (
            bytes(32) + struct.pack("<IIQ", 1 << 30, 1, 0) + bytes(32) + struct.pack("<IIII", 0, 0, 3, 4),
            "without chunks or bytes",
        ),
        ((bytes(32) + struct.pack("<IIQ", 1 << 30, 0, 0) + bytes(48)) * 10_001, "more than 10,000 files"),
    ],
)
def test_a_shard_that_is_wrong_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(XetError, match=reason):
        list(read_shard(io.BytesIO(_TAG + bytes(16) + body)))


def test_chunks_plain_packed_and_grouped() -> None:
    xorb = chunk(b"one") + chunk(b"two" * 100, 1) + grouped(b"1526374", 7) + b"XETBLOB and an index"
    offsets = list(chunk_offsets(io.BytesIO(xorb)))
    assert offsets[:2] == [0, 11] and len(offsets) == 4
    assert unpacked(xorb, 0, 2, 303) == b"one" + b"two" * 100
    assert unpacked(xorb, 1, 3, 307) == b"two" * 100 + b"1234567"


def test_grouped_bytes_are_put_back_in_their_places() -> None:
    # 10 bytes 0..9 by their place in four: 0 4 8, 1 5 9, 2 6, 3 7
    assert unpacked(grouped(bytes([0, 4, 8, 1, 5, 9, 2, 6, 3, 7]), 10), 0, 1, 10) == bytes(range(10))


@pytest.mark.parametrize(
    "xorb, term, reason",
    [
        (chunk(b"one"), (0, 2, 6), "of 1 chunks has no chunk 1"),
        (chunk(b"one"), (0, 1, 4), "a part of 4 bytes has another size"),
        (chunk(b"one") + chunk(b"two"), (0, 2, 3), "a part of 3 bytes has another size"),
        (chunk(b"one") + chunk(b""), (0, 2, 3), "a chunk is empty"),
        (chunk(b"one", 7), (0, 1, 3), "packed in an unknown way, 7"),
        (chunk(b"one")[:-1], (0, 1, 3), "ends too early"),
        (b"\0\x20\0\0\1\3\0\0" + b"x" * 32, (0, 1, 3), "cannot be unpacked"),
        (grouped(b"x" * 1_000_000, 9), (0, 1, 9), "a chunk of 10 bytes should have 9"),
    ],
)
def test_a_xorb_that_is_wrong_is_refused(xorb: bytes, term: tuple[int, int, int], reason: str) -> None:
    with pytest.raises(XetError, match=reason):
        unpacked(xorb, *term)
