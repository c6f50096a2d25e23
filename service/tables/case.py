"""Cases, their candidates, and what officers decided."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from service.tables.base import Base, BigKey, UtcDateTime, now


class Case(Base):
    """Candidates that officers must examine; `revision` settles races between them.

    A case is open exactly while `closed_at` is empty. The index of open cases holds all that the queue
    is ordered, filtered and counted by, and nothing of the many closed ones; `closed_at` itself is in it
    because SQLite would else look every row up. No index leads with the state of open cases: SQLite
    would take it, and sort them all for one page.
    """

    __tablename__ = "cases"
    __table_args__ = (
        Index(
            "ix_cases_closed",
            "state",
            "division_code",
            "opened_at",
            sqlite_where=text("closed_at IS NOT NULL"),
            postgresql_where=text("closed_at IS NOT NULL"),
        ),
        Index(
            "ix_cases_open",
            "urgency",
            "opened_at",
            "id",
            "division_code",
            "state",
            "escalated",
            "claimed_by",
            "kind",
            "transaction_type",
            "closed_at",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[str] = mapped_column(String(16), default="transaction")
    check_id: Mapped[UUID | None] = mapped_column(ForeignKey("checks.id"), unique=True)
    subject_person_id: Mapped[str | None] = mapped_column(String(64), index=True)
    division_code: Mapped[str] = mapped_column(String(12))
    state: Mapped[str] = mapped_column(String(32), default="under_review")
    escalated: Mapped[bool] = mapped_column(default=False)
    round: Mapped[int] = mapped_column(default=1)
    revision: Mapped[int] = mapped_column(default=1)
    urgency: Mapped[int] = mapped_column(default=0)
    transaction_type: Mapped[str | None] = mapped_column(String(64))
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    claimed_by: Mapped[UUID | None] = mapped_column(ForeignKey("officers.id"))
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    candidates: Mapped[list["CaseCandidate"]] = relationship(
        cascade="all, delete-orphan", order_by="CaseCandidate.rank", lazy="selectin"
    )
    decisions: Mapped[list["Decision"]] = relationship(
        cascade="all, delete-orphan", order_by="Decision.id", lazy="selectin"
    )


class CaseCandidate(Base):
    """One person returned for examination, with the figures that were stated then."""

    __tablename__ = "case_candidates"
    __table_args__ = (UniqueConstraint("case_id", "rank"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    rank: Mapped[int]
    person_id: Mapped[str] = mapped_column(String(64), index=True)
    person_key: Mapped[int] = mapped_column(BigInteger)
    reference_id: Mapped[int] = mapped_column(BigInteger)
    gallery: Mapped[str] = mapped_column(String(16))
    score: Mapped[float]
    false_alarm_rate: Mapped[float]
    false_alarm_low: Mapped[float]
    false_alarm_high: Mapped[float]
    extrapolated: Mapped[bool] = mapped_column(default=False)


class Decision(Base):
    """What one officer recorded in one round: the first or the second opinion, or a reopening.

    `manual_conclusion`, with `reason` and `evidence`, stands where there were no candidates to
    conclude on; a reopening ends its round and holds only a `reason`.
    """

    __tablename__ = "decisions"
    __table_args__ = (UniqueConstraint("case_id", "round", "stage"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    round: Mapped[int]
    stage: Mapped[str] = mapped_column(String(8))
    officer_id: Mapped[UUID] = mapped_column(ForeignKey("officers.id"))
    registrations_to_cancel: Mapped[list[str]] = mapped_column(JSON, default=list)
    identity_established: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    manual_conclusion: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(2000))
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    conclusions: Mapped[list["Conclusion"]] = relationship(cascade="all, delete-orphan", lazy="selectin")


class Conclusion(Base):
    """One officer's conclusion on one candidate, with the reason and the evidence."""

    __tablename__ = "conclusions"

    decision_id: Mapped[int] = mapped_column(ForeignKey("decisions.id", ondelete="CASCADE"), primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("case_candidates.id"), primary_key=True)
    conclusion: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(2000))
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
