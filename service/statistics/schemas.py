"""Wire shapes of the monthly table."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from service.codes import Codes
from service.months import Month
from service.statistics.figures import FigureRow, Level
from service.statistics.labels import Labels
from service.statistics.service import MonthlyTable


def _check_month(text: str) -> str:
    Month.parse(text)
    return text


class Model(BaseModel):
    """Base of these shapes: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MonthlyQuery(Model):
    """What is asked for."""

    month: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}$"), AfterValidator(_check_month)] = (
        Field(description="Beijing month, YYYY-MM.", examples=["2026-10"])
    )
    format: Literal["json", "csv", "xlsx"] = Field("json", description="Form of the answer.")
    version: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        description="A closed version; 0 for a fresh count. Default: the latest, else a fresh count.",
    )
    encoding: Literal["utf-8", "gb18030"] = Field("utf-8", description="Of CSV.")
    bom: bool = Field(False, description="Whether CSV in UTF-8 begins with a byte order mark.")


class VersionAnswer(Model):
    """One closed version of a month."""

    version: int
    closed_at: datetime
    closed_by: str = Field(description="Login, or `system`.")
    reason: str | None = Field(description="Why it was restated; null for the first version.")


class RowAnswer(Model):
    """One region's figures; `docs/statistics.md` defines the columns."""

    level: Level = Field(description="`total`, `prefecture` or `county`.")
    division_code: str | None = Field(description="Null for the total and for persons without a division.")
    division_name: str = Field(description="In the caller's language; the code where no name is known.")
    month: dict[str, int] = Field(description="Figures of the month by column.")
    cumulative: dict[str, int] = Field(description="Figures from the beginning to the month's end.")
    cases_closed: int = Field(description="Cases that officers concluded in the month.")
    waiting_median_h: float | None = Field(description="Median hours from their opening to conclusion.")
    balanced: bool = Field(description="Whether start, arrivals, departures and end agree.")

    @classmethod
    def of(cls, row: FigureRow, labels: Labels) -> "RowAnswer":
        """Show one row."""
        return cls(
            level=row.level,
            division_code=row.region or None,
            division_name=labels.region(row),
            month=dict(row.month),
            cumulative=dict(row.cumulative),
            cases_closed=row.closed,
            waiting_median_h=row.waiting_h,
            balanced=row.balanced,
        )


class MonthlyAnswer(Model):
    """One month's table."""

    month: str = Field(examples=["2026-10"])
    version: int | None = Field(description="The closed version shown; null for a fresh count.")
    versions: list[VersionAnswer] = Field(description="All closed versions, oldest first.")
    balanced: bool = Field(description="Whether every row balances.")
    follows: bool | None = Field(
        description="Whether the start is the closed end of the month before; null when that is not closed."
    )
    rows: list[RowAnswer]

    @classmethod
    def of(cls, table: MonthlyTable, codes: Codes, language: str) -> "MonthlyAnswer":
        """Show a table."""
        labels = Labels(language, codes)
        return cls(
            month=str(table.month),
            version=table.version.number if table.version is not None else None,
            versions=[
                VersionAnswer(version=v.number, closed_at=v.closed_at, closed_by=v.closed_by, reason=v.reason)
                for v in table.versions
            ],
            balanced=table.balanced,
            follows=table.follows,
            rows=[RowAnswer.of(row, labels) for row in table.rows],
        )
