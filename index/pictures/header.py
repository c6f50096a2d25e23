"""What every format's walker shares: reasons, limits, and the record it returns."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from index.errors import PortraitError

PictureFormat = Literal["jpeg", "png", "webp", "bmp"]
"""Formats accepted."""

DECODER_MAX_PIXELS = 89_478_485
"""Pillow holds anything larger for a decompression bomb (`PIL.Image.MAX_IMAGE_PIXELS`), and so do we."""

MAX_PARTS = 20_000
"""Most segments or chunks walked in one file.

Source: 10 MiB cut into the smallest IDAT chunks that common encoders write (libpng, 8 KiB) make 1,280;
an empty chunk takes 12 bytes, so the byte limit alone would let 870,000 through.
"""


class PortraitReason(StrEnum):
    """Why bytes are no acceptable portrait; the list is closed and the slugs are stable."""

    EMPTY = "empty"
    TOO_MANY_BYTES = "too-many-bytes"
    UNKNOWN_FORMAT = "unknown-format"
    UNSUPPORTED_VARIANT = "unsupported-variant"
    ANIMATED = "animated"
    TOO_MANY_PIXELS = "too-many-pixels"
    TOO_FEW_PIXELS = "too-few-pixels"
    ASPECT_RATIO = "aspect-ratio"
    TOO_COMPLEX = "too-complex"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortraitLimits:
    """What a file may ask of us; all of it is checked before a pixel is decoded.

    Attributes:
        max_bytes: Longest file. An ID-card portrait (GA 461) has 14 to 20 KB and a 12-megapixel
            camera JPEG 3 to 6 MB; 10 MiB leaves room for a lossless scan of one portrait.
        max_pixels: Largest width x height. Cameras of registration desks and telephones deliver 2 to
            25 million, A4 at 600 dpi is 35 million; decoding 40 million was measured to
            take 0.12 to 0.32 GB (JPEG), 0.42 (PNG) and 0.65 (WebP).
        min_side: Shortest side. The encoder can use 16 pixels between the eyes (`AdmissionPolicy`), and a
            face is about 2.2 times as wide (GA 461: 207 px at 85 to 100 px): 35, and 40 with a margin.
            Old scans (ORL: 92 x 112) pass.
        max_aspect: Longer side over shorter side. A portrait has 1.23 (358 x 441), a photograph at most
            2.4 (film strip); beyond 4 it is a banner or an attack on the resampler.
        working_side: Pictures whose longer side exceeds this are decoded reduced. 1600 gives a face
            that fills a tenth of the width 160 pixels, more than detector (640) and encoder (112) read.
    """

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 40_000_000
    min_side: int = 40
    max_aspect: float = 4.0
    working_side: int = 1600

    def __post_init__(self) -> None:
        """Refuse limits that cannot be kept.

        Raises:
            ValueError: A limit is not positive, or max_pixels exceeds `DECODER_MAX_PIXELS`.
        """
        if min(self.max_bytes, self.max_pixels, self.min_side, self.working_side) < 1 or self.max_aspect < 1:
            raise ValueError("Every portrait limit must be at least 1.")
        if self.max_pixels > DECODER_MAX_PIXELS:
            raise ValueError(f"max_pixels must be at most {DECODER_MAX_PIXELS}.")

    def check_bytes(self, size: int) -> None:
        """Check the length of a file.

        Raises:
            PortraitError: `empty` or `too-many-bytes`.
        """
        if size == 0:
            raise PortraitError(PortraitReason.EMPTY, "The file has no bytes; send a picture.")
        if size > self.max_bytes:
            raise PortraitError(
                PortraitReason.TOO_MANY_BYTES,
                f"The file has {size} bytes, more than the {self.max_bytes} accepted; reduce the picture.",
            )

    def check_size(self, width: int, height: int) -> None:
        """Check the size that a header states, in pixels.

        Raises:
            PortraitError: `undecodable`, `too-many-pixels`, `too-few-pixels` or `aspect-ratio`.
        """
        if width < 1 or height < 1:
            raise damaged("its header states a size of zero")
        size = f"The picture is {width} x {height} pixels"
        if width * height > self.max_pixels:
            raise PortraitError(
                PortraitReason.TOO_MANY_PIXELS,
                f"{size}, more than the {self.max_pixels} accepted in all; reduce it.",
            )
        if min(width, height) < self.min_side:
            raise PortraitError(
                PortraitReason.TOO_FEW_PIXELS,
                f"{size}; no side may be shorter than {self.min_side}. Send a larger picture.",
            )
        if max(width, height) > self.max_aspect * min(width, height):
            raise PortraitError(
                PortraitReason.ASPECT_RATIO,
                f"{size}; one side may be at most {self.max_aspect:g} times the other. Cut out the portrait.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPicture:
    """One picture found in a file, not decoded yet.

    Attributes:
        format: The format, by its content.
        width: Columns as stored, before orientation.
        height: Rows as stored, before orientation.
        orientation: EXIF tag 0x0112, 1 to 8.
        body: A complete file that holds this picture and nothing else.
        inks_as_stored: Four-channel JPEG whose inks are not inverted.
        ignore_alpha: The fourth channel is filler, not transparency.
    """

    format: PictureFormat
    width: int
    height: int
    body: bytes = field(repr=False)
    orientation: int = 1
    inks_as_stored: bool = False
    ignore_alpha: bool = False


def truncated(what: str) -> PortraitError:
    """Return the error for a file that ends before `what` (a noun phrase) is complete."""
    return PortraitError(
        PortraitReason.TRUNCATED, f"The file ends before {what} is complete; transfer it again."
    )


def damaged(what: str) -> PortraitError:
    """Return the error for a file whose structure or data are wrong: `what` is a clause."""
    return PortraitError(
        PortraitReason.UNDECODABLE, f"The picture cannot be decoded: {what}; export it again."
    )


def unsupported(what: str) -> PortraitError:
    """Return the error for a rare variant of an accepted format: `what` is a noun phrase."""
    return PortraitError(
        PortraitReason.UNSUPPORTED_VARIANT, f"{what} is not supported; save it as an ordinary JPEG or PNG."
    )


def animated(what: str) -> PortraitError:
    """Return the error for a moving picture: `what` names the format."""
    return PortraitError(PortraitReason.ANIMATED, f"The {what} is animated; send one still picture.")


def too_complex(what: str) -> PortraitError:
    """Return the error for a file made to keep the decoder busy: `what` is a noun phrase."""
    return PortraitError(
        PortraitReason.TOO_COMPLEX, f"The file has {what} than any real picture; export it again."
    )
