"""Portraits whose structure is taken apart: whatever comes, a picture within its limits or a reason."""

import struct
import zlib

from hypothesis import strategies as st

from index.errors import PortraitError
from index.portrait import PortraitLimits, PortraitReason, decode_portrait
from tests.fuzzing import Bounds, fuzz, mutated
from tests.hostile import good_files, hostile_pictures

LIMITS = PortraitLimits()
SMALL_HOSTILE = {name: data for name, data in hostile_pictures() if len(data) < 200_000}
SEEDS = {**good_files(), **SMALL_HOSTILE}

LARGEST_BYTES = 700 * 2**20
"""What one picture may take: decoding the largest WebP accepted takes 0.65 GB, see `PortraitLimits`."""

Piece = tuple[bytes, bytes]
"""Type and content of one part of a file."""


def png_pieces(file: bytes) -> list[Piece]:
    pieces, at = [], 8
    while at + 8 <= len(file):
        (length,) = struct.unpack_from(">I", file, at)
        pieces.append((file[at + 4 : at + 8], file[at + 8 : at + 8 + length]))
        at += 12 + length
    return pieces


def png_of(pieces: list[Piece]) -> bytes:
    """Put chunks together with lengths and checksums that fit, so that the content is looked at."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in pieces
    )


def riff_pieces(file: bytes) -> list[Piece]:
    pieces, at = [], 12
    while at + 8 <= len(file):
        (length,) = struct.unpack_from("<I", file, at + 4)
        pieces.append((file[at : at + 4], file[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return pieces


def riff_of(pieces: list[Piece]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        for kind, content in pieces
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_pieces(file: bytes) -> list[Piece]:
    """Cut a JPEG into segments; entropy-coded data belong to the segment before them."""
    pieces: list[Piece] = []
    at = 2
    while at + 4 <= len(file) and file[at] == 0xFF:
        (length,) = struct.unpack_from(">H", file, at + 2)
        end = at + 2 + length
        while end < len(file) - 1 and not (
            file[end] == 0xFF and file[end + 1] not in (0, *range(0xD0, 0xD8))
        ):
            end += 1
        pieces.append((file[at : at + 2], file[at + 4 : end]))
        at = end
    return pieces


def jpeg_of(pieces: list[Piece]) -> bytes:
    """Put segments together; the data of a scan are not counted in its length."""
    made = b"\xff\xd8"
    for kind, content in pieces:
        counted = 2 + (1 + 2 * content[0] + 3 if kind == b"\xff\xda" and content else len(content))
        made += kind + struct.pack(">H", min(counted, 65535)) + content
    return made + b"\xff\xd9"


FORMATS = {
    "png": (png_pieces, png_of, [b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fdAT", b"iCCP"]),
    "webp": (riff_pieces, riff_of, [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"EXIF", b"ANIM", b"ANMF", b"ICCP"]),
    "jpeg": (
        jpeg_pieces,
        jpeg_of,
        [bytes([0xFF, n]) for n in (0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD, 0xE1, 0xEE, 0xFE)],
    ),
}


def taken_apart(data: st.DataObject) -> bytes:
    """Take a good file apart, change pieces, and put it together so that lengths and checksums fit."""
    name = data.draw(st.sampled_from([n for n in sorted(good_files()) if not n.startswith("bmp")]))
    apart, together, kinds = FORMATS[name.partition("-")[0]]
    pieces = apart(good_files()[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(pieces) - 1))
        kind, content = pieces[at]
        match data.draw(st.sampled_from(["content", "kind", "remove", "repeat", "swap", "empty", "many"])):
            case "content":
                pieces[at] = (kind, mutated(data, content, most=3))
            case "kind":
                pieces[at] = (data.draw(st.sampled_from(kinds)), content)
            case "remove" if len(pieces) > 1:
                del pieces[at]
            case "repeat":
                pieces.insert(at, pieces[at])
            case "swap":
                other = data.draw(st.integers(0, len(pieces) - 1))
                pieces[at], pieces[other] = pieces[other], pieces[at]
            case "empty":
                pieces[at] = (kind, b"")
            case "many":
                pieces[at:at] = [pieces[at]] * data.draw(st.sampled_from([10, 500]))
            case _:
                pass
    return together(pieces)


def refusal_of(file: bytes) -> PortraitError | None:
    """Decode a file; give the error if it is refused."""
    try:
        portrait = decode_portrait(file, LIMITS)
    except PortraitError as error:
        return error
    assert portrait.pixels.shape[2] == 3
    assert portrait.width * portrait.height <= LIMITS.max_pixels
    assert portrait.pixels.nbytes <= 3 * LIMITS.max_pixels
    return None


def decodes_or_says_why(file: bytes) -> None:
    refusal = refusal_of(file)
    assert refusal is None or (refusal.reason in set(PortraitReason) and refusal.detail)


def any_bytes_changed(data: st.DataObject) -> None:
    decodes_or_says_why(mutated(data, SEEDS[data.draw(st.sampled_from(sorted(SEEDS)))]))


def structure_changed(data: st.DataObject) -> None:
    decodes_or_says_why(taken_apart(data))


def test_files_with_changed_bytes_decode_or_get_a_reason() -> None:
    fuzz(any_bytes_changed, Bounds(examples=150, growth_bytes=LARGEST_BYTES))


def test_files_of_changed_structure_decode_or_get_a_reason() -> None:
    fuzz(structure_changed, Bounds(examples=150, growth_bytes=LARGEST_BYTES))


def test_taking_apart_and_putting_together_changes_nothing_that_counts() -> None:
    for name, file in good_files().items():
        if not name.startswith("bmp"):
            apart, together, _ = FORMATS[name.partition("-")[0]]
            assert (
                decode_portrait(together(apart(file))).pixels.tobytes()
                == decode_portrait(file).pixels.tobytes()
            )
