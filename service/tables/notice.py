"""Notices: what the population system and other authorities are told."""

from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, BigKey, UtcDateTime, now


class Notice(Base):
    """One outgoing notice; `sequence` is the order in which a receiver must apply them."""

    __tablename__ = "notices"
    __table_args__ = {"sqlite_autoincrement": True}

    sequence: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    id: Mapped[UUID] = mapped_column(unique=True, default=uuid4)
    kind: Mapped[str] = mapped_column(String(32))
    recipient: Mapped[str] = mapped_column(String(32), index=True)
    case_id: Mapped[UUID] = mapped_column(index=True)
    check_id: Mapped[UUID | None] = mapped_column(index=True)
    transaction_id: Mapped[str | None] = mapped_column(String(128))
    person_id: Mapped[str | None] = mapped_column(String(64), index=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    reverses_id: Mapped[UUID | None] = mapped_column(ForeignKey("notices.id"), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_by: Mapped[str | None] = mapped_column(String(64))
    acknowledged_on: Mapped[date | None]
    acknowledged_via: Mapped[str | None] = mapped_column(String(16))
    acknowledgement: Mapped[str | None] = mapped_column(String(2000))


class NoticeTarget(Base):
    """A receiver of webhooks; `position` is the last sequence number that its queue has taken in."""

    __tablename__ = "notice_targets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    added_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class NoticeDelivery(Base):
    """One notice on its way to one target.

    Deliveries of one `lane` (a transaction, else a case) go one after another, by `sequence`. Whoever
    sends holds a lease: `leased_by` until `leased_until`, so that no two processes send the same one.
    """

    __tablename__ = "notice_deliveries"
    __table_args__ = (
        UniqueConstraint("sequence", "target"),
        Index("ix_notice_deliveries_due", "target", "state", "next_at"),
        Index("ix_notice_deliveries_lane", "target", "lane", "sequence"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    sequence: Mapped[int] = mapped_column(ForeignKey("notices.sequence", ondelete="CASCADE"))
    target: Mapped[str] = mapped_column(String(32))
    lane: Mapped[str] = mapped_column(String(160))
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    give_up_at: Mapped[datetime] = mapped_column(UtcDateTime)
    leased_by: Mapped[str | None] = mapped_column(String(32))
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_outcome: Mapped[str | None] = mapped_column(String(32))
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
