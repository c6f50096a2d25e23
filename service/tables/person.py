"""Registrations, their portraits and the templates made from those."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from service.tables.base import Base, BigKey, UtcDateTime, now


class Person(Base):
    """One registration, as the population system last told it."""

    __tablename__ = "persons"
    __table_args__ = {"sqlite_autoincrement": True}

    key: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    person_id: Mapped[str] = mapped_column(String(64), unique=True)
    level_code: Mapped[str] = mapped_column(String(8))
    citizen_id_number: Mapped[str | None] = mapped_column(String(18), index=True)
    name: Mapped[str | None] = mapped_column(String(50))
    sex: Mapped[str | None] = mapped_column(String(1))
    birth_date: Mapped[date | None]
    ethnicity: Mapped[str | None] = mapped_column(String(2))
    division_code: Mapped[str | None] = mapped_column(String(12), index=True)
    category: Mapped[str | None] = mapped_column(String(2))
    father_id_number: Mapped[str | None] = mapped_column(String(18))
    mother_id_number: Mapped[str | None] = mapped_column(String(18))
    gallery: Mapped[str | None] = mapped_column(String(16), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, onupdate=now)

    portraits: Mapped[list["Portrait"]] = relationship(
        back_populates="person",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="Portrait.reference_id",
    )


class Portrait(Base):
    """One enrolled portrait; its key is the gallery's reference_id and is never used again."""

    __tablename__ = "portraits"
    __table_args__ = (UniqueConstraint("person_key", "sha256"), {"sqlite_autoincrement": True})

    reference_id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    person_key: Mapped[int] = mapped_column(ForeignKey("persons.key", ondelete="CASCADE"), index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    format: Mapped[str] = mapped_column(String(8))
    location: Mapped[str] = mapped_column(String(128))
    taken_on: Mapped[date | None]
    quality: Mapped[dict[str, Any]] = mapped_column(JSON)
    marks: Mapped[list[str]] = mapped_column(JSON)
    landmarks: Mapped[list[list[float]]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    person: Mapped[Person] = relationship(back_populates="portraits")


class Template(Base):
    """What one pack made of one portrait: float32, little-endian, L2 norm 1."""

    __tablename__ = "templates"

    reference_id: Mapped[int] = mapped_column(
        ForeignKey("portraits.reference_id", ondelete="CASCADE"), primary_key=True
    )
    contract_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
