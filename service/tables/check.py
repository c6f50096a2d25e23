"""Checks and the searches that they made."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, relationship

from service.tables.base import Base, UtcDateTime, now


def _authority_region(context: DefaultExecutionContext) -> str:
    """Count a check where its authority is, unless the subject's own division is known."""
    values = context.get_current_parameters()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    return str(values["authority"])[:6]


class Check(Base):
    """One transaction's check, as answered; only `withdrawn_at` and the probe change later.

    `region` is where the monthly table counts it: the first six digits of the subject's division
    at that time, else of the authority.
    """

    __tablename__ = "checks"
    __table_args__ = (Index("ix_checks_counting", "outcome", "region", "created_at", "person_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    transaction_id: Mapped[str] = mapped_column(String(128), unique=True)
    transaction_type: Mapped[str] = mapped_column(String(64))
    authority: Mapped[str] = mapped_column(String(12), index=True)
    region: Mapped[str] = mapped_column(String(6), default=_authority_region, server_default="")
    fingerprint: Mapped[str] = mapped_column(String(64))
    person_id: Mapped[str | None] = mapped_column(String(64), index=True)
    outcome: Mapped[str] = mapped_column(String(16))
    instruction: Mapped[str] = mapped_column(String(8))
    reasons: Mapped[list[str]] = mapped_column(JSON, default=list)
    quality: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    pack: Mapped[str] = mapped_column(String(128))
    contract_id: Mapped[str] = mapped_column(String(64))
    probe_location: Mapped[str | None] = mapped_column(String(128))
    probe_format: Mapped[str | None] = mapped_column(String(8))
    probe_landmarks: Mapped[list[list[float]] | None] = mapped_column(JSON)
    timings_ms: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    client: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    searches: Mapped[list["CheckSearch"]] = relationship(
        cascade="all, delete-orphan", order_by="CheckSearch.gallery", lazy="selectin"
    )


class CheckSearch(Base):
    """One gallery searched for one check: exactly what stood behind the answer."""

    __tablename__ = "check_searches"

    check_id: Mapped[UUID] = mapped_column(ForeignKey("checks.id", ondelete="CASCADE"), primary_key=True)
    gallery: Mapped[str] = mapped_column(String(16), primary_key=True)
    generation: Mapped[str] = mapped_column(String(64))
    position: Mapped[int] = mapped_column(BigInteger)
    persons: Mapped[int]
    references: Mapped[int]
    threshold: Mapped[float]
    calibration_id: Mapped[UUID] = mapped_column(ForeignKey("calibration_records.id"))
    best_score: Mapped[float | None]
    fpir: Mapped[float]
    fpir_low: Mapped[float]
    fpir_high: Mapped[float]
    fpir_n: Mapped[int]
