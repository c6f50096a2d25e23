"""What stands around a letter's text: head, rules, title, page numbers; and its font."""

import re
from collections.abc import Sequence
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable

FONT = "OnePersonLetter"

LEFT, TEXT_WIDTH = 28 * mm, 156 * mm
"""Left margin and width of the text. Source: GB/T 9704-2012, 5.2.1."""

HEAD_MM = 62.0
"""From the top edge to the text of the first page: head, rules and number."""

RED = colors.HexColor("#d40000")
RULE_WIDTH = 170 * mm
"""Length of the red double rules of the letter form. Source: GB/T 9704-2012, 10.1."""

NUMBER_PT = 16
HEAD_PT = 32
TITLE_PT, TITLE_LINE_PT = 22, 34


def draw_head(canvas: Canvas, sender: str, number: str) -> None:
    """Draw the head of the letter form: the office in red, double rules, the number."""
    width, height = A4
    canvas.saveState()
    size = min(HEAD_PT, HEAD_PT * TEXT_WIDTH / stringWidth(sender, FONT, HEAD_PT))
    canvas.setFillColor(RED)
    canvas.setStrokeColor(RED)
    _draw_bold(canvas, sender, x=(width - stringWidth(sender, FONT, size)) / 2, y=height - 38 * mm, size=size)
    left = (width - RULE_WIDTH) / 2
    for y, thickness in (
        (height - 44 * mm, 2.0),
        (height - 44 * mm - 3, 0.6),
        (20 * mm + 3, 0.6),
        (20 * mm, 2.0),
    ):
        canvas.setLineWidth(thickness)
        canvas.line(left, y, left + RULE_WIDTH, y)
    canvas.setFillColor(colors.black)
    canvas.setFont(FONT, NUMBER_PT)
    canvas.drawRightString(LEFT + TEXT_WIDTH, height - 53 * mm, number)
    canvas.restoreState()


class Title(Flowable):
    """A title in size 2 (二号), centred, in lines that were broken by sense."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Take the lines."""
        super().__init__()
        self._lines = lines

    def wrap(self, width: float, _height: float) -> tuple[float, float]:
        """Return the room that it needs."""
        self._width = width
        return width, len(self._lines) * TITLE_LINE_PT + TITLE_LINE_PT * 0.75

    def draw(self) -> None:
        """Draw it."""
        y = len(self._lines) * TITLE_LINE_PT - TITLE_PT * 0.5
        for line in self._lines:
            x = (self._width - stringWidth(line, FONT, TITLE_PT)) / 2
            _draw_bold(self.canv, line, x=x, y=y, size=TITLE_PT)
            y -= TITLE_LINE_PT


def _draw_bold(canvas: Canvas, text: str, *, x: float, y: float, size: float) -> None:
    """Draw text with its outlines stroked: the fonts at hand have one weight."""
    written = canvas.beginText(x, y)
    written.setFont(FONT, size)
    written.setTextRenderMode(2)
    canvas.setLineWidth(size / 45)
    written.textOut(text)
    written.setTextRenderMode(0)
    canvas.drawText(written)


class CountedPages(Canvas):
    """Numbers pages when it is known how many there are."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Hold pages back."""
        super().__init__(*args, **options)
        self._held: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - the library's name
        """Hold the page back."""
        self._held.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Number and write all pages."""
        for page, state in enumerate(self._held, 1):
            self.__dict__.update(state)
            self.setFont(FONT, 10.5)
            self.drawCentredString(A4[0] / 2, 12 * mm, f"第 {page} 页，共 {len(self._held)} 页")
            super().showPage()
        super().save()


class LetterFont(TTFont):
    """A font whose text can be searched and copied, also beyond the first 65,536 characters."""

    def addObjects(self, doc: Any) -> None:  # noqa: N802 - the library's name
        """Add the font to a file; the library writes rare characters in five digits, which means others."""
        super().addObjects(doc)
        for name, kept in doc.idToObject.items():
            if name.startswith("toUnicodeCMap:"):
                kept.content = re.sub(r"<([0-9A-F]{5,6})>$", _in_utf_16, kept.content, flags=re.MULTILINE)


def _in_utf_16(code: re.Match[str]) -> str:
    """Write a code point as PDF wants it. Source: ISO 32000-1, 9.10.3."""
    return f"<{chr(int(code[1], 16)).encode('utf-16-be').hex().upper()}>"
