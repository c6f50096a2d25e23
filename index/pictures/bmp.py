"""BMP: file and bitmap headers of the Windows and OS/2 variants, uncompressed rows only."""

import struct
from dataclasses import dataclass

from index.pictures.header import PortraitLimits, StoredPicture, damaged, truncated, unsupported

MAGIC = b"BM"

_CORE_HEADER = 12
_HEADERS = frozenset({40, 52, 56, 64, 108, 124})
_UNCOMPRESSED, _BITFIELDS = 0, 3
_DEPTHS = frozenset({1, 4, 8, 16, 24, 32})


@dataclass(frozen=True, slots=True)
class _Header:
    """The fields that decide how rows are laid out."""

    length: int
    width: int
    height: int
    planes: int
    depth: int
    compression: int


def read(data: bytes, limits: PortraitLimits) -> StoredPicture:
    """Check the headers of a BMP file and that all its rows are there.

    Run-length coding and embedded JPEG or PNG are not supported. The fourth byte of 32-bit pixels is
    ignored, since most writers leave it 0 without meaning transparent.

    Args:
        data: The file, starting with `MAGIC`.
        limits: Applied to the bitmap header.

    Raises:
        PortraitError: Truncated, damaged, unsupported, or beyond a limit.
    """
    if len(data) < 26:
        raise truncated("the header")
    (offset,) = struct.unpack_from("<I", data, 10)
    header = _header(data)
    if header.planes != 1 or header.depth not in _DEPTHS | {0}:
        raise damaged("its header states a coding that BMP does not know")
    width, height = header.width, abs(header.height)
    limits.check_size(width, height)
    if header.compression not in (_UNCOMPRESSED, _BITFIELDS) or header.depth == 0:
        raise unsupported("BMP with compression")
    if offset < 14 + header.length:
        raise damaged("its rows overlap its header")
    end = offset + (width * header.depth + 31) // 32 * 4 * height
    if end > len(data):
        raise truncated("the picture")
    return StoredPicture(format="bmp", width=width, height=height, body=data[:end], ignore_alpha=True)


def _header(data: bytes) -> _Header:
    (length,) = struct.unpack_from("<I", data, 14)
    if length == _CORE_HEADER:
        width, height, planes, depth = struct.unpack_from("<HHHH", data, 18)
        return _Header(length, width, height, planes, depth, _UNCOMPRESSED)
    if length not in _HEADERS:
        raise damaged("its header has an unknown length")
    if len(data) < 14 + length:
        raise truncated("the header")
    width, height, planes, depth, compression = struct.unpack_from("<iiHHI", data, 18)
    return _Header(length, width, height, planes, depth, compression)
