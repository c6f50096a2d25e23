"""The record of who did what, to whom, why and with what result."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, BigKey, UtcDateTime, now


class AuditEvent(Base):
    """One event; written in the transaction of the change that it records, never updated."""

    __tablename__ = "audit_events"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    kind: Mapped[str] = mapped_column(String(32))
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    purpose: Mapped[str | None] = mapped_column(String(160))
    subject: Mapped[str | None] = mapped_column(String(160), index=True)
    result: Mapped[str] = mapped_column(String(32), default="done")
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    request_id: Mapped[str | None] = mapped_column(String(36))
