"""The record of who did what, to whom, why and with what result."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, BigKey, UtcDateTime, now


class AuditEvent(Base):
    """One event, a link of the chain; never updated, and removed only into an archive.

    `id` is its number in the chain: 1, 2, 3 … in the order of the commits, without gaps. Its columns are
    empty only in events of versions before the chain, until the first start afterwards.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_kind", "kind", "id"),
        Index("ix_audit_events_actor", "actor", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    kind: Mapped[str] = mapped_column(String(32))
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    role: Mapped[str | None] = mapped_column(String(16))
    division_code: Mapped[str | None] = mapped_column(String(12))
    purpose: Mapped[str | None] = mapped_column(String(160), index=True)
    subject: Mapped[str | None] = mapped_column(String(160), index=True)
    result: Mapped[str] = mapped_column(String(32), default="done")
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    request_id: Mapped[str | None] = mapped_column(String(36))
    key_tag: Mapped[str | None] = mapped_column(String(24))
    previous_mac: Mapped[str | None] = mapped_column(String(64))
    mac: Mapped[str | None] = mapped_column(String(64))


class AuditHead(Base):
    """The end of the chain, one row; locked last in every transaction that records something."""

    __tablename__ = "audit_heads"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    chain_id: Mapped[str | None] = mapped_column(String(32))
    sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    mac: Mapped[str | None] = mapped_column(String(64))
    key_tag: Mapped[str | None] = mapped_column(String(24))


class AuditArchive(Base):
    """What stands in the chain for events that were moved into a file."""

    __tablename__ = "audit_archives"

    last: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(BigInteger)
    previous_mac: Mapped[str] = mapped_column(String(64))
    last_mac: Mapped[str] = mapped_column(String(64))
    file: Mapped[str] = mapped_column(String(255))
    file_sha256: Mapped[str] = mapped_column(String(64))
    archived_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    key_tag: Mapped[str] = mapped_column(String(24))
    next_key_tag: Mapped[str] = mapped_column(String(24))
    mac: Mapped[str] = mapped_column(String(64))
