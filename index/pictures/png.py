"""PNG: chunks of ISO/IEC 15948, checksums and the length of the compressed rows."""

import struct
import zlib
from dataclasses import dataclass, field

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

MAGIC = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of each pass (ISO/IEC 15948, clause 8)."""

_INFLATE_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class _Header:
    """The IHDR chunk."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def raw_bytes(self) -> int:
        """Length of all filtered rows after decompression."""
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        return sum(self._pass_bytes(*step) for step in passes)

    def _pass_bytes(self, x: int, y: int, dx: int, dy: int) -> int:
        columns = max(0, -(-(self.width - x) // dx))
        rows = max(0, -(-(self.height - y) // dy))
        row_bits = columns * _CHANNELS[self.colour] * self.depth
        return rows * (1 + -(-row_bits // 8)) if columns else 0


@dataclass(slots=True)
class _Walk:
    """What has been seen so far."""

    header: _Header | None = None
    orientation: int = 1
    palette: bytes = b""
    transparency: bytes = b""
    rows: list[bytes] = field(default_factory=list)


def read(data: bytes, limits: PortraitLimits) -> StoredPicture:
    """Walk through a PNG file up to its end chunk.

    Checksums are verified for the chunks that carry the picture; all others are left out.

    Args:
        data: The file, starting with `MAGIC`.
        limits: Applied to the header chunk.

    Raises:
        PortraitError: Truncated, damaged, animated, too complex, or beyond a limit.
    """
    walk = _Walk()
    position = len(MAGIC)
    for _ in range(MAX_PARTS):
        kind, content, position = _chunk(data, position)
        if kind == b"IEND":
            return _finish(walk)
        _take(kind, content, walk=walk, limits=limits)
    raise too_complex("more chunks")


def _chunk(data: bytes, start: int) -> tuple[bytes, bytes, int]:
    """Cut out the chunk that starts here: its type, its content, and where the next one starts."""
    if start + 12 > len(data):
        raise truncated("a chunk")
    length, kind = struct.unpack_from(">I4s", data, start)
    end = start + 12 + length
    if not kind.isalpha() or length > 0x7FFFFFFF:
        raise damaged("a chunk has an impossible header")
    if end > len(data):
        raise truncated("a chunk")
    content = data[start + 8 : end - 4]
    is_critical = kind[:1].isupper()
    if is_critical and zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
        raise damaged("the checksum of a chunk is wrong")
    return kind, content, end


def _take(kind: bytes, content: bytes, *, walk: _Walk, limits: PortraitLimits) -> None:
    if (kind == b"IHDR") == (walk.header is not None):
        raise damaged("its header chunk is missing or repeated")
    if kind == b"IHDR":
        walk.header = _header(content, limits)
    elif kind == b"IDAT":
        walk.rows.append(content)
    elif kind == b"PLTE":
        walk.palette = content
    elif kind == b"tRNS":
        walk.transparency = content
    elif kind == b"eXIf":
        walk.orientation = read_orientation(content)
    elif kind == b"acTL":
        raise animated("PNG")
    elif kind[:1].isupper():
        raise damaged("it needs a chunk that the standard does not know")


def _header(content: bytes, limits: PortraitLimits) -> _Header:
    if len(content) != 13:
        raise damaged("its header chunk has the wrong length")
    width, height, depth, colour, compression, row_filter, interlace = struct.unpack(">IIBBBBB", content)
    if depth not in _DEPTHS.get(colour, ()) or compression or row_filter or interlace > 1:
        raise damaged("its header states a coding that the standard does not know")
    limits.check_size(width, height)
    return _Header(width, height, depth, colour, bool(interlace))


def _finish(walk: _Walk) -> StoredPicture:
    header = walk.header
    if header is None or not walk.rows:
        raise damaged("it holds no picture data")
    if header.colour == 3 and not (0 < len(walk.palette) <= 768 and len(walk.palette) % 3 == 0):
        raise damaged("its palette is missing or malformed")
    rows = b"".join(walk.rows)
    _check_rows(rows, header.raw_bytes)
    return StoredPicture(
        format="png",
        width=header.width,
        height=header.height,
        orientation=walk.orientation,
        body=_assemble(header, walk, rows),
    )


def _check_rows(rows: bytes, wanted: int) -> None:
    """Decompress without keeping anything, because the decoder takes missing rows for black ones."""
    stream = zlib.decompressobj()
    pending = rows
    try:
        while wanted > 0 and not stream.eof:
            produced = len(stream.decompress(pending, _INFLATE_STEP))
            pending = stream.unconsumed_tail
            if not produced and not pending:
                break
            wanted -= produced
    except zlib.error:
        raise damaged("its compressed data are corrupt") from None
    if wanted > 0:
        raise truncated("the picture")


def _assemble(header: _Header, walk: _Walk, rows: bytes) -> bytes:
    """Write a PNG with nothing but what the pixels need.

    A transparent colour in 16-bit pictures is left out: the decoder reduces samples to 8 bits first.
    """
    ihdr = struct.pack(
        ">IIBBBBB", header.width, header.height, header.depth, header.colour, 0, 0, header.interlaced
    )
    chunks = [(b"IHDR", ihdr)]
    if header.colour == 3:
        chunks.append((b"PLTE", walk.palette))
    if _fits(header, walk.transparency):
        chunks.append((b"tRNS", walk.transparency))
    chunks += [(b"IDAT", rows), (b"IEND", b"")]
    return MAGIC + b"".join(_written(kind, content) for kind, content in chunks)


def _fits(header: _Header, transparency: bytes) -> bool:
    wanted = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}.get(header.colour, range(0))
    return header.depth <= 8 and len(transparency) in wanted


def _written(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")
