"""Calendar months in Beijing time, which all statistics are counted by."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8))
"""All of China keeps one time without summer time."""


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """One calendar month, as `YYYY-MM` when written."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Read `YYYY-MM`.

        Raises:
            ValueError: It is not a month from 1900 to 2999.
        """
        found = re.fullmatch(r"(19|2[0-9])([0-9]{2})-(0[1-9]|1[0-2])", text, flags=re.ASCII)
        if found is None:
            raise ValueError("write a month as YYYY-MM")
        return cls(int(found[1] + found[2]), int(found[3]))

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """Return the month in which a point in time lies."""
        there = moment.astimezone(BEIJING)
        return cls(there.year, there.month)

    @property
    def start(self) -> datetime:
        """Its first moment, in UTC."""
        return datetime(self.year, self.month, 1, tzinfo=BEIJING).astimezone(UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it, in UTC."""
        return self.later(1).start

    def later(self, months: int) -> "Month":
        """Return the month so many months later; negative: earlier."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"
