"""The monthly table as a file: CSV for any program, xlsx to read and to print."""

import csv
import io
from collections.abc import Iterator
from typing import Literal

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from service.months import BEIJING
from service.statistics.figures import FIGURES, STOCKS, FigureRow, Level
from service.statistics.labels import Labels, plain_text
from service.statistics.service import MonthlyTable
from service.tables import now

Encoding = Literal["utf-8", "gb18030"]

FIRST_FIGURE = 2
"""Columns before the figures: name and code."""

HEAD_ROW = 3
"""Rows before the table's head: title, version, notes."""

NAME_WIDTH, CODE_WIDTH, FIGURE_WIDTH = 22, 9, 9.5
"""Characters."""

PAPER_A3 = 8
"""Paper number of ECMA-376, `pageSetup/@paperSize`: forty columns are not readable on A4."""


def as_csv(table: MonthlyTable, labels: Labels, *, encoding: Encoding = "utf-8", bom: bool = False) -> bytes:
    """Write the table as CSV, RFC 4180.

    Args:
        table: The table.
        labels: In which language.
        encoding: GB 18030 is what Chinese spreadsheet programs expect without being told.
        bom: Whether a byte order mark leads, by which they know UTF-8.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(plain_text(cell) for cell in _heads(labels))
    for row in table.rows:
        head = [plain_text(labels.region(row)), row.region, labels.level(row.level)]
        waiting = "" if row.waiting_h is None else row.waiting_h
        writer.writerow([*head, *_figures(row), row.closed, waiting, _balance(row, labels)])
    data = text.getvalue().encode(encoding)
    return b"\xef\xbb\xbf" + data if bom and encoding == "utf-8" else data


def _heads(labels: Labels) -> Iterator[str]:
    yield from (labels.word("region"), labels.word("code"), labels.word("level"))
    for name in FIGURES:
        yield f"{labels.figure(name)} ({labels.word('month')})"
        if name not in STOCKS:
            yield f"{labels.figure(name)} ({labels.word('cumulative')})"
    yield from (labels.word("closed"), labels.word("waiting"), labels.word("balanced"))


def _figures(row: FigureRow) -> Iterator[int]:
    for name in FIGURES:
        yield row.month[name]
        if name not in STOCKS:
            yield row.cumulative[name]


def _balance(row: FigureRow, labels: Labels) -> str:
    return labels.word("yes" if row.balanced else "no")


def as_xlsx(table: MonthlyTable, labels: Labels) -> bytes:
    """Write the table as a workbook of one sheet, ready to print on A3 across."""
    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(out, options) as book:
        book.set_properties({"title": labels.word("title", month=table.month)})
        sheet = book.add_worksheet(labels.word("sheet"))
        _lay_out(sheet, table, labels)
        _write_head(book, sheet, table, labels)
        styles = _Styles(book)
        for at, row in enumerate(table.rows, start=HEAD_ROW + 2):
            _write_row(sheet, at, row, labels, styles)
    return out.getvalue()


class _Styles:
    """Formats of the table's cells by level."""

    def __init__(self, book: xlsxwriter.Workbook) -> None:
        frame = {"border": 1, "valign": "vcenter"}
        bold = {Level.TOTAL: True, Level.PREFECTURE: True, Level.COUNTY: False}
        fill = {Level.TOTAL: "#DCE6F1", Level.PREFECTURE: "#F2F5F9", Level.COUNTY: "#FFFFFF"}

        def made(level: Level, **more: object) -> Format:
            return book.add_format(frame | {"bold": bold[level], "bg_color": fill[level]} | more)

        self.text = {level: made(level) for level in Level}
        self.inset = {level: made(level, indent=int(level is Level.COUNTY)) for level in Level}
        self.number = {level: made(level, num_format="#,##0") for level in Level}
        self.hours = {level: made(level, num_format="#,##0.0") for level in Level}
        self.middle = {level: made(level, align="center") for level in Level}


def _lay_out(sheet: Worksheet, table: MonthlyTable, labels: Labels) -> None:
    last = FIRST_FIGURE + len(list(_figures(table.rows[0]))) + 2 if table.rows else FIRST_FIGURE + 2
    sheet.set_column(0, 0, NAME_WIDTH)
    sheet.set_column(1, 1, CODE_WIDTH)
    sheet.set_column(FIRST_FIGURE, last, FIGURE_WIDTH)
    sheet.freeze_panes(HEAD_ROW + 2, FIRST_FIGURE)
    sheet.set_landscape()
    sheet.set_paper(PAPER_A3)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(HEAD_ROW, HEAD_ROW + 1)
    sheet.repeat_columns(0, 1)
    sheet.set_margins(left=0.4, right=0.4, top=0.6, bottom=0.6)
    sheet.set_footer(f"&L{labels.word('title', month=table.month)}&R&P / &N")


def _write_head(book: xlsxwriter.Workbook, sheet: Worksheet, table: MonthlyTable, labels: Labels) -> None:
    sheet.write_string(
        0, 0, labels.word("title", month=table.month), book.add_format({"bold": True, "font_size": 16})
    )
    sheet.write_string(1, 0, version_text(table, labels))
    sheet.write_string(2, 0, labels.word("notes"), book.add_format({"font_color": "#4B5A69"}))
    head = book.add_format(
        {"bold": True, "border": 1, "text_wrap": True, "align": "center", "valign": "vcenter"}
        | {"bg_color": "#1D3F63", "font_color": "#FFFFFF"}
    )
    sheet.set_row(HEAD_ROW, 48)
    for column, word in enumerate(("region", "code")):
        sheet.merge_range(HEAD_ROW, column, HEAD_ROW + 1, column, labels.word(word), head)
    at = FIRST_FIGURE
    for name in FIGURES:
        if name in STOCKS:
            sheet.merge_range(HEAD_ROW, at, HEAD_ROW + 1, at, labels.figure(name), head)
            at += 1
            continue
        sheet.merge_range(HEAD_ROW, at, HEAD_ROW, at + 1, labels.figure(name), head)
        sheet.write_string(HEAD_ROW + 1, at, labels.word("month"), head)
        sheet.write_string(HEAD_ROW + 1, at + 1, labels.word("cumulative"), head)
        at += 2
    for offset, word in enumerate(("closed", "waiting", "balanced")):
        column = at + offset
        sheet.merge_range(HEAD_ROW, column, HEAD_ROW + 1, column, labels.word(word), head)


def _write_row(sheet: Worksheet, at: int, row: FigureRow, labels: Labels, styles: _Styles) -> None:
    sheet.write_string(at, 0, labels.region(row), styles.inset[row.level])
    sheet.write_string(at, 1, row.region, styles.text[row.level])
    column = FIRST_FIGURE
    for number in _figures(row):
        sheet.write_number(at, column, number, styles.number[row.level])
        column += 1
    sheet.write_number(at, column, row.closed, styles.number[row.level])
    if row.waiting_h is None:
        sheet.write_blank(at, column + 1, None, styles.hours[row.level])
    else:
        sheet.write_number(at, column + 1, row.waiting_h, styles.hours[row.level])
    sheet.write_string(at, column + 2, _balance(row, labels), styles.middle[row.level])


def version_text(table: MonthlyTable, labels: Labels) -> str:
    """Return which version a table is, and why it was restated."""
    shown = table.version
    if shown is None:
        return labels.word("live", made=f"{now().astimezone(BEIJING):%Y-%m-%d %H:%M}")
    closed_at = f"{shown.closed_at.astimezone(BEIJING):%Y-%m-%d %H:%M}"
    text = labels.word("version", number=shown.number, made=closed_at)
    return text if shown.reason is None else text + labels.word("reason", reason=shown.reason)
