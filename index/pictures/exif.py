"""The one EXIF field that matters here: which way up the picture is."""

import struct

ORIENTATION_TAG = 0x0112
"""Source: TIFF 6.0, section 8, tag 274; EXIF 2.32, section 4.6.4."""

_SHORT = 3
_MAX_ENTRIES = 512


def read_orientation(tiff: bytes) -> int:
    """Find the orientation in EXIF data; damaged data count as upright.

    Args:
        tiff: EXIF data, with or without the leading ``Exif`` and two zero bytes.

    Returns:
        1 to 8 as EXIF defines them; 1 (upright) when absent, damaged or out of range.
    """
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        return _first_directory_orientation(tiff, order)
    except struct.error:
        return 1


def _first_directory_orientation(tiff: bytes, order: str) -> int:
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for index in range(min(count, _MAX_ENTRIES)):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * index)
        if tag == ORIENTATION_TAG:
            return value if kind == _SHORT and values == 1 and 1 <= value <= 8 else 1
    return 1
