"""Turns the bytes of a portrait into upright RGB pixels, or says why not.

The walkers in `index.pictures` check a file's structure and its size before
anything is decoded and cut away whatever the pixels do not need. Pillow then
decodes: unlike OpenCV it writes nothing to standard error, and it reports
data that end early.
"""

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL import Image as Pillow

from index.errors import PortraitError
from index.pictures import bmp, jpeg, png, webp
from index.pictures.header import (
    PictureFormat,
    PortraitLimits,
    PortraitReason,
    StoredPicture,
    damaged,
    truncated,
)
from index.types import Image

__all__ = ["Portrait", "PortraitLimits", "PortraitReason", "decode_portrait"]

MONOCHROME_SPREAD = 8
"""Largest difference between the channels of one pixel that still counts as grey, 0 to 255.

Source: 955 grey portraits (ORL, Yale, LFW turned grey) saved as colour JPEG at quality 50 differ by 0,
while 99 % of 400 colour portraits of LFW have a 99 % quantile above 48; 8 leaves room for a scanner's tint.
"""

MONOCHROME_SHARE = 0.99
"""Share of pixels that must be grey; the rest may be a coloured stamp's edge or noise."""

_SAMPLE_SIDE = 64
_GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "F"})
_TURNS = MappingProxyType(
    {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT,
        3: Pillow.Transpose.ROTATE_180,
        4: Pillow.Transpose.FLIP_TOP_BOTTOM,
        5: Pillow.Transpose.TRANSPOSE,
        6: Pillow.Transpose.ROTATE_270,
        7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_90,
    }
)
"""What makes each EXIF orientation upright."""

_DECODERS: MappingProxyType[PictureFormat, type[ImageFile.ImageFile]] = MappingProxyType(
    {
        "jpeg": JpegImagePlugin.JpegImageFile,
        "png": PngImagePlugin.PngImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
    }
)
"""Used directly: `PIL.Image.open` would load every plugin that Pillow has when it meets the first WebP."""

_READERS: tuple[tuple[bytes, Callable[[bytes, PortraitLimits], StoredPicture]], ...] = (
    (jpeg.MAGIC, jpeg.read),
    (png.MAGIC, png.read),
    (bmp.MAGIC, bmp.read),
)

_DECODER_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
"""Pillow documents no closed list of what its decoders raise; lack of memory is not the picture's fault."""

_PAD = bytes((37 * i * i + 11 * i + 5) % 251 for i in range(64))
"""Varied bytes without 0xFF, to be taken for picture data only by a decoder that lacks some."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """One decoded picture.

    Attributes:
        pixels: Upright, not writeable.
        format: Format of the file, by its content.
        width: Columns of the stored picture once upright.
        height: Rows of the stored picture once upright.
        monochrome: The file is grey, or its channels are practically equal.
        sha256: Of the bytes given, in hexadecimal.
        scale: Width of `pixels` over `width`: 1 unless the picture was decoded reduced.
    """

    pixels: Image = field(repr=False)
    format: PictureFormat
    width: int
    height: int
    monochrome: bool
    sha256: str
    scale: float


def decode_portrait(data: bytes, limits: PortraitLimits = PortraitLimits()) -> Portrait:  # noqa: B008 (frozen)
    """Decode a JPEG, PNG, WebP or BMP file.

    EXIF orientation is applied; transparency becomes white; colour profiles and all other metadata are
    ignored; a second picture in the file (MPO) and bytes after the end are left out. Pictures larger
    than `limits.working_side` are decoded reduced.

    Args:
        data: The whole file.
        limits: Checked against the headers, before decoding.

    Raises:
        PortraitError: With one of `PortraitReason`; nothing else, whatever the bytes.
    """
    limits.check_bytes(len(data))
    stored = _read(data, limits)
    reduction = _reduction(stored, limits)
    try:
        picture = _decode(stored, reduction)
        monochrome = picture.mode in _GREY_MODES
        picture = _upright(_rgb(picture, stored, reduction), stored.orientation)
    except _DECODER_ERRORS:
        raise damaged("its data are corrupt") from None
    pixels: Image = np.asarray(picture)
    turned = stored.orientation >= 5
    width, height = (stored.height, stored.width) if turned else (stored.width, stored.height)
    return Portrait(
        pixels=pixels,
        format=stored.format,
        width=width,
        height=height,
        monochrome=monochrome or is_monochrome(pixels),
        sha256=hashlib.sha256(data).hexdigest(),
        scale=pixels.shape[1] / width,
    )


def is_monochrome(pixels: Image) -> bool:
    """Say whether the channels of a picture are practically equal.

    Args:
        pixels: Looked at on a grid of about 64 x 64 points.
    """
    step_y, step_x = (max(1, side // _SAMPLE_SIDE) for side in pixels.shape[:2])
    sample = pixels[::step_y, ::step_x]
    red, green, blue = sample[..., 0], sample[..., 1], sample[..., 2]
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool((spread <= MONOCHROME_SPREAD).mean() >= MONOCHROME_SHARE)


def _read(data: bytes, limits: PortraitLimits) -> StoredPicture:
    for magic, read in _READERS:
        if data.startswith(magic):
            return read(data, limits)
    if data.startswith(webp.MAGIC) and data[8:12] == webp.KIND:
        return webp.read(data, limits)
    raise PortraitError(
        PortraitReason.UNKNOWN_FORMAT, "The file is no JPEG, PNG, WebP or BMP picture; send one of these."
    )


def _reduction(stored: StoredPicture, limits: PortraitLimits) -> int:
    """Return by what whole number to divide both sides; JPEG decodes at 1/2, 1/4 and 1/8 only."""
    wanted = -(-max(stored.width, stored.height) // limits.working_side)
    if stored.format == "jpeg":
        return next((step for step in (1, 2, 4) if step >= wanted), 8)
    return wanted


def _decode(stored: StoredPicture, reduction: int) -> Pillow.Image:
    picture = _load(stored, stored.body, reduction)
    if stored.format == "jpeg" and _ends_grey(picture):
        padded = _load(stored, stored.body[:-2] + _PAD + stored.body[-2:], reduction)
        if padded.tobytes() != picture.tobytes():
            raise truncated("the picture")
    return picture


def _load(stored: StoredPicture, body: bytes, reduction: int) -> Pillow.Image:
    picture = _DECODERS[stored.format](io.BytesIO(body))
    if picture.size != (stored.width, stored.height):
        raise damaged("its headers state different sizes")
    if stored.format == "jpeg" and reduction > 1:
        picture.draft(None, (stored.width // reduction, stored.height // reduction))
    picture.load()
    return picture


def _ends_grey(picture: Pillow.Image) -> bool:
    """Say whether the last pixel is the exact mid-grey that libjpeg fills missing data with.

    Source: `insufficient_data` in libjpeg's jdhuff.c leaves all coefficients 0, which decode to 128.
    """
    last = picture.getpixel((picture.width - 1, picture.height - 1))
    values = last if isinstance(last, tuple) else (last,)
    return all(value in (127, 128) for value in values)


def _rgb(picture: Pillow.Image, stored: StoredPicture, reduction: int) -> Pillow.Image:
    """Convert any mode to RGB, then reduce what the decoder could not reduce."""
    if picture.mode.startswith("I"):
        samples = np.asarray(picture).astype(np.int32) >> 8
        picture = Pillow.fromarray(samples.astype(np.uint8))
    if picture.mode == "CMYK" and stored.inks_as_stored:
        picture = Pillow.eval(picture, lambda ink: 255 - ink)
    if not stored.ignore_alpha and picture.has_transparency_data:
        picture = _on_white(picture)
    picture = picture if picture.mode == "RGB" else picture.convert("RGB")
    if stored.format != "jpeg" and reduction > 1:
        return picture.reduce(reduction)
    return picture


def _on_white(picture: Pillow.Image) -> Pillow.Image:
    layer = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    canvas = Pillow.new("RGB", layer.size, (255, 255, 255))
    canvas.paste(layer, mask=layer.getchannel("A"))
    return canvas


def _upright(picture: Pillow.Image, orientation: int) -> Pillow.Image:
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)
