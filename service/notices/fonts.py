"""Fonts for letters: the glyphs that a letter needs, gathered from the Chinese fonts of the system.

The PDF writer embeds TrueType outlines only, while most free Chinese fonts have cubic ones, and no
single font has every character of GB 18030. So a small TrueType font is made for each letter, glyph by glyph.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.transformPen import TransformPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont, TTLibError

from service.errors import SettingsError

FOLDERS = ("~/.local/share/fonts", "~/.fonts", "/usr/local/share/fonts", "/usr/share/fonts")

NAMES = (
    *("simfang.ttf", "STFANGSO.TTF", "FandolFang-Regular.otf"),
    *("NotoSerifCJK-Regular.ttc", "NotoSerifCJKsc-Regular.otf", "NotoSerifSC-Regular.otf"),
    *("SourceHanSerifSC-Regular.otf", "SourceHanSerif-Regular.ttc", "simsun.ttc", "uming.ttc"),
    *("NotoSansCJK-Regular.ttc", "SourceHanSansSC-Regular.otf", "wqy-zenhei.ttc", "wqy-microhei.ttc"),
    *("simsunb.ttf", "HanaMinA.ttf", "HanaMinB.ttf", "PlangothicP1-Regular.ttf"),
    "PlangothicP2-Regular.ttf",
)
"""Files in the order of preference: imitation Song (GB/T 9704 prescribes it), Song, Gothic; the last ones
have the rare characters of GB 18030."""

UNITS = 1000
"""Units per em of the fonts made here; the usual number of fonts with cubic outlines."""

NOT_EMBEDDABLE = 0x0002
"""Bit of fsType by which a font's maker forbids embedding. Source: OpenType 1.9, table OS/2."""

STAND_IN = "〓"
"""Printed for a character without a glyph, as Chinese printers do; its code follows it."""

MIDDLE_DOT, VIEWERS_DOT = "\u00b7", "\u30fb"
"""The separator within names, and where Adobe's UniGB-UCS2-H, by which viewers' fonts are
addressed, has it."""


SHAPED = (
    *((0x0590, 0x08FF), (0x0900, 0x109F), (0x1780, 0x18AF), (0x1980, 0x1AAF)),
    *((0xA840, 0xA87F), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFC)),
)
"""Blocks of scripts, such as Arabic, Tibetan and Mongolian, whose letters join, stack or run from the right.
The PDF writer puts glyphs in a row, which would make another word of a name. Source: Unicode, Blocks.txt."""


@dataclass(frozen=True, slots=True)
class MadeFont:
    """A font with all the glyphs that a text needs and that were found.

    Attributes:
        data: A TrueType file; None when no font was found, so that a viewer's own must serve.
        missing: Characters without a glyph.
    """

    data: bytes | None = field(repr=False)
    missing: frozenset[str]

    def shown(self, text: str) -> str:
        """Return a text with a mark and the code point in place of each missing character."""
        if self.data is None:
            text = text.replace(MIDDLE_DOT, VIEWERS_DOT)
        return "".join(f"{STAND_IN}(U+{ord(c):04X})" if c in self.missing else c for c in text)


@dataclass(frozen=True, slots=True)
class _Source:
    """One font file, opened."""

    glyphs: Any
    by_code: dict[int, str]
    scale: float


def make_font(texts: Iterable[str], wanted: Path | None) -> MadeFont:
    """Gather the glyphs of texts.

    Args:
        texts: What will be printed.
        wanted: The font to prefer; others only fill its gaps.

    Raises:
        SettingsError: The font that is wanted cannot be read, or its maker forbids embedding.
    """
    characters = sorted(set("".join(texts)) | {STAND_IN} | set("(U+)0123456789ABCDEF"))
    paths = [*([wanted] if wanted is not None else []), *_installed()]
    if not paths:
        return MadeFont(None, _lacking(characters))
    chosen: dict[str, _Source] = {}
    for path in paths:
        lacking = [c for c in characters if c not in chosen]
        if not lacking:
            break
        source = _opened(path, strict=path == wanted)
        if source is not None:
            chosen |= {c: source for c in lacking if ord(c) in source.by_code and not _is_shaped(c)}
    if STAND_IN not in chosen:
        return MadeFont(None, _lacking(characters))
    missing = frozenset(c for c in characters if c not in chosen and not c.isspace())
    return MadeFont(_built(chosen), missing)


def _is_shaped(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in SHAPED)


def _lacking(characters: Iterable[str]) -> frozenset[str]:
    return frozenset(c for c in characters if not c.isspace() and _beyond_gbk(c))


def _beyond_gbk(character: str) -> bool:
    """Tell whether the font that viewers bring, with the characters of GBK, lacks a character."""
    try:
        character.encode("gbk")
    except UnicodeEncodeError:
        return True
    return False


def _built(chosen: dict[str, _Source]) -> bytes:
    names = {character: f"u{ord(character):05X}" for character in sorted(chosen)}
    glyphs: dict[str, Any] = {".notdef": TTGlyphPen(None).glyph()}
    metrics = {".notdef": (UNITS, 0)}
    for character, name in names.items():
        source = chosen[character]
        glyph = source.glyphs[source.by_code[ord(character)]]
        pen = TTGlyphPen(None)
        scaled = TransformPen(
            Cu2QuPen(pen, 1.0, reverse_direction=True), (source.scale, 0, 0, source.scale, 0, 0)
        )
        glyph.draw(scaled)
        glyphs[name] = pen.glyph(dropImpliedOnCurves=False)
        metrics[name] = (round(glyph.width * source.scale), 0)
    builder = FontBuilder(UNITS, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({ord(character): name for character, name in names.items()})
    builder.setupGlyf(glyphs)
    bearings = {name: getattr(glyphs[name], "xMin", 0) for name in glyphs}
    builder.setupHorizontalMetrics({name: (width, bearings[name]) for name, (width, _) in metrics.items()})
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": "Letter", "styleName": "Regular", "psName": "Letter-Regular"})
    builder.setupOS2(sTypoAscender=880, sTypoDescender=-120, usWinAscent=880, usWinDescent=120)
    builder.setupPost()
    file = io.BytesIO()
    builder.save(file)
    return file.getvalue()


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    """Find the known fonts of the system, in the order of preference."""
    wanted = {name.lower(): rank for rank, name in enumerate(NAMES)}
    found: dict[int, Path] = {}
    for folder in FOLDERS:
        for path in sorted(Path(folder).expanduser().rglob("*.*")):
            rank = wanted.get(path.name.lower())
            if rank is not None:
                found.setdefault(rank, path)
    return tuple(found[rank] for rank in sorted(found))


@lru_cache(maxsize=8)
def _opened(path: Path, *, strict: bool) -> _Source | None:
    try:
        font = _face(path)
        by_code = font.getBestCmap() or {}
        embeddable = font["OS/2"].fsType & 0x000F != NOT_EMBEDDABLE
        scale = UNITS / font["head"].unitsPerEm
        glyphs = font.getGlyphSet()
    except (OSError, TTLibError, KeyError, AssertionError) as error:
        if strict:
            raise SettingsError(f"ONEPERSON_LETTER_FONT: {path} cannot be read ({error})") from None
        return None
    if not embeddable:
        if strict:
            raise SettingsError(f"ONEPERSON_LETTER_FONT: the maker of {path} forbids embedding it")
        return None
    return _Source(glyphs, by_code, scale)


def _face(path: Path) -> TTFont:
    """Open a font; of a collection the face for simplified Chinese, else the first.

    The file is read whole: it stays open no longer, whether it is a font or not.
    """
    file = io.BytesIO(path.read_bytes())
    if path.suffix.lower() != ".ttc":
        return TTFont(file, lazy=True)
    faces = TTCollection(file, lazy=True).fonts
    for face in faces:
        if str(face["name"].getDebugName(1)).endswith((" SC", " CN")):
            return face
    return faces[0]
