"""The register as a workbook, written row by row so that it needs the memory of one row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from service.auth.service import Actor
from service.codes import Codes, Term
from service.database import Database
from service.language import translate
from service.months import BEIJING
from service.register.service import RegisterLine, RegisterQuery, lines_after

COLUMNS = (
    "person_id",
    "name",
    "sex",
    "birth_date",
    "citizen_id_number",
    "category",
    "division_code",
    "division",
    "state",
    "flagged_at",
    "left_at",
    "checks",
    "last_check_at",
    "last_outcome",
    "visits",
    "visited_on",
    "next_visit_on",
    "notices",
)
"""Keys below `register_column` in the catalogues."""

BATCH = 1000
MOST_ROWS = 1_000_000
"""Rows of one sheet; the format ends at 1,048,576 (ECMA-376, also Excel's limit)."""

WIDTHS = {"person_id": 20, "name": 16, "citizen_id_number": 21, "division": 16, "last_check_at": 17}
WIDTH = 13
HEAD_HEIGHT = 32
"""Points: two lines, for some of the English heads are longer than their columns."""

FIRST_YEAR = 1900
"""With which the days of a workbook begin (ECMA-376, part 1, 18.17.4.1)."""

Cell = str | int | date | datetime | None


@dataclass(frozen=True, slots=True)
class _Styles:
    head: Format
    day: Format
    moment: Format


def write_register(
    database: Database,
    path: Path,
    query: RegisterQuery,
    *,
    actor: Actor,
    codes: Codes,
    language: str,
) -> int:
    """Write the lines that an officer may see and asked for; citizen numbers stay masked.

    Args:
        database: Read in one consistent view.
        path: File to write; rows wait in files of the same folder.
        query: Which lines.
        actor: Who asks; that it is put on record is the caller's matter.
        codes: The code tables.
        language: Of the head and of the words.

    Returns:
        How many lines were written.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
    """
    options = {"constant_memory": True, "tmpdir": str(path.parent), "strings_to_formulas": False}
    written = 0
    with xlsxwriter.Workbook(path, options) as book:
        styles = _styles(book)
        sheet, at = _new_sheet(book, styles, language), 1
        for line in _lines(database, query, actor=actor):
            if at > MOST_ROWS:
                _end_sheet(sheet, at)
                sheet, at = _new_sheet(book, styles, language), 1
            for column, value in enumerate(_cells(line, codes, language)):
                _write(sheet, at, column, value, styles)
            at, written = at + 1, written + 1
        _end_sheet(sheet, at)
    return written


def _styles(book: xlsxwriter.Workbook) -> _Styles:
    head = {"bold": True, "bg_color": "#1D3F63", "font_color": "#FFFFFF", "border": 1}
    return _Styles(
        head=book.add_format(head | {"text_wrap": True, "valign": "vcenter"}),
        day=book.add_format({"num_format": "yyyy-mm-dd", "align": "left"}),
        moment=book.add_format({"num_format": "yyyy-mm-dd hh:mm", "align": "left"}),
    )


def _write(sheet: Worksheet, row: int, column: int, value: Cell, styles: _Styles) -> None:
    """Write one cell as what it is, so that days can be sorted and filtered; what is unknown stays empty."""
    if value is None or value == "":
        return
    if isinstance(value, int):
        sheet.write_number(row, column, value)
    elif isinstance(value, str):  # As a string: a name that begins with = is a name, never a formula.
        sheet.write_string(row, column, value)
    elif value.year < FIRST_YEAR:
        sheet.write_string(row, column, value.isoformat())
    else:
        style = styles.moment if isinstance(value, datetime) else styles.day
        sheet.write_datetime(row, column, value, style)


def _lines(database: Database, query: RegisterQuery, *, actor: Actor) -> Iterator[RegisterLine]:
    after = query.after
    with database.read() as session:
        while True:
            asked = replace(query, after=after, limit=BATCH)
            page = lines_after(session, asked, actor=actor)
            yield from page.lines
            session.expunge_all()
            after = page.next
            if after is None:
                return


def _new_sheet(book: xlsxwriter.Workbook, styles: _Styles, language: str) -> Worksheet:
    name, sheets = translate(language, "register.title"), len(book.worksheets())
    sheet = book.add_worksheet(f"{name} {sheets + 1}" if sheets else name)
    for column, name in enumerate(COLUMNS):
        sheet.set_column(column, column, WIDTHS.get(name, WIDTH))
    sheet.freeze_panes(1, 1)
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.set_footer("&R&P / &N")
    sheet.set_row(0, HEAD_HEIGHT)
    for column, name in enumerate(COLUMNS):
        sheet.write_string(0, column, translate(language, f"register_column.{name}"), styles.head)
    return sheet


def _end_sheet(sheet: Worksheet, rows: int) -> None:
    sheet.autofilter(0, 0, rows - 1, len(COLUMNS) - 1)


def _cells(line: RegisterLine, codes: Codes, language: str) -> Iterator[Cell]:
    def word(table: Mapping[str, Term], code: str | None) -> str:
        term = table.get(code or "")
        return (code or "") if term is None else term.word(language)

    def there(moment: datetime | None) -> datetime | None:
        return None if moment is None else moment.astimezone(BEIJING).replace(tzinfo=None)

    def day(moment: datetime | None) -> date | None:
        return None if moment is None else moment.astimezone(BEIJING).date()

    tally = line.tally
    yield line.person_id
    yield line.name or ""
    yield word(codes.sexes, line.sex)
    yield line.birth_date
    yield line.citizen_id_number_masked or ""
    yield word(codes.categories, line.category)
    yield line.division_code
    yield word(codes.divisions, f"{line.division_code[:4]}00" if line.division_code else None)
    yield translate(language, f"register_state.{line.state}")
    yield day(line.flagged_at)
    yield day(line.left_at)
    yield tally.checks
    yield there(tally.last_check_at)
    yield translate(language, f"outcome.{tally.last_outcome}") if tally.last_outcome else ""
    yield tally.visits
    yield line.visited_on
    yield line.next_visit_on
    yield tally.notices
