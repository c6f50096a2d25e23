"""Words of the table for files, in the caller's language."""

from dataclasses import dataclass

from service.codes import Codes
from service.language import translate
from service.statistics.figures import FigureRow, Level

LABELS = (
    "title",
    "month",
    "cumulative",
    "region",
    "code",
    "level",
    "balanced",
    "yes",
    "no",
    "closed",
    "waiting",
    "version",
    "live",
    "reason",
    "notes",
    "total",
    "unknown",
    "itself",
    "sheet",
)
"""Keys below `report` in the catalogues."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Names things in one language."""

    language: str
    codes: Codes

    def word(self, key: str, **values: object) -> str:
        """Return one of `LABELS`."""
        return translate(self.language, f"report.{key}", **values)

    def figure(self, name: str) -> str:
        """Return a column's name."""
        return translate(self.language, f"figure.{name}")

    def level(self, level: Level) -> str:
        """Return a level's name."""
        return translate(self.language, f"level.{level}")

    def region(self, row: FigureRow) -> str:
        """Return a region's name; a county without a name in the code table stands for itself."""
        if row.level is Level.TOTAL:
            return self.word("total")
        if not row.region:
            return self.word("unknown")
        name = name_of(self.codes, row.region, self.language)
        if row.level is Level.COUNTY and row.region.endswith("00"):
            return self.word("itself", name=name)
        return name


def name_of(codes: Codes, region: str, language: str) -> str:
    """Return the name of a division code, or the code."""
    found = codes.divisions.get(region)
    return found.word(language) if found is not None else region


def plain_text(text: str) -> str:
    """Return a text that no spreadsheet program takes for a formula when it opens a CSV file.

    Source: OWASP, "CSV Injection": cells that begin with = + - @, tab or carriage return.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
