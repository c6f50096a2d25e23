"""Queries for checks."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.tables import CalibrationRecord, Case, Check, now


def by_transaction(session: Session, transaction_id: str) -> Check | None:
    """Find the check of a transaction."""
    return session.scalar(select(Check).where(Check.transaction_id == transaction_id))


def by_id(session: Session, check_id: UUID) -> Check | None:
    """Find a check."""
    return session.get(Check, check_id)


def case_of(session: Session, check_id: UUID) -> Case | None:
    """Find the case that a check opened."""
    return session.scalar(select(Case).where(Case.check_id == check_id))


class Calibrated(NamedTuple):
    """What a check's caller is told of a calibration record; its document is large."""

    id: UUID
    method: str
    created_at: datetime


def calibrations(session: Session, check: Check) -> dict[UUID, Calibrated]:
    """Return the calibration records that a check used."""
    ids = [search.calibration_id for search in check.searches]
    if not ids:
        return {}
    query = select(CalibrationRecord.id, CalibrationRecord.method, CalibrationRecord.created_at)
    rows = session.execute(query.where(CalibrationRecord.id.in_(ids)))
    return {row.id: Calibrated(*row) for row in rows}


def withdraw_if_open(session: Session, check_id: UUID) -> bool:
    """Mark a check as withdrawn unless it is already; tell whether this call did it."""
    marked = (
        update(Check)
        .where(Check.id == check_id, Check.withdrawn_at.is_(None))
        .values(withdrawn_at=now())
        .returning(Check.id)
    )
    return session.execute(marked).first() is not None
