"""The register as a workbook, written row by row so that it needs the memory of one row."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import xlsxwriter

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
WIDTH = 12


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
        head = book.add_format({"bold": True, "bg_color": "#1D3F63", "font_color": "#FFFFFF", "border": 1})
        sheet, at = None, 0
        for line in _lines(database, query, actor=actor):
            if sheet is None or at > MOST_ROWS:
                sheet, at = _new_sheet(book, head, language), 1
            for column, value in enumerate(_cells(line, codes, language)):
                if isinstance(value, int):
                    sheet.write_number(at, column, value)
                else:  # As a string: a name that begins with = is a name, never a formula.
                    sheet.write_string(at, column, value)
            at, written = at + 1, written + 1
        if sheet is None:
            _new_sheet(book, head, language)
    return written


def _lines(database: Database, query: RegisterQuery, *, actor: Actor) -> Iterator[RegisterLine]:
    after = query.after
    with database.read() as session:
        while True:
            asked = RegisterQuery(query.state, query.division, query.overdue, after, BATCH)
            page = lines_after(session, asked, actor=actor)
            yield from page.lines
            session.expunge_all()
            after = page.next
            if after is None:
                return


def _new_sheet(
    book: xlsxwriter.Workbook, head: xlsxwriter.format.Format, language: str
) -> xlsxwriter.worksheet.Worksheet:
    sheet = book.add_worksheet()
    for column, name in enumerate(COLUMNS):
        sheet.set_column(column, column, WIDTHS.get(name, WIDTH))
    sheet.freeze_panes(1, 1)
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.set_footer("&R&P / &N")
    for column, name in enumerate(COLUMNS):
        sheet.write_string(0, column, translate(language, f"register_column.{name}"), head)
    return sheet


def _cells(line: RegisterLine, codes: Codes, language: str) -> Iterator[str | int]:
    def word(table: Mapping[str, Term], code: str | None) -> str:
        term = table.get(code or "")
        return (code or "") if term is None else term.word(language)

    def day(moment: object) -> str:
        return "" if moment is None else str(moment)

    tally = line.tally
    yield line.person_id
    yield line.name or ""
    yield word(codes.sexes, line.sex)
    yield day(line.birth_date)
    yield line.citizen_id_number_masked or ""
    yield word(codes.categories, line.category)
    yield line.division_code
    yield word(codes.divisions, f"{line.division_code[:4]}00" if line.division_code else None)
    yield translate(language, f"register_state.{line.state}")
    yield day(line.flagged_at.astimezone(BEIJING).date())
    yield day(line.left_at.astimezone(BEIJING).date()) if line.left_at is not None else ""
    yield tally.checks
    yield f"{tally.last_check_at.astimezone(BEIJING):%Y-%m-%d %H:%M}" if tally.last_check_at else ""
    yield translate(language, f"outcome.{tally.last_outcome}") if tally.last_outcome else ""
    yield tally.visits
    yield day(line.visited_on)
    yield day(line.next_visit_on)
    yield tally.notices
