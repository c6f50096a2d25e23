"""WebP: the RIFF container of RFC 9649 around one VP8 or VP8L frame."""

import struct
from dataclasses import dataclass

from index.pictures.exif import read_orientation
from index.pictures.header import (
    MAX_PARTS,
    PortraitLimits,
    StoredPicture,
    animated,
    damaged,
    too_complex,
    truncated,
)

MAGIC = b"RIFF"
KIND = b"WEBP"
"""Bytes 8 to 11 of the file."""

_ANIMATION_FLAG = 0x02
_ALPHA_FLAG = 0x10


@dataclass(slots=True)
class _Walk:
    """What has been seen so far."""

    canvas: tuple[int, int] | None = None
    frame: tuple[bytes, bytes] | None = None
    size: tuple[int, int] = (0, 0)
    alpha: bytes = b""
    orientation: int = 1


def read(data: bytes, limits: PortraitLimits) -> StoredPicture:
    """Walk through a WebP file; what follows the container is ignored.

    Args:
        data: The file, starting with `MAGIC` and with `KIND` at byte 8.
        limits: Applied to the canvas and to the frame.

    Raises:
        PortraitError: Truncated, damaged, animated, too complex, or beyond a limit.
    """
    walk = _Walk()
    end = 8 + int.from_bytes(data[4:8], "little")
    position = 12
    for _ in range(MAX_PARTS):
        if position >= end:
            return _finish(walk)
        if position + 8 > len(data):
            raise truncated("a chunk")
        kind, length = struct.unpack_from("<4sI", data, position)
        content = data[position + 8 : position + 8 + length]
        _take(kind, content, walk=walk, limits=limits)
        if len(content) < length:
            raise truncated("a chunk")
        position += 8 + length + length % 2
    raise too_complex("more chunks")


def _take(kind: bytes, content: bytes, *, walk: _Walk, limits: PortraitLimits) -> None:
    if kind in (b"ANIM", b"ANMF"):
        raise animated("WebP")
    if kind == b"VP8X":
        walk.canvas = _canvas(content, limits)
    elif kind in (b"VP8 ", b"VP8L") and walk.frame is None:
        walk.size = _lossy_size(content) if kind == b"VP8 " else _lossless_size(content)
        walk.frame = (kind, content)
        limits.check_size(*walk.size)
    elif kind == b"ALPH" and not walk.alpha:
        walk.alpha = content
    elif kind == b"EXIF":
        walk.orientation = read_orientation(content)


def _canvas(content: bytes, limits: PortraitLimits) -> tuple[int, int]:
    if len(content) < 10:
        raise truncated("the header")
    width = 1 + int.from_bytes(content[4:7], "little")
    height = 1 + int.from_bytes(content[7:10], "little")
    limits.check_size(width, height)
    if content[0] & _ANIMATION_FLAG:
        raise animated("WebP")
    return width, height


def _lossy_size(content: bytes) -> tuple[int, int]:
    """Read a VP8 key frame's header (RFC 6386, section 9.1)."""
    if len(content) < 10:
        raise truncated("the header")
    if content[0] & 1 or content[3:6] != b"\x9d\x01\x2a":
        raise damaged("its frame header is malformed")
    width, height = struct.unpack_from("<HH", content, 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(content: bytes) -> tuple[int, int]:
    """Read a VP8L header (RFC 9649, section 3.4)."""
    if len(content) < 5:
        raise truncated("the header")
    bits = int.from_bytes(content[1:5], "little")
    if content[0] != 0x2F or bits >> 29:
        raise damaged("its frame header is malformed")
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)


def _finish(walk: _Walk) -> StoredPicture:
    if walk.frame is None:
        raise damaged("it holds no picture data")
    if walk.canvas not in (None, walk.size):
        raise damaged("its header and its frame state different sizes")
    width, height = walk.size
    return StoredPicture(
        format="webp", width=width, height=height, orientation=walk.orientation, body=_assemble(walk)
    )


def _assemble(walk: _Walk) -> bytes:
    """Write a WebP with nothing but the frame and, for lossy frames, its transparency."""
    kind, content = walk.frame or (b"", b"")
    chunks = _written(kind, content)
    if walk.alpha and kind == b"VP8 ":
        width, height = ((side - 1).to_bytes(3, "little") for side in walk.size)
        header = bytes([_ALPHA_FLAG, 0, 0, 0]) + width + height
        chunks = _written(b"VP8X", header) + _written(b"ALPH", walk.alpha) + chunks
    return MAGIC + (4 + len(chunks)).to_bytes(4, "little") + KIND + chunks


def _written(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)
