"""The follow-up register of flagged persons: changes of the flag, present standing, visits."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, BigKey, UtcDateTime, now


class PersonFlagEvent(Base):
    """One change that the monthly table counts; written with the change itself, never updated.

    `month` is the Beijing month of `at`; `region` the first six digits of the person's division
    at that time, empty when none is known; `case_id` the case that established an identity.
    """

    __tablename__ = "person_flag_events"
    __table_args__ = (
        Index("ix_person_flag_events_counting", "month", "region", "kind"),
        Index("ix_person_flag_events_person", "person_id", "month", "kind"),
        Index("ix_person_flag_events_kind", "kind", "person_id", "month", "region"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    person_id: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    region: Mapped[str] = mapped_column(String(6))
    month: Mapped[str] = mapped_column(String(7))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    case_id: Mapped[UUID | None]


class RegisterEntry(Base):
    """One person who is or was flagged; `left_as` says how the flag ended, None while it stands.

    `next_visit_on` and `visited_on` repeat the latest visit, so that overdue ones are found at once.
    """

    __tablename__ = "register_entries"
    __table_args__ = (
        Index("ix_register_entries_list", "division_code", "person_id", "left_as", "next_visit_on"),
    )

    person_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    division_code: Mapped[str] = mapped_column(String(12))
    flagged_at: Mapped[datetime] = mapped_column(UtcDateTime)
    left_as: Mapped[str | None] = mapped_column(String(16))
    left_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    visited_on: Mapped[date | None]
    next_visit_on: Mapped[date | None]


class Visit(Base):
    """One visit as an officer recorded it, never updated; a correction is a visit of its own."""

    __tablename__ = "visits"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    person_id: Mapped[str] = mapped_column(String(64), index=True)
    visited_on: Mapped[date]
    place: Mapped[str] = mapped_column(String(200))
    visitors: Mapped[str] = mapped_column(String(200))
    found: Mapped[str] = mapped_column(String(2000))
    next_visit_on: Mapped[date | None]
    corrects_id: Mapped[int | None] = mapped_column(ForeignKey("visits.id"), unique=True)
    correction_reason: Mapped[str | None] = mapped_column(String(500))
    officer_id: Mapped[UUID] = mapped_column(ForeignKey("officers.id"))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
