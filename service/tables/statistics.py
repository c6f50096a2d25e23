"""Closed months: what was reported, in every version."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, UtcDateTime, now


class ClosedMonth(Base):
    """One version of a closed month; the first has no `reason`, every later one has."""

    __tablename__ = "closed_months"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    closed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    closed_by: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str | None] = mapped_column(String(500))


class ClosedMonthRow(Base):
    """One region's figures in one version of a closed month, never updated."""

    __tablename__ = "closed_month_rows"
    __table_args__ = (
        ForeignKeyConstraint(["month", "version"], ["closed_months.month", "closed_months.version"]),
        Index("ix_closed_month_rows_region", "level", "region", "month"),
    )

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    level: Mapped[str] = mapped_column(String(16), primary_key=True)
    region: Mapped[str] = mapped_column(String(6), primary_key=True)
    figures: Mapped[dict[str, Any]] = mapped_column(JSON)
