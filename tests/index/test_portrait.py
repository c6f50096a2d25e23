"""`index.portrait`: what is accepted comes out right, and whatever else is sent gets a reason."""

import hashlib
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from index.errors import PortraitError
from index.pictures import jpeg
from index.pictures.exif import read_orientation
from index.portrait import PortraitLimits, PortraitReason, decode_portrait, is_monochrome
from index.types import Image
from tests.hostile import encoded, good_files, hostile_pictures, png_chunk, png_file, scene

ID_CARD = (358, 441)

REASONS = {
    r"empty": "empty",
    r"eleven-megabytes": "too-many-bytes",
    r"bomb-.*": "too-many-pixels",
    r"tiny-.*": "too-few-pixels",
    r"stripe-.*": "aspect-ratio",
    r"truncated-.*|.*-magic-only|png-named-as-jpeg": "truncated",
    r"jpeg-without-scan|jpeg-start-and-end-only|bmp-rows-past-end": "truncated",
    r"animated-gif": "unknown-format",
    r"animated-.*|webp-animation-flag": "animated",
    r".*-500-scans|.*-30000-(comments|chunks)": "too-complex",
    r"jpeg-(arithmetic|lossless|12-bit|two-channels)": "unsupported-variant",
    r"bmp-(run-length|embedded-jpeg|unknown-compression)": "unsupported-variant",
    r"jpeg-(frame|segment|two|scan|start|without|sampling).*": "undecodable",
    r"png-(data|header|no-data|depth|colour|palette|unknown|chunk).*": "undecodable",
    r"webp-(no|sizes|inter|start|lossless|frame|first).*|frame-of-webp.*": "undecodable",
    r"bmp-(seven|depth|header|rows|strange).*|(zero|negative)-.*": "undecodable",
    r"jpeg-(first-byte|after|mangled).*|png-with.*|webp-as-.*|bmp-as-array": "unknown-format",
}
"""Reason for every hostile file, by the first pattern that fits its name; all others are unknown formats."""


def reason_for(name: str) -> str:
    return next(
        (reason for pattern, reason in REASONS.items() if re.fullmatch(pattern, name)), "unknown-format"
    )


def reason_of(data: bytes, limits: PortraitLimits | None = None) -> PortraitReason:
    with pytest.raises(PortraitError) as caught:
        decode_portrait(data, limits or PortraitLimits())
    return PortraitReason(caught.value.reason)


def difference(pixels: Image, picture: Pillow.Image) -> float:
    expected = np.asarray(picture.convert("RGB"), dtype=np.int16)
    return float(np.abs(pixels.astype(np.int16) - expected).mean())


def idat(rows: bytes) -> bytes:
    return png_chunk(b"IDAT", zlib.compress(rows))


class TestAcceptedPictures:
    @pytest.mark.parametrize("name", sorted(good_files()))
    def test_every_format_and_variant_decodes(self, name: str) -> None:
        data = good_files()[name]
        portrait = decode_portrait(data)
        assert portrait.format == name.split("-", maxsplit=1)[0]
        assert (portrait.width, portrait.height, portrait.scale) == (90, 110, 1.0)
        assert portrait.pixels.shape == (110, 90, 3)
        assert portrait.pixels.dtype == np.uint8
        assert portrait.pixels.flags.c_contiguous
        assert not portrait.monochrome
        assert portrait.sha256 == hashlib.sha256(data).hexdigest()

    @pytest.mark.parametrize(
        ("kind", "options", "tolerance"),
        [
            ("BMP", {}, 0.0),
            ("PNG", {}, 0.0),
            ("WEBP", {"lossless": True}, 0.0),
            ("WEBP", {"quality": 95}, 6.0),
            ("JPEG", {"quality": 95, "subsampling": 0}, 2.0),
            ("JPEG", {"quality": 95, "progressive": True, "subsampling": 0}, 2.0),
        ],
    )
    def test_pixels_are_the_picture(self, kind: str, options: dict[str, Any], tolerance: float) -> None:
        assert difference(decode_portrait(encoded(scene(), kind, **options)).pixels, scene()) <= tolerance

    @pytest.mark.parametrize("mode", ["L", "LA", "1"])
    def test_grey_files_become_grey_rgb(self, mode: str) -> None:
        portrait = decode_portrait(encoded(scene().convert(mode), "PNG"))
        assert portrait.monochrome
        assert difference(portrait.pixels, scene().convert(mode)) == 0

    def test_sixteen_bit_grey_keeps_the_high_byte(self) -> None:
        grey = np.asarray(scene().convert("L"))
        data = encoded(Pillow.fromarray(grey.astype(np.uint16) * 256 + 99), "PNG")
        portrait = decode_portrait(data)
        assert portrait.monochrome
        assert np.array_equal(portrait.pixels[..., 1], grey)

    @pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
    def test_sixteen_bit_colour_keeps_the_high_byte(self, colour: int, channels: int) -> None:
        samples = np.random.default_rng(5).integers(0, 65536, (50, 60, channels), dtype=np.uint16)
        if channels in (2, 4):
            samples[..., -1] = 0xFFFF
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
        portrait = decode_portrait(png_file(60, 50, idat(rows), depth=16, colour=colour))
        expected = (samples >> 8)[..., : 3 if channels > 2 else 1]
        assert np.abs(portrait.pixels.astype(int) - expected).max() <= 1

    def test_interlaced_png_is_accepted(self) -> None:
        header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 41, 43, 8, 0, 0, 0, 1))
        passes = [(6, 6), (5, 6), (11, 5), (10, 11), (21, 11), (20, 22), (41, 21)]
        rows = b"".join((b"\0" + bytes([200]) * columns) * count for columns, count in passes)
        data = png_file(1, 1)[:8] + header + idat(rows) + png_chunk(b"IEND", b"")
        assert (decode_portrait(data).pixels == 200).all()
        short = png_file(1, 1)[:8] + header + idat(rows[:-1]) + png_chunk(b"IEND", b"")
        assert reason_of(short) is PortraitReason.TRUNCATED

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_transparency_becomes_white(self, kind: str) -> None:
        picture = scene().convert("RGBA")
        picture.paste((0, 0, 0, 0), (0, 0, 40, 40))
        portrait = decode_portrait(encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {})))
        assert (portrait.pixels[:40, :40] == 255).all()
        assert difference(portrait.pixels[40:, 40:], scene().crop((40, 40, 90, 110))) == 0

    def test_transparency_of_lossy_webp_becomes_white(self) -> None:
        corner = decode_portrait(good_files()["webp-alpha"]).pixels[:5, :5]
        assert corner.min() >= 250

    @pytest.mark.parametrize(
        ("mode", "transparency"), [("P", 0), ("L", 0), ("1", 0), ("RGB", (0, 0, 0)), ("P", bytes([0] * 64))]
    )
    def test_a_transparent_colour_becomes_white(self, mode: str, transparency: Any) -> None:
        black = Pillow.new("RGB", (50, 60))
        picture = black.quantize(4) if mode == "P" else black.convert(mode)
        assert (decode_portrait(encoded(picture, "PNG", transparency=transparency)).pixels == 255).all()

    def test_inverted_inks_of_adobe_and_plain_inks_both_decode(self) -> None:
        adobe = encoded(scene().convert("CMYK"), "JPEG", quality=95, subsampling=0)
        assert difference(decode_portrait(adobe).pixels, scene()) < 3
        plain = encoded(
            Pillow.eval(scene().convert("CMYK"), lambda ink: 255 - ink), "JPEG", quality=95, subsampling=0
        )
        at = plain.index(b"\xff\xee")
        without_marker = plain[:at] + plain[at + 2 + int.from_bytes(plain[at + 2 : at + 4], "big") :]
        assert difference(decode_portrait(without_marker).pixels, scene()) < 3

    def test_fourth_byte_of_bmp_is_not_transparency(self) -> None:
        picture = scene().convert("RGBA")
        picture.putalpha(0)
        assert difference(decode_portrait(encoded(picture, "BMP")).pixels, scene()) == 0

    def test_top_down_bmp_is_upright(self) -> None:
        data = bytearray(encoded(scene(), "BMP"))
        struct.pack_into("<i", data, 22, -110)
        flipped = scene().transpose(Pillow.Transpose.FLIP_TOP_BOTTOM)
        assert difference(decode_portrait(bytes(data)).pixels, flipped) == 0

    @pytest.mark.parametrize("size", [(92, 112), (40, 160), ID_CARD])
    def test_old_scans_and_id_card_portraits_pass_the_limits(self, size: tuple[int, int]) -> None:
        portrait = decode_portrait(encoded(scene(*size), "PNG"))
        assert (portrait.width, portrait.height) == size


class TestOrientation:
    @pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_all_eight_orientations_come_out_upright(self, kind: str, orientation: int) -> None:
        options: dict[str, Any] = {"quality": 95} if kind == "JPEG" else {"lossless": True}
        undo = {
            2: Pillow.Transpose.FLIP_LEFT_RIGHT,
            3: Pillow.Transpose.ROTATE_180,
            4: Pillow.Transpose.FLIP_TOP_BOTTOM,
            5: Pillow.Transpose.TRANSPOSE,
            6: Pillow.Transpose.ROTATE_90,
            7: Pillow.Transpose.TRANSVERSE,
            8: Pillow.Transpose.ROTATE_270,
        }
        turned = scene().transpose(undo[orientation]) if orientation > 1 else scene()
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        portrait = decode_portrait(encoded(turned, kind, exif=exif, **options))
        assert (portrait.width, portrait.height) == (90, 110)
        assert difference(portrait.pixels, scene()) < 5

    @pytest.mark.parametrize("value", [0, 9, 65535])
    def test_an_orientation_out_of_range_counts_as_upright(self, value: int) -> None:
        exif = Pillow.Exif()
        exif[0x0112] = value
        assert decode_portrait(encoded(scene(), "JPEG", exif=exif)).pixels.shape == (110, 90, 3)

    @pytest.mark.parametrize(
        "tiff",
        [
            b"",
            b"II*\0",
            b"MM\0*\0\0\0\x08",
            b"II*\0\xff\xff\xff\xff",
            b"II*\0\x08\0\0\0\xff\xff",
            b"junk" * 9,
        ],
    )
    def test_damaged_exif_counts_as_upright(self, tiff: bytes) -> None:
        assert read_orientation(tiff) == 1
        exif = b"Exif\0\0" + tiff
        data = good_files()["jpeg"]
        segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
        assert decode_portrait(data[:2] + segment + data[2:]).pixels.shape == (110, 90, 3)

    @given(st.binary(max_size=64))
    def test_any_exif_gives_an_orientation(self, junk: bytes) -> None:
        assert read_orientation(b"II*\0\x08\0\0\0" + junk) in range(1, 9)
        assert read_orientation(b"MM\0*\0\0\0\x08" + junk) in range(1, 9)


class TestWhatIsLeftOut:
    @pytest.mark.parametrize("name", sorted(good_files()))
    def test_matter_after_the_end_is_ignored(self, name: str) -> None:
        data = good_files()[name]
        polyglot = data + b"PK\x03\x04<script>alert(1)</script>" + data
        assert np.array_equal(decode_portrait(polyglot).pixels, decode_portrait(data).pixels)

    def test_the_first_picture_of_a_multi_picture_file_is_taken(self) -> None:
        upside_down = scene().rotate(180)
        data = encoded(scene(), "MPO", save_all=True, append_images=[upside_down], quality=95)
        assert data.count(b"\xff\xd8\xff") == 2
        assert difference(decode_portrait(data).pixels, scene()) < 5

    def test_profiles_comments_and_thumbnails_do_not_reach_the_decoder(self) -> None:
        exif = Pillow.Exif()
        exif[0x010E] = "x" * 500
        data = encoded(scene(), "JPEG", exif=exif, icc_profile=b"broken" * 99, comment=b"private")
        body = jpeg.read(data, PortraitLimits()).body
        assert b"broken" not in body
        assert b"private" not in body
        assert b"Exif" not in body
        assert np.array_equal(decode_portrait(data).pixels, decode_portrait(body).pixels)

    def test_broken_compressed_text_in_png_does_no_harm(self) -> None:
        bad = [
            png_chunk(b"zTXt", b"a\0\0junk"),
            png_chunk(b"iCCP", b"x" * 99),
            png_chunk(b"gAMA", b""),
            png_chunk(b"tRNS", b"12345"),
        ]
        png = good_files()["png"]
        with_junk = png[:33] + b"".join(bad) + png[33:]
        assert np.array_equal(decode_portrait(with_junk).pixels, decode_portrait(png).pixels)


class TestMonochrome:
    def test_grey_saved_as_colour_jpeg_is_monochrome(self) -> None:
        grey = scene().convert("L").convert("RGB")
        assert decode_portrait(encoded(grey, "JPEG", quality=50)).monochrome

    def test_sepia_and_colour_are_not_monochrome(self) -> None:
        sepia = np.asarray(scene().convert("L").convert("RGB")) * np.array([1.0, 0.9, 0.7])
        assert not is_monochrome(sepia.astype(np.uint8))
        assert not is_monochrome(np.asarray(scene()))

    def test_a_few_coloured_pixels_do_not_make_a_scan_colourful(self) -> None:
        pixels = np.full((200, 160, 3), 120, dtype=np.uint8)
        pixels[:4, :4] = (200, 0, 0)
        assert is_monochrome(pixels)


class TestLargePictures:
    @pytest.mark.parametrize(("kind", "shape"), [("JPEG", (1500, 1000)), ("PNG", (1500, 1000))])
    def test_large_pictures_are_decoded_reduced(self, kind: str, shape: tuple[int, int]) -> None:
        large = scene().resize((2000, 3000))
        portrait = decode_portrait(encoded(large, kind))
        assert portrait.pixels.shape == (*shape, 3)
        assert (portrait.width, portrait.height, portrait.scale) == (2000, 3000, 0.5)
        assert difference(portrait.pixels, large.reduce(2)) < 4

    def test_reduced_and_turned_pictures_state_the_upright_size(self) -> None:
        exif = Pillow.Exif()
        exif[0x0112] = 6
        portrait = decode_portrait(encoded(scene().resize((2000, 3000)), "JPEG", exif=exif))
        assert (portrait.width, portrait.height) == (3000, 2000)
        assert portrait.pixels.shape == (1000, 1500, 3)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
    def test_odd_sizes_reduce_too(self, kind: str) -> None:
        limits = PortraitLimits(working_side=100)
        portrait = decode_portrait(encoded(scene(241, 407), kind), limits)
        assert max(portrait.pixels.shape) <= 103
        assert portrait.scale == pytest.approx(portrait.pixels.shape[1] / 241)


class TestLimits:
    def test_each_limit_is_inclusive(self) -> None:
        data = encoded(scene(80, 100), "PNG")
        exact = PortraitLimits(max_bytes=len(data), max_pixels=8000, min_side=80, max_aspect=1.25)
        assert decode_portrait(data, exact).width == 80
        assert reason_of(data, PortraitLimits(max_bytes=len(data) - 1)) is PortraitReason.TOO_MANY_BYTES
        assert reason_of(data, PortraitLimits(max_pixels=7999)) is PortraitReason.TOO_MANY_PIXELS
        assert reason_of(data, PortraitLimits(min_side=81)) is PortraitReason.TOO_FEW_PIXELS
        assert reason_of(data, PortraitLimits(max_aspect=1.24)) is PortraitReason.ASPECT_RATIO

    @pytest.mark.parametrize("wrong", [{"max_bytes": 0}, {"max_aspect": 0.5}, {"max_pixels": 10**9}])
    def test_limits_that_cannot_be_kept_are_refused(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="must be at"):
            PortraitLimits(**wrong)

    def test_bombs_are_refused_in_milliseconds_without_memory(self) -> None:
        bombs = [data for name, data in hostile_pictures() if name.startswith("bomb-")]
        decode_portrait(good_files()["png"])
        tracemalloc.start()
        started = time.process_time()
        for bomb in bombs:
            reason_of(bomb)
        elapsed_s = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(bombs) >= 9
        assert elapsed_s < 0.05 * len(bombs)
        assert peak < 1 << 20

    def test_many_scans_over_a_large_picture_are_too_complex(self) -> None:
        progressive = good_files()["jpeg-progressive"]
        frame = progressive.index(b"\xff\xc2")
        large = progressive[: frame + 5] + struct.pack(">HH", 6000, 6000) + progressive[frame + 9 : -2]
        last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
        assert reason_of(large + last_scan * 20 + b"\xff\xd9") is PortraitReason.TOO_COMPLEX


class TestHostileFiles:
    def test_there_are_many_and_all_differ(self) -> None:
        names = [name for name, _ in hostile_pictures()]
        assert len(names) >= 60
        assert len(set(names)) == len(names)
        assert {reason_for(name) for name in names} == set(PortraitReason)

    @pytest.mark.parametrize(("name", "data"), hostile_pictures(), ids=[n for n, _ in hostile_pictures()])
    def test_every_hostile_file_gets_its_reason(self, name: str, data: bytes) -> None:
        assert reason_of(data) == reason_for(name)

    def test_generation_is_deterministic(self) -> None:
        again = hostile_pictures.__wrapped__()
        assert again == hostile_pictures()

    def test_the_message_names_the_remedy_and_no_content(self) -> None:
        for _, data in hostile_pictures():
            with pytest.raises(PortraitError) as caught:
                decode_portrait(data)
            assert caught.value.detail.endswith(".")
            assert len(caught.value.detail) < 200

    def test_nothing_is_written_to_standard_error(self) -> None:
        script = (
            "from tests.hostile import hostile_pictures, good_files\n"
            "from index.portrait import decode_portrait\n"
            "from index.errors import PortraitError\n"
            "for _, data in hostile_pictures():\n"
            "    half = len(data) // 2\n"
            "    for variant in (data, data[:-7], data[:half] + bytes(9) + data[half:]):\n"
            "        try:\n"
            "            decode_portrait(variant)\n"
            "        except PortraitError:\n"
            "            pass\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", script], capture_output=True, check=True, timeout=60
        )
        assert done.stderr == b""
        assert done.stdout == b""

    def test_a_grey_corner_alone_does_not_make_a_jpeg_truncated(self) -> None:
        picture = scene()
        picture.paste((128, 128, 128), (40, 60, 90, 110))
        for progressive in (False, True):
            portrait = decode_portrait(encoded(picture, "JPEG", quality=90, progressive=progressive))
            assert portrait.pixels[-1, -1].tolist() == [128, 128, 128]
