"""Files that no portrait service may accept, all generated, the same on every run.

Every one must be answered with a `PortraitError`, in milliseconds; `tests/index/test_portrait.py` says
which reason each gets. Tests of the API and of the import send the same files.
"""

import base64
import functools
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
BOMB_SIDE = 30_000

Named = tuple[str, bytes]


@functools.cache
def hostile_pictures() -> tuple[Named, ...]:
    """Return about 200 named malformed, unsuitable or hostile files; names are unique and stable."""
    makers = (_no_pictures, _wrong_magic, _cut_short, _bombs, _wrong_sizes, _moving, _bad_jpeg, _bad_png)
    return tuple(pair for maker in (*makers, _bad_webp, _bad_bmp, _too_much) for pair in maker())


def scene(width: int = 90, height: int = 110) -> Image.Image:
    """Paint a coloured, textured picture without a face; the same for the same size.

    It is a fresh one each time: Pillow keeps in a picture what was asked of it, such as its EXIF data.
    """
    return Image.fromarray(_painted(width, height))


@functools.cache
def _painted(width: int, height: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    waves = [60 * np.sin(x / 9) + 40 * np.cos(y / 13), 50 * np.sin(y / 7), 30 * np.cos((x + y) / 11)]
    noise = np.random.default_rng(7).normal(0, 2, (height, width, 3))
    return np.clip(np.stack(waves, -1) + 120 + noise, 0, 255).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Encode a picture as Pillow's format `kind`, with Pillow's options."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache
def good_files() -> Mapping[str, bytes]:
    """Return one small acceptable file of each variant that hostile ones are derived from."""
    picture = scene()
    return {
        "jpeg": encoded(picture, "JPEG", quality=80),
        "jpeg-progressive": encoded(picture, "JPEG", quality=80, progressive=True),
        "png": encoded(picture, "PNG"),
        "png-palette": encoded(picture.quantize(64), "PNG"),
        "webp": encoded(picture, "WEBP", quality=80),
        "webp-lossless": encoded(picture, "WEBP", lossless=True),
        "webp-alpha": encoded(picture.convert("RGBA").rotate(20), "WEBP", quality=80),
        "bmp": encoded(picture, "BMP"),
    }


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Write one PNG chunk with its right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_file(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """Write a PNG: header chunk, the chunks given, end chunk."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG_MAGIC + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def riff_file(*chunks: tuple[bytes, bytes]) -> bytes:
    """Write a WebP container around chunks given as type and content."""
    body = b"".join(k + struct.pack("<I", len(c)) + c + bytes(len(c) % 2) for k, c in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def bmp_file(width: int, height: int, *, depth: int = 24, compression: int = 0, planes: int = 1) -> bytes:
    """Write a BMP of zeros with a 40-byte header; no rows at all if they would exceed 1 MiB."""
    size = (abs(width) * depth + 31) // 32 * 4 * abs(height)
    rows = bytes(size) if size <= 1 << 20 else b""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, planes, depth, compression, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + info + rows


def jpeg_patched_frame(frame: int = 0xC0, **fields: int) -> bytes:
    """Take a baseline JPEG and change its frame marker or header (precision, height, width, components)."""
    data = bytearray(good_files()["jpeg"])
    at = data.index(b"\xff\xc0")
    data[at + 1] = frame
    for name, value in fields.items():
        code, where = {
            "precision": (">B", 4),
            "height": (">H", 5),
            "width": (">H", 7),
            "components": (">B", 9),
        }[name]
        struct.pack_into(code, data, at + where, value)
    return bytes(data)


def _no_pictures() -> Iterator[Named]:
    jpeg = good_files()["jpeg"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(zipfile.ZipInfo("portrait.jpg", (2020, 1, 1, 0, 0, 0)), jpeg)
    yield "empty", b""
    yield "one-byte", b"\xff"
    yield "zeros", bytes(4096)
    yield "ones", b"\xff" * 4096
    yield "noise", np.random.default_rng(3).bytes(4096)
    yield "text", "这不是照片 — not a portrait".encode() * 20
    yield "utf-16", "portrait".encode("utf-16") * 50
    yield "json", b'{"portrait": null}'
    yield "html", b"<!DOCTYPE html><html><body><img src=x onerror=alert(1)></body></html>"
    yield "svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>'
    yield "pdf", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n"
    yield "zip", archive.getvalue()
    yield "gzip", gzip.compress(jpeg, mtime=0)
    yield "elf", b"\x7fELF\x02\x01\x01" + bytes(200)
    yield "heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    yield "mp4", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(200)
    yield "jpeg-2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200)
    yield "tiff", encoded(scene(), "TIFF")
    yield "gif", encoded(scene().quantize(64), "GIF")
    yield "ppm", encoded(scene(), "PPM")
    yield "ico", encoded(scene(64, 64), "ICO")
    yield "base64", base64.b64encode(jpeg)
    yield "base64-of-base64", base64.b64encode(base64.b64encode(jpeg))
    yield "data-url", b"data:image/jpeg;base64," + base64.b64encode(jpeg)
    yield "hexadecimal", jpeg.hex().encode()


def _wrong_magic() -> Iterator[Named]:
    good = good_files()
    yield "jpeg-first-byte-missing", good["jpeg"][1:]
    yield "jpeg-after-newline", b"\r\n" + good["jpeg"]
    yield "jpeg-after-byte-order-mark", b"\xef\xbb\xbf" + good["jpeg"]
    yield "jpeg-mangled-as-utf-8", good["jpeg"].decode("utf-8", "replace").encode()
    yield "png-with-unix-newlines", good["png"].replace(b"\r\n", b"\n")
    yield "png-without-high-bit", b"\x09" + good["png"][1:]
    yield "webp-as-rifx", b"RIFX" + good["webp"][4:]
    yield "webp-as-wave", good["webp"][:8] + b"WAVE" + good["webp"][12:]
    yield "bmp-as-array", b"BA" + good["bmp"][2:]
    yield "png-named-as-jpeg", b"\xff\xd8\xff" + good["png"]
    yield "jpeg-magic-only", b"\xff\xd8\xff"
    yield "png-magic-only", PNG_MAGIC
    yield "webp-magic-only", b"RIFF\x00\x10\x00\x00WEBP"
    yield "bmp-magic-only", b"BM"


def _cut_short() -> Iterator[Named]:
    for name, data in good_files().items():
        for tenths in range(1, 10):
            yield f"truncated-{name}-{tenths}-of-10", data[: len(data) * tenths // 10]
    jpeg = good_files()["jpeg"]
    yield "truncated-jpeg-end-marker-missing", jpeg[:-2]
    for tenths in (5, 7, 9):
        cut = jpeg[: len(jpeg) * tenths // 10].rstrip(b"\xff")
        yield f"truncated-jpeg-{tenths}-of-10-then-closed", cut + b"\xff\xd9"
    rows = zlib.compress(bytes((1 + 3 * 90) * 50))
    yield "truncated-png-rows-missing", png_file(90, 110, png_chunk(b"IDAT", rows))
    for kind, name in ((b"VP8 ", "webp"), (b"VP8L", "webp-lossless")):
        frame = good_files()[name][20:]
        yield f"frame-of-{name}-cut-in-whole-container", riff_file((kind, frame[: len(frame) // 2]))


def _bombs() -> Iterator[Named]:
    rows = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    side = (BOMB_SIDE - 1).to_bytes(3, "little")
    frame = b"\x2f" + struct.pack("<I", 16383 | 16383 << 14)
    key_frame = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(50)
    yield "bomb-png", png_file(BOMB_SIDE, BOMB_SIDE, rows)
    yield "bomb-png-largest", png_file(2**31 - 1, 2**31 - 1, rows, depth=16, colour=6)
    yield "bomb-jpeg", jpeg_patched_frame(width=BOMB_SIDE, height=BOMB_SIDE)
    yield "bomb-jpeg-largest", jpeg_patched_frame(width=65535, height=65535)
    yield "bomb-bmp", bmp_file(BOMB_SIDE, BOMB_SIDE)
    yield "bomb-bmp-upside-down", bmp_file(BOMB_SIDE, -(2**31))
    yield "bomb-webp-canvas", riff_file((b"VP8X", bytes(4) + side + side), (b"VP8 ", bytes(20)))
    yield "bomb-webp-lossy", riff_file((b"VP8 ", key_frame))
    yield "bomb-webp-lossless", riff_file((b"VP8L", frame + bytes(50)))


def _wrong_sizes() -> Iterator[Named]:
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        yield f"tiny-{kind.lower()}-1x1", encoded(scene(1, 1), kind)
        yield f"tiny-{kind.lower()}-39x300", encoded(scene(39, 300), kind)
        yield f"stripe-{kind.lower()}-40x400", encoded(scene(40, 400), kind)
        yield f"stripe-{kind.lower()}-900x60", encoded(scene(900, 60), kind)
    yield "zero-jpeg-height", jpeg_patched_frame(height=0)
    yield "zero-png", png_file(0, 0, png_chunk(b"IDAT", zlib.compress(b"")))
    yield "zero-bmp", bmp_file(0, 100)
    yield "negative-bmp-width", bmp_file(-100, 100)


def _moving() -> Iterator[Named]:
    frames = [scene().rotate(angle) for angle in (0, 90, 180)]
    yield "animated-gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    yield "animated-png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100)
    yield "animated-webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100)


def _bad_jpeg() -> Iterator[Named]:
    jpeg = good_files()["jpeg"]
    tables, frame, scan = (jpeg.index(marker) for marker in (b"\xff\xdb", b"\xff\xc0", b"\xff\xda"))
    progressive = good_files()["jpeg-progressive"]
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    yield "jpeg-arithmetic", jpeg_patched_frame(0xC9)
    yield "jpeg-lossless", jpeg_patched_frame(0xC3)
    yield "jpeg-12-bit", jpeg_patched_frame(0xC1, precision=12)
    yield "jpeg-two-channels", jpeg_patched_frame(components=2)
    yield "jpeg-frame-too-short", jpeg[:frame] + b"\xff\xc0\x00\x04\x08\x00" + jpeg[scan:]
    yield "jpeg-segment-length-1", jpeg[:tables] + b"\xff\xdb\x00\x01" + jpeg[tables + 4 :]
    yield "jpeg-two-frames", jpeg[:frame] + jpeg[frame : frame + 19] + jpeg[frame:]
    yield "jpeg-scan-before-frame", jpeg[:frame] + jpeg[scan:]
    yield "jpeg-start-within", jpeg[:frame] + b"\xff\xd8" + jpeg[frame:]
    yield "jpeg-without-quantisation", jpeg[:tables] + jpeg[frame:]
    yield "jpeg-without-scan", jpeg[:scan] + b"\xff\xd9"
    yield "jpeg-start-and-end-only", b"\xff\xd8\xff\xd9"
    yield "jpeg-sampling-zero", jpeg[: frame + 11] + b"\x00" + jpeg[frame + 12 :]
    yield "jpeg-500-scans", progressive[:-2] + last_scan * 500 + b"\xff\xd9"
    yield "jpeg-30000-comments", jpeg[:2] + b"\xff\xfe\x00\x02" * 30_000 + jpeg[2:]


def _bad_png() -> Iterator[Named]:
    png = good_files()["png"]
    rows = png_chunk(b"IDAT", zlib.compress(bytes((1 + 3 * 90) * 110)))
    at = png.index(b"IDAT")
    yield "png-data-checksum", png[: at + 9] + bytes([png[at + 9] ^ 1]) + png[at + 10 :]
    yield "png-header-checksum", png[:20] + b"\x01" + png[21:]
    yield "png-data-not-compressed", png_file(90, 110, png_chunk(b"IDAT", bytes(30_000)))
    yield "png-no-data", png_file(90, 110)
    yield "png-header-repeated", png_file(90, 110, png[8:33], rows)
    yield "png-header-not-first", PNG_MAGIC + rows + png[8:]
    yield "png-header-too-long", PNG_MAGIC + png_chunk(b"IHDR", bytes(20)) + rows
    yield "png-depth-3", png_file(90, 110, rows, depth=3)
    yield "png-colour-5", png_file(90, 110, rows, colour=5)
    yield "png-palette-missing", png_file(90, 110, rows, colour=3)
    yield "png-palette-of-4-bytes", png_file(90, 110, png_chunk(b"PLTE", bytes(4)), rows, colour=3)
    yield "png-unknown-critical-chunk", png_file(90, 110, png_chunk(b"EVIL", b""), rows)
    yield "png-chunk-length-4-gib", png[:33] + b"\xff\xff\xff\xffIDAT" + png[41:]
    yield "png-chunk-type-not-letters", png[:33] + b"\0\0\0\0\1\2\3\4" + bytes(4) + png[33:]
    yield "png-30000-chunks", png_file(90, 110, png_chunk(b"tEXt", b"") * 30_000, rows)


def _bad_webp() -> Iterator[Named]:
    lossy, lossless = good_files()["webp"][20:], good_files()["webp-lossless"][20:]
    canvas = bytes(4) + (98).to_bytes(3, "little") + (98).to_bytes(3, "little")
    yield "webp-no-chunks", riff_file()
    yield "webp-no-frame", riff_file((b"VP8X", canvas))
    yield "webp-sizes-differ", riff_file((b"VP8X", canvas), (b"VP8 ", lossy))
    yield "webp-animation-flag", riff_file((b"VP8X", b"\x02" + canvas[1:]), (b"VP8 ", lossy))
    yield "webp-inter-frame", riff_file((b"VP8 ", bytes([lossy[0] | 1]) + lossy[1:]))
    yield "webp-start-code", riff_file((b"VP8 ", lossy[:3] + b"\0\0\0" + lossy[6:]))
    yield "webp-lossless-signature", riff_file((b"VP8L", b"\x2e" + lossless[1:]))
    yield "webp-lossless-version", riff_file((b"VP8L", lossless[:4] + b"\xff" + lossless[5:]))
    yield "webp-frame-of-garbage", riff_file((b"VP8L", lossless[:5] + b"\xa5" * 300))
    yield "webp-first-partition-too-long", riff_file((b"VP8 ", bytes([lossy[0], 255, 255]) + lossy[3:]))
    yield "webp-30000-chunks", riff_file(*[(b"XXXX", b"")] * 30_000, (b"VP8 ", lossy))


def _bad_bmp() -> Iterator[Named]:
    bmp = good_files()["bmp"]
    yield "bmp-run-length", bmp_file(100, 100, depth=8, compression=1)
    yield "bmp-embedded-jpeg", bmp_file(100, 100, depth=0, compression=4)
    yield "bmp-unknown-compression", bmp_file(100, 100, compression=99)
    yield "bmp-seven-planes", bmp_file(100, 100, planes=7)
    yield "bmp-depth-7", bmp_file(100, 100, depth=7)
    yield "bmp-header-of-99-bytes", bmp[:14] + struct.pack("<I", 99) + bmp[18:]
    yield "bmp-rows-inside-header", bmp[:10] + struct.pack("<I", 0) + bmp[14:]
    yield "bmp-rows-past-end", bmp[:10] + struct.pack("<I", 2**31) + bmp[14:]
    fields = bmp_file(100, 100, depth=32, compression=3)
    yield "bmp-strange-bit-fields", fields[:54] + struct.pack("<III", 7, 0xF0F0, 1 << 31) + fields[66:]


def _too_much() -> Iterator[Named]:
    yield "eleven-megabytes", good_files()["jpeg"] + bytes(11 * 1024 * 1024)
