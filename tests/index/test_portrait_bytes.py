"""`index.portrait`: any bytes at all, and good files with some of theirs changed, decode or get a reason."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import PortraitError
from index.portrait import Portrait, PortraitReason, decode_portrait
from tests.hostile import good_files, png_chunk, png_file, riff_file
from tests.index.test_portrait import idat, reason_of


class TestAnyBytes:
    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"]))
    def test_random_bytes_never_decode(self, junk: bytes, magic: bytes) -> None:
        reason_of(magic + junk)

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_mutated_files_decode_or_get_a_reason(self, draw: st.DataObject) -> None:
        name = draw.draw(st.sampled_from(sorted(good_files())))
        data = bytearray(good_files()[name])
        places = draw.draw(
            st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=8)
        )
        for place, value in places:
            data[place] = value
        cut = draw.draw(st.integers(0, len(data)))
        _decodes_or_gets_a_reason(bytes(data))
        _decodes_or_gets_a_reason(bytes(data[:cut] + data[cut + draw.draw(st.integers(1, 40)) :]))

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_mutated_headers_decode_or_get_a_reason(self, draw: st.DataObject) -> None:
        name = draw.draw(st.sampled_from(sorted(good_files())))
        data = bytearray(good_files()[name])
        place = draw.draw(st.integers(0, min(len(data), 700) - 4))
        data[place : place + 4] = draw.draw(st.binary(min_size=4, max_size=4))
        _decodes_or_gets_a_reason(bytes(data))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from([b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"EXIF"]), st.binary())))
    def test_any_webp_container_gets_a_reason(self, chunks: list[tuple[bytes, bytes]]) -> None:
        _decodes_or_gets_a_reason(riff_file(*chunks))

    @settings(max_examples=100, deadline=None)
    @given(
        st.integers(40, 60),
        st.integers(40, 60),
        st.sampled_from([1, 2, 4, 8, 16]),
        st.sampled_from([0, 2, 3, 4, 6]),
        st.binary(max_size=600),
    )
    def test_any_png_rows_decode_or_get_a_reason(
        self, width: int, height: int, depth: int, colour: int, rows: bytes
    ) -> None:
        chunks = [png_chunk(b"PLTE", bytes(48)), idat(rows + bytes(64_000))]
        _decodes_or_gets_a_reason(png_file(width, height, *chunks, depth=depth, colour=colour))


def _decodes_or_gets_a_reason(data: bytes) -> None:
    outcome: Portrait | PortraitReason
    try:
        outcome = decode_portrait(data)
    except PortraitError as error:
        outcome = PortraitReason(error.reason)
    if isinstance(outcome, Portrait):
        assert outcome.pixels.dtype == np.uint8
        assert outcome.pixels.shape[2] == 3
