"""Reads the rows of an import file: bytes in, checked registrations or the reasons against them out.

One line is one record, so a damaged one never spoils its neighbours. Each line is decoded
by itself in the declared encoding; in UTF-8 and in GB 18030 no character of several bytes
holds a line feed, a comma or a quotation mark, so cutting before decoding is safe.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import TypeAdapter, ValidationError

from service.persons.schemas import PersonId, RegistrationFields

Encoding = Literal["utf-8", "gb18030"]

COLUMNS = (
    "person_id",
    "citizen_id_number",
    "name",
    "sex",
    "birth_date",
    "ethnicity",
    "division_code",
    "level_code",
    "category",
    "portrait",
)

OPTIONAL_COLUMNS = ("father_id_number", "mother_id_number")
"""May be left out of the file; they only tag possible twins and siblings."""

MAX_LINE_BYTES = 2**16
"""Longest line; 50 four-byte characters, every code and a hundred file names take a tenth of it."""

MAX_PORTRAITS = 20
"""Most portraits of one person. Source: the limit of `PUT /v1/persons/{person_id}`."""

SEPARATOR = ";"

_SAMPLE_BYTES = 2**20
_PERSON_ID: TypeAdapter[str] = TypeAdapter(PersonId)


class ImportFileError(Exception):
    """A file that cannot be imported at all; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a record, or a portrait of it, was not taken.

    Attributes:
        line: Line of the file, from 1.
        person_id: The record's key, empty when it cannot be told.
        field: Column at fault, empty when it is the whole line.
        reason: What is wrong, free of the record's values.
        remedy: What to do about it.
    """

    line: int
    person_id: str
    field: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Row:
    """One record whose fields passed the rules of the API.

    Attributes:
        line: Line of the file, from 1.
        person_id: The population system's key.
        fields: The registration.
        portraits: File names under the portrait folder, without repetition; not looked at yet.
    """

    line: int
    person_id: str
    fields: RegistrationFields = field(repr=False)
    portraits: tuple[str, ...] = field(repr=False)


Record = Row | tuple[Refusal, ...]
"""A record to be stored, or all reasons against it."""


def count_lines(path: Path) -> int:
    """Count the lines of a file, for the progress.

    Raises:
        ImportFileError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            count, last = 0, b"\n"
            while block := file.read(_SAMPLE_BYTES):
                count, last = count + block.count(b"\n"), block[-1:]
    except OSError as error:
        raise _unreadable(path, error) from error
    return count + (last != b"\n")


def looks_like_utf8(path: Path) -> bool:
    """Say whether a file's first megabyte is UTF-8 with characters beyond ASCII.

    Text in GB 18030 practically never is: after a few characters some pair of bytes breaks the pattern.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    sample = sample[: sample.rfind(b"\n") + 1]
    try:
        return not sample.isascii() and bool(sample.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def read_records(path: Path, encoding: Encoding) -> Iterator[tuple[int, Record]]:
    """Read a file record by record.

    Args:
        path: A CSV file with a header line.
        encoding: What the file is declared to be in; a byte order mark is skipped.

    Yields:
        The number of lines read so far, and the record. Blank lines are passed over.

    Raises:
        ImportFileError: It cannot be read, or its header is not the one that is wanted.
    """
    try:
        with path.open("rb") as file:
            lines = _lines(file)
            columns = _header(lines, encoding)
            yield from _records(lines, columns, encoding)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ImportFileError:
    return ImportFileError(f"{path} cannot be read: {error.strerror}")


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and bytes of each line without its end; None for one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) <= MAX_LINE_BYTES or line.endswith(b"\n"):
            yield number, line.rstrip(b"\r\n")
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield number, None


def _header(lines: Iterator[tuple[int, bytes | None]], encoding: Encoding) -> list[str]:
    """Read the first line and check that it names all columns and no unknown ones, in any order."""
    _, line = next(lines, (0, b""))
    try:
        text = (line or b"").decode(encoding).removeprefix("\ufeff")
        columns = [name.strip() for name in _cells(text)]
    except (UnicodeDecodeError, csv.Error):
        raise ImportFileError(
            f"the first line is not a CSV header in {encoding}; save the file as CSV in UTF-8 or GB 18030 "
            "and name its encoding with --encoding"
        ) from None
    known = COLUMNS + OPTIONAL_COLUMNS
    faults = [
        *_named("missing", [name for name in COLUMNS if name not in columns]),
        *_named("unknown", [repr(name) for name in dict.fromkeys(columns) if name not in known]),
        *_named("repeated", [name for name in known if columns.count(name) > 1]),
    ]
    if faults:
        wanted = ",".join(COLUMNS)
        raise ImportFileError(f"columns of the first line: {'; '.join(faults)}. It should be: {wanted}")
    return columns


def _named(kind: str, names: Sequence[str]) -> list[str]:
    return [f"{kind} {', '.join(names)}"] if names else []


def _records(
    lines: Iterator[tuple[int, bytes | None]], columns: Sequence[str], encoding: Encoding
) -> Iterator[tuple[int, Record]]:
    seen: dict[str, int] = {}
    for number, line in lines:
        if line is not None and not line.strip():
            continue
        record = _record(number, line, columns, encoding)
        if isinstance(record, Row):
            first = seen.setdefault(record.person_id, number)
            if first != number:
                record = (_repeated(record, first),)
        yield number, record


def _record(number: int, line: bytes | None, columns: Sequence[str], encoding: Encoding) -> Record:
    if line is None:
        reason = f"the line is longer than {MAX_LINE_BYTES} bytes"
        return (Refusal(number, "", "", reason, "look for a line break that is missing"),)
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError as error:
        return (_undecodable(number, line, columns, error),)
    try:
        cells = _cells(text)
    except csv.Error:
        reason = "a quotation mark is not closed on its line, or followed by text"
        return (
            Refusal(number, "", "", reason, 'write a mark inside a field twice (""), and no line breaks'),
        )
    if len(cells) != len(columns):
        reason = f"the line has {len(cells)} fields instead of {len(columns)}"
        return (Refusal(number, "", "", reason, "put fields that hold a comma into quotation marks"),)
    return _checked(number, dict(zip(columns, (cell.strip() for cell in cells), strict=True)))


def _cells(text: str) -> list[str]:
    """Cut one line; `csv.Error` when its quotation marks do not fit."""
    return next(csv.reader([text], strict=True), [])


def _undecodable(number: int, line: bytes, columns: Sequence[str], error: UnicodeDecodeError) -> Refusal:
    """Name the bytes and, from the commas before them, the column and the record."""
    before = line[: error.start].decode(error.encoding, errors="ignore").split(",")
    damaged = line[error.start : error.end].hex(" ")
    at = columns.index("person_id")
    column = columns[len(before) - 1] if len(before) <= len(columns) and '"' not in "".join(before) else ""
    person_id = before[at].strip() if column and at < len(before) - 1 else ""
    return Refusal(
        line=number,
        person_id=person_id,
        field=column,
        reason=f"bytes {damaged} at offset {error.start} of the line are not {error.encoding}",
        remedy="correct them at the source, or declare the file's true encoding with --encoding",
    )


def _checked(number: int, values: dict[str, str]) -> Record:
    person_id, portrait = values.pop("person_id"), values.pop("portrait")
    faults: list[tuple[str, str, str]] = []
    try:
        _PERSON_ID.validate_python(person_id)
    except ValidationError as error:
        faults += [("person_id", *_words("", error.errors()[0]["msg"]))]
        person_id = ""
    try:
        fields = RegistrationFields.model_validate({name: value for name, value in values.items() if value})
    except ValidationError as error:
        for fault in error.errors(include_input=False, include_url=False):
            column = str(fault["loc"][0])
            faults.append((column, *_words(column, fault["msg"])))
    names = tuple(dict.fromkeys(name.strip() for name in portrait.split(SEPARATOR) if name.strip()))
    if len(names) > MAX_PORTRAITS:
        faults.append(("portrait", f"more than {MAX_PORTRAITS} portraits", "leave the oldest out"))
    if faults:
        return tuple(Refusal(number, person_id, *fault) for fault in faults)
    return Row(number, person_id, fields, names)


def _words(column: str, message: str) -> tuple[str, str]:
    """Part a rule's message into reason and remedy; where it has none, tell what the field holds."""
    reason, _, remedy = message.removeprefix("Value error, ").partition("; ")
    if not remedy and column in RegistrationFields.model_fields:
        about = RegistrationFields.model_fields[column]
        example = f", for example {about.examples[0]}" if about.examples else ""
        remedy = f"{about.description or 'see the integration guide'}".rstrip(".") + example
    return reason, remedy or "letters, digits and . _ : - only, 64 at most, beginning with a letter or digit"


def _repeated(row: Row, first: int) -> Refusal:
    reason = f"the same person_id stands on line {first}"
    return Refusal(row.line, row.person_id, "person_id", reason, "keep one line per registration")
