"""Queries for the state of encryption and its wrapped data keys."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service.tables import Attachment, Check, DataKey, EncryptionState, Portrait, Template, now

STATE_ID = 1
"""The state is one row."""


def state(session: Session, *, lock: bool = False) -> EncryptionState | None:
    """Return the state, None before the first start; locked until the transaction ends if asked."""
    query = select(EncryptionState).where(EncryptionState.id == STATE_ID)
    return session.scalar(query.with_for_update() if lock else query)


def data_keys(session: Session) -> Sequence[DataKey]:
    """List all data keys."""
    return session.scalars(select(DataKey).order_by(DataKey.number)).all()


def data_key(session: Session, number: int) -> DataKey | None:
    """Find a data key."""
    return session.get(DataKey, number)


def wrapped_by_others(session: Session, master_key_id: str, *, limit: int) -> Sequence[DataKey]:
    """List data keys that another master key wraps, and lock them."""
    query = (
        select(DataKey)
        .where(DataKey.master_key_id != master_key_id)
        .order_by(DataKey.number)
        .limit(limit)
        .with_for_update()
    )
    return session.scalars(query).all()


def uses_by_master(session: Session) -> dict[str, int]:
    """Count the data keys that each master key wraps."""
    rows = session.execute(select(DataKey.master_key_id, func.count()).group_by(DataKey.master_key_id))
    return {master: count for master, count in rows}  # noqa: C416 - typed rows


def highest(session: Session) -> int:
    """Return the number of the newest data key, 0 where there is none."""
    return session.scalar(select(func.max(DataKey.number))) or 0


def retire_up_to(session: Session, number: int) -> None:
    """Let no data key up to this one seal any more; each stays for opening."""
    older = update(DataKey).where(DataKey.number <= number, DataKey.retired_at.is_(None))
    session.execute(older.values(retired_at=now()))


def holds_biometrics(session: Session) -> bool:
    """Tell whether any portrait, template or probe is stored."""
    wanted = (
        select(Portrait.reference_id),
        select(Template.reference_id),
        select(Check.id).where(Check.probe_location.is_not(None)),
    )
    return any(session.execute(query.limit(1)).first() is not None for query in wanted)


def points_to_files(session: Session, kind: str) -> bool:
    """Tell whether any record points to a file of a store.

    Args:
        session: A view.
        kind: `portrait` (which holds probes, too) or `evidence`.
    """
    if kind == "evidence":
        return session.scalar(select(Attachment.id).limit(1)) is not None
    probe = select(Check.id).where(Check.probe_location.is_not(None)).limit(1)
    return any(session.scalar(query) is not None for query in (select(Portrait.reference_id).limit(1), probe))
