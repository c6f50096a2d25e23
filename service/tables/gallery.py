"""The order of committed gallery changes, and what each calibration found."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, BigKey, UtcDateTime, now


class GalleryHead(Base):
    """The last position of each gallery; writers lock the row, so positions commit in order.

    `epoch` is random and made with the database, so that a generation made from another
    database is never taken for a copy of this one.
    """

    __tablename__ = "gallery_heads"

    gallery: Mapped[str] = mapped_column(String(16), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, default=0)
    epoch: Mapped[str] = mapped_column(String(32))


class GalleryChange(Base):
    """One reference enrolled into or removed from one gallery."""

    __tablename__ = "gallery_changes"

    gallery: Mapped[str] = mapped_column(String(16), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(8))
    reference_id: Mapped[int] = mapped_column(BigInteger)
    person_key: Mapped[int] = mapped_column(BigInteger)


class PackSwitch(Base):
    """One activation of a pack's generations, which every running service takes over.

    It holds as long as `ONEPERSON_PACK` says what it said then (`configured`); packs are named as that
    setting names them. A rollback is one more switch, and says which one it takes back.
    """

    __tablename__ = "pack_switches"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    configured: Mapped[str] = mapped_column(String(1024))
    pack: Mapped[str] = mapped_column(String(1024))
    contract_id: Mapped[str] = mapped_column(String(64))
    pack_before: Mapped[str] = mapped_column(String(1024))
    contract_before: Mapped[str] = mapped_column(String(64))
    undoes: Mapped[int | None] = mapped_column(BigInteger)


class CalibrationRecord(Base):
    """One dated calibration of one gallery with one pack; checks name the record they used."""

    __tablename__ = "calibration_records"
    __table_args__ = (Index("ix_calibration_records_latest", "gallery", "contract_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    gallery: Mapped[str] = mapped_column(String(16))
    contract_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    method: Mapped[str] = mapped_column(String(16))
    persons: Mapped[int]
    target_fpir: Mapped[float]
    threshold: Mapped[float]
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
