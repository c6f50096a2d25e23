"""The file that lists what an import did not take, and the figures of its end."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from scripts.import_rows import ImportFileError, Refusal
from service.persons.schemas import PersonStored

COLUMNS = ("line", "person_id", "field", "reason", "remedy")


@dataclass(slots=True)
class Figures:
    """What became of the records.

    Attributes:
        stored: Stored now.
        unchanged: Stored before, identically.
        refused: Not taken.
        incomplete: Stored or unchanged, but a portrait was left out or there is none to enrol.
        references: Portraits enrolled now.
        marks: How often each quality mark was given to them.
    """

    stored: int = 0
    unchanged: int = 0
    refused: int = 0
    incomplete: int = 0
    references: int = 0
    marks: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """Records dealt with."""
        return self.stored + self.unchanged + self.refused

    def add_portraits(self, answer: PersonStored) -> None:
        """Count the portraits that were encoded for one registration, and their marks."""
        for portrait in answer.portraits:
            # One that was stored already comes back without measures.
            if portrait.admitted and portrait.quality:
                self.references += 1
                self.marks.update(portrait.marks)

    @property
    def all_taken(self) -> bool:
        """Whether every record was taken with everything that belongs to it."""
        return not self.refused and not self.incomplete


class Report:
    """A CSV file with one line per reason, written as the import goes on."""

    def __init__(self, path: Path) -> None:
        """Begin the file anew.

        Raises:
            ImportFileError: It cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise ImportFileError(f"the report {path} cannot be written: {error.strerror}") from error
        self.path = path
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self._file.flush()

    def add(self, refusals: Sequence[Refusal]) -> None:
        """Write some reasons down, so that they survive whatever comes."""
        self._writer.writerows(
            [refusal.line, _harmless(refusal.person_id), refusal.field, refusal.reason, refusal.remedy]
            for refusal in refusals
        )
        self._file.flush()

    def __enter__(self) -> "Report":
        """Open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()


def _harmless(text: str) -> str:
    """Keep a spreadsheet from taking a value out of the import file for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
