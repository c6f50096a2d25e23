"""JPEG: segments of ITU-T T.81 Annex B, up to the end of the first picture."""

import re
import struct
from dataclasses import dataclass, field

from index.pictures.exif import read_orientation
from index.pictures.header import (
    MAX_PARTS,
    PortraitLimits,
    StoredPicture,
    damaged,
    too_complex,
    truncated,
    unsupported,
)

MAGIC = b"\xff\xd8\xff"

MAX_SCANS = 100
"""Most scans of one picture.

Source: libjpeg's usual progressive script has 10 (jcparam.c), and its own fuzzers stop at 500.
"""

MAX_SCANNED_PIXELS = 800_000_000
"""Most pixels x scans: every scan visits the whole picture, so the two together set the time.

Source: 20 scans of the largest picture accepted by default; 19 scans of 40 million pixels took 0.7 s.
"""

_SOI, _EOI, _SOS, _DQT, _DHT, _DRI, _DNL = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xDC
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xDE, 0xF7})
_NEEDED = frozenset({_SOS, _DQT, _DHT, _DRI, _DNL}) | _FRAMES
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})

_NEXT_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_END_OF_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass(slots=True)
class _Walk:
    """What has been seen so far."""

    width: int = 0
    height: int = 0
    components: int = 0
    scans: int = 0
    orientation: int = 0
    adobe: bool = False
    kept: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])


def read(data: bytes, limits: PortraitLimits) -> StoredPicture:
    """Walk through a JPEG file up to the end of its first picture.

    Baseline, extended and progressive Huffman coding with 8 bits a sample are
    accepted; bytes between segments are skipped as libjpeg does.

    Args:
        data: The file, starting with `MAGIC`.
        limits: Applied to the frame header.

    Raises:
        PortraitError: Truncated, damaged, unsupported, too complex, or beyond a limit.
    """
    walk = _Walk()
    position = 2
    for _ in range(MAX_PARTS):
        found = _NEXT_MARKER.search(data, position)
        if found is None:
            break
        marker, position = data[found.end() - 1], found.end()
        if marker == _EOI:
            return _finish(walk)
        if marker not in _STANDALONE:
            position = _segment(data, position, marker, walk=walk, limits=limits)
    else:
        raise too_complex("more segments")
    raise truncated("the picture")


def _segment(data: bytes, start: int, marker: int, *, walk: _Walk, limits: PortraitLimits) -> int:
    """Take in one segment whose length field is at start; return where it ends."""
    if marker == _SOI:
        raise damaged("a second picture starts within the first")
    length = int.from_bytes(data[start : start + 2], "big")
    end = start + length
    if end > len(data) or start + 2 > len(data):
        raise truncated("a segment")
    if length < 2:
        raise damaged("a segment is shorter than its own length field")
    content = data[start + 2 : end]
    if marker in _OTHER_FRAMES:
        raise unsupported("JPEG with lossless, hierarchical or arithmetic coding")
    if marker in _FRAMES:
        _frame(content, walk, limits)
    elif marker == _APP1 and content.startswith(b"Exif\0\0"):
        walk.orientation = walk.orientation or read_orientation(content)
    elif marker == _SOS:
        end = _scan(data, end, walk)
    walk.adobe = walk.adobe or _is_adobe(marker, content)
    if marker in _NEEDED or _is_adobe(marker, content) or _is_jfif(marker, content):
        walk.kept.append(b"\xff" + bytes([marker]) + data[start:end])
    return end


def _frame(content: bytes, walk: _Walk, limits: PortraitLimits) -> None:
    if walk.components:
        raise damaged("it has two frame headers")
    if len(content) < 6:
        raise damaged("its frame header is too short")
    precision, walk.height, walk.width, walk.components = struct.unpack_from(">BHHB", content)
    if precision != 8:
        raise unsupported(f"JPEG with {precision} bits a sample")
    if walk.components not in (1, 3, 4):
        raise unsupported(f"JPEG with {walk.components} channels")
    limits.check_size(walk.width, walk.height)


def _scan(data: bytes, start: int, walk: _Walk) -> int:
    """Find where the entropy-coded data end that start here."""
    if not walk.components:
        raise damaged("its data come before the frame header")
    walk.scans += 1
    if walk.scans > MAX_SCANS or walk.scans * walk.width * walk.height > MAX_SCANNED_PIXELS:
        raise too_complex("more scans")
    found = _END_OF_SCAN.search(data, start)
    if found is None:
        raise truncated("the picture")
    return found.start()


def _is_adobe(marker: int, content: bytes) -> bool:
    return marker == _APP14 and content.startswith(b"Adobe") and len(content) >= 12


def _is_jfif(marker: int, content: bytes) -> bool:
    return marker == _APP0 and content.startswith(b"JFIF\0") and len(content) >= 14


def _finish(walk: _Walk) -> StoredPicture:
    if not walk.scans:
        raise truncated("the picture")
    return StoredPicture(
        format="jpeg",
        width=walk.width,
        height=walk.height,
        orientation=walk.orientation or 1,
        body=b"".join((*walk.kept, b"\xff\xd9")),
        inks_as_stored=walk.components == 4 and not walk.adobe,
    )
