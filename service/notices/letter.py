"""Letters to other authorities as PDF (通报函), always in Chinese; laid out in the spirit of GB/T 9704."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from service.notices.fonts import MadeFont, make_font
from service.notices.letter_pages import (
    FONT,
    HEAD_MM,
    LEFT,
    TEXT_WIDTH,
    CountedPages,
    LetterFont,
    Title,
    draw_head,
)

VIEWERS_FONT = "STSong-Light"
"""Chinese font that PDF viewers bring themselves; used when the system has none to embed."""

BODY_PT, LINE_PT = 16, 28
"""Size 3 (三号), and 22 lines on a page. Source: GB/T 9704-2012, 5.2.2 and 5.2.3."""

TABLE_PT = 12
"""Size 4 small (小四), so that two registrations stand side by side."""

PORTRAIT_MM = (26.0, 32.0)
"""An ID-card portrait printed at its own size. Source: GA 461, 26 mm × 32 mm."""

MAKING = threading.Lock()
"""The PDF library knows fonts by name for the whole process; each letter has a font of its own."""


@dataclass(frozen=True, slots=True)
class LetterRegistration:
    """One registration as the letter shows it.

    Attributes:
        person_id: Its number in the population system.
        fields: Name and value, in order.
        portrait: Bytes of a picture, if it is to be shown.
    """

    person_id: str
    fields: tuple[tuple[str, str], ...]
    portrait: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """All that a letter says.

    Attributes:
        sender: The office that writes.
        recipient: The authority that is written to.
        number: Of the letter.
        day: On which it is printed.
        due_on: By when an answer is asked for.
        occasion: What led to it: the transaction, or a search within the galleries.
        to_cancel: The registration to cancel.
        others: The other registrations of the same person.
        conclusions: What each officer concluded, and when.
        evidence: Kinds of evidence beyond the face.
        takes_back: Number of the earlier letter that this one takes back, if it does.
    """

    sender: str
    recipient: str
    number: str
    day: date
    due_on: date
    occasion: str
    to_cancel: LetterRegistration
    others: tuple[LetterRegistration, ...]
    conclusions: tuple[str, ...]
    evidence: tuple[str, ...]
    takes_back: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A finished letter.

    Attributes:
        pdf: The file.
        missing: Characters that no font had; they are marked in the letter, and must be written in by hand.
        embedded: Whether the font is in the file.
    """

    pdf: bytes = field(repr=False)
    missing: frozenset[str]
    embedded: bool


def write_letter(facts: LetterFacts, *, font: Path | None) -> Letter:
    """Write a letter.

    Args:
        facts: What it says.
        font: The font to prefer; None for one of the system's.

    Raises:
        SettingsError: The font cannot be used.
    """
    made = make_font(_texts(facts), font)
    file = io.BytesIO()
    with MAKING, _known_font(made):
        _Writer(facts, made).write(file)
    return Letter(file.getvalue(), made.missing, embedded=made.data is not None)


@contextmanager
def _known_font(made: MadeFont) -> Iterator[None]:
    """Let the PDF library know a letter's font while the letter is written.

    Of two fonts with one name the library keeps the first and drops the second in silence: names whose
    glyphs an earlier letter did not need would be blank.
    """
    pdfmetrics.registerFont(_font_of(made))
    try:
        yield
    finally:
        forgotten = pdfmetrics._fonts.pop(FONT)
        if isinstance(forgotten, LetterFont):
            pdfmetrics._dynFaceNames.pop(forgotten.face.name)


def _font_of(made: MadeFont) -> Any:
    if made.data is not None:
        return LetterFont(FONT, io.BytesIO(made.data))
    font = UnicodeCIDFont(VIEWERS_FONT)
    font.name = font.fontName = FONT
    return font


def _texts(facts: LetterFacts) -> list[str]:
    """Return everything that will be printed, for the font to have it."""
    registrations = (facts.to_cancel, *facts.others)
    told = [name + value for one in registrations for name, value in one.fields]
    own = [value for value in vars(_Text).values() if isinstance(value, str)]
    facts_told = [facts.sender, facts.recipient, facts.number, facts.occasion, facts.takes_back or ""]
    return [
        *told,
        *own,
        *facts_told,
        *facts.conclusions,
        *facts.evidence,
        *(one.person_id for one in registrations),
    ]


class _Text:
    """The letter's own words."""

    TITLE = ("关于通报重复户口", "并请依法核实注销的函")
    TITLE_BACK = ("关于撤回重复户口", "注销请求的函")
    TO = "{recipient}："
    OPENING = (
        "{occasion}，我单位经人像比对发现疑似重复户口，并由两名民警分别独立核查。现已查证属实，"
        "下列登记属同一人。其中登记编号为{person}的登记由你单位管辖，现予通报，请依法核实后予以注销。"
    )
    OPENING_BACK = (
        "我单位以{earlier}函请你单位核实注销登记编号为{person}的登记。该案现已重新核查，前函的注销请求予以撤回。"
        "尚未注销的，请不予注销；已经注销的，请依法处理，并将情况函告我单位。"
    )
    FIRST = "一、登记情况"
    SECOND = "二、核查结论"
    THIRD = "三、办理要求"
    ITEM = "项目"
    CANCEL = "应注销的登记"
    OTHER = "同一人的其他登记"
    PORTRAIT = "照片"
    EVIDENCE = "除人像外，认定所依据的证据：{kinds}。人像比对仅提供线索，不作为认定同一人的唯一依据。"
    REQUEST = "请于{due}前将办理结果函复我单位。经核实与本函所述不符的，请勿注销，并及时告知我单位。"
    END = "特此函告。"
    SEAL = "（印章）"
    CONTACT = "（联系人：　　　　　　联系电话：　　　　　　　　）"
    CARE = "本函含公民个人信息，仅限办理本事项使用，请妥善保管。"
    MISSING = "注：〓处为字库未收录的字，括号内为该字的编码，发出前请手工补写。"
    REPLY = "回　执"
    REPLY_TO = "{sender}："
    REPLY_BODY = "你单位{number}函收悉。经核查，登记编号为{person}的登记办理结果如下："
    REPLY_CHOICES = (
        "□　已于　　　　年　　月　　日注销。",
        "□　经核实不予注销，理由：＿＿＿＿＿＿＿＿＿＿＿＿",
        "□　正在核查，预计　　　　年　　月　　日前办结。",
    )
    REPLY_CHOICES_BACK = (
        "□　尚未注销，已停止办理。",
        "□　已经注销，处理情况：＿＿＿＿＿＿＿＿＿＿＿＿",
    )
    REPLY_SIGN = ("经办人：　　　　　　　　", "（印章）　　　　", "　　　　年　　月　　日")
    OTHERS = "\u00a0第 页，共　—·" + "".join(
        (*TITLE, *TITLE_BACK, *REPLY_CHOICES, *REPLY_CHOICES_BACK, *REPLY_SIGN)
    )


def chinese_day(day: date) -> str:
    """Return a date as official letters write it, without leading zeros (GB/T 9704-2012, 7.3.5.4)."""
    return f"{day.year}年{day.month}月{day.day}日"


class _Writer:
    """Puts one letter's parts together."""

    def __init__(self, facts: LetterFacts, made: MadeFont) -> None:
        self._facts = facts
        self._made = made
        base = ParagraphStyle("base", fontName=FONT, fontSize=BODY_PT, leading=LINE_PT, wordWrap="CJK")
        self._plain = base
        self._body = ParagraphStyle("body", base, firstLineIndent=2 * BODY_PT)
        self._right = ParagraphStyle("right", base, alignment=TA_RIGHT, rightIndent=4 * BODY_PT)
        self._heading = ParagraphStyle("heading", self._body, keepWithNext=1)
        self._cell = ParagraphStyle("cell", base, fontSize=TABLE_PT, leading=17)
        self._small = ParagraphStyle(
            "small", base, fontSize=10.5, leading=16, textColor=colors.HexColor("#333333")
        )

    def write(self, file: io.BytesIO) -> None:
        bottom = 35 * mm
        first = Frame(LEFT, bottom, TEXT_WIDTH, A4[1] - HEAD_MM * mm - bottom, 0, 0, 0, 0)
        later = Frame(LEFT, bottom, TEXT_WIDTH, A4[1] - 37 * mm - bottom, 0, 0, 0, 0)
        document = BaseDocTemplate(
            file, pagesize=A4, title=self._facts.number, author=self._facts.sender, creator="OnePerson"
        )
        sender, number = self._text(self._facts.sender), self._text(self._facts.number)
        document.addPageTemplates(
            [
                PageTemplate("first", [first], onPage=lambda canvas, _: draw_head(canvas, sender, number)),
                PageTemplate("later", [later]),
            ]
        )
        document.build([NextPageTemplate("later"), *self._parts()], canvasmaker=CountedPages)

    def _parts(self) -> list[Flowable]:
        facts, takes_back = self._facts, self._facts.takes_back
        parts: list[Flowable] = [
            Title(_Text.TITLE_BACK if takes_back else _Text.TITLE),
            self._line(_Text.TO.format(recipient=facts.recipient), self._plain),
        ]
        opening = _Text.OPENING_BACK if takes_back else _Text.OPENING
        told = {"occasion": facts.occasion, "person": facts.to_cancel.person_id, "earlier": takes_back}
        parts.append(self._line(opening.format(**told)))
        parts += self._registrations()
        if not takes_back:
            parts += self._conclusions()
        parts.append(self._signature())
        if self._made.missing & set("".join(_texts(facts))):
            parts += [Spacer(0, 8), self._line(_Text.MISSING, self._small)]
        parts += [Spacer(0, 8), self._line(_Text.CARE, self._small)]
        return [*parts, PageBreak(), *self._reply()]

    def _registrations(self) -> list[Flowable]:
        parts: list[Flowable] = []
        if not self._facts.takes_back:
            parts.append(self._line(_Text.FIRST, self._heading))
        for other in self._facts.others or (None,):
            parts += [self._table(other), Spacer(0, 10)]
        return parts

    def _table(self, other: LetterRegistration | None) -> Table:
        columns = [self._facts.to_cancel, *([other] if other is not None else [])]
        heads = [_Text.ITEM, _Text.CANCEL, *([_Text.OTHER] if other is not None else [])]
        rows: list[list[Any]] = [[self._line(head, self._cell) for head in heads]]
        for index, (name, _value) in enumerate(columns[0].fields):
            values = [column.fields[index][1] or "—" for column in columns]
            rows.append([self._line(text, self._cell) for text in (name, *values)])
        if any(column.portrait for column in columns):
            pictures = [_picture(column.portrait) for column in columns]
            rows.append([self._line(_Text.PORTRAIT, self._cell), *pictures])
        widths = [32 * mm, *([(TEXT_WIDTH - 32 * mm) / len(columns)] * len(columns))]
        style = [
            ("GRID", (0, 0), (-1, -1), 0.6, colors.black),
            ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#eeeeee")),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("TOPPADDING", (0, 0), (-1, -1), 2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
        ]
        return Table(rows, colWidths=widths, style=TableStyle(style), repeatRows=1)

    def _conclusions(self) -> list[Flowable]:
        facts = self._facts
        parts = [self._line(_Text.SECOND, self._heading), *(self._line(told) for told in facts.conclusions)]
        if facts.evidence:
            parts.append(self._line(_Text.EVIDENCE.format(kinds="、".join(facts.evidence))))
        parts.append(self._line(_Text.THIRD, self._heading))
        parts.append(self._line(_Text.REQUEST.format(due=chinese_day(facts.due_on))))
        return parts

    def _signature(self) -> Flowable:
        facts = self._facts
        return KeepTogether(
            [
                self._line(_Text.END),  # A signature never stands alone on a page.
                Spacer(0, 12 * mm),  # A seal has 42 mm and lies over name and date (GB/T 9704-2012, 7.3.5).
                self._line(facts.sender, self._right),
                self._line(chinese_day(facts.day), self._right),
                self._line(_Text.SEAL, self._right),
                self._line(_Text.CONTACT),
            ]
        )

    def _reply(self) -> list[Flowable]:
        facts = self._facts
        choices = _Text.REPLY_CHOICES_BACK if facts.takes_back else _Text.REPLY_CHOICES
        body = _Text.REPLY_BODY.format(number=facts.number, person=facts.to_cancel.person_id)
        return [
            Title((_Text.REPLY,)),
            self._line(_Text.REPLY_TO.format(sender=facts.sender), self._plain),
            self._line(body),
            *(self._line(choice) for choice in choices),
            Spacer(0, 20 * mm),
            *(self._line(line, self._right) for line in _Text.REPLY_SIGN),
        ]

    def _line(self, text: str, style: ParagraphStyle | None = None) -> Paragraph:
        # Paragraphs draw white space together, also the wide one, unless it is of the kind that does not
        # break; viewers' fonts have none of that kind, so there lines are drawn to write on.
        blank = "\u00a0" * 4 if self._made.data is not None else "＿"
        shown = _escaped(self._text(text)).replace("□\u3000", "□").replace("\u3000", blank)
        return Paragraph(shown, style or self._body)

    def _text(self, text: str) -> str:
        return self._made.shown(text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _picture(data: bytes | None) -> Flowable | str:
    if data is None:
        return "—"
    width, height = PORTRAIT_MM
    return Image(io.BytesIO(data), width * mm, height * mm, kind="proportional")
