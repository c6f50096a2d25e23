"""Notices: what the population system and other authorities are told."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, ForeignKey, String
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
    acknowledgement: Mapped[str | None] = mapped_column(String(2000))
