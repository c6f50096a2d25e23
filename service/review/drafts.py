"""Drafts: what an officer has typed on a case and not sent, kept so that nothing typed is lost.

A draft is its officer's alone: no query here finds one by anything but case *and* officer, and neither
supervisors nor the officer who concludes next are ever shown it. It is encrypted:
reasons are about persons.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.auth.service import Actor
from service.encryption.vault import vault_of
from service.review.access import visible_case
from service.tables import Draft, now

PURPOSE = "draft"
"""What a draft is sealed as; never changed."""


@dataclass(frozen=True, slots=True)
class SavedDraft:
    """A draft as it was typed.

    Attributes:
        fields: By the names of the form's fields.
        saved_at: When it was saved last.
    """

    fields: Mapping[str, str]
    saved_at: datetime


def save_draft(session: Session, case_id: UUID, *, fields: Mapping[str, str], actor: Actor) -> datetime:
    """Keep what an officer has typed, in whatever state the case is; the later of two savings stands.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division.
    """
    visible_case(session, case_id, actor=actor)
    plain = json.dumps(dict(fields), ensure_ascii=False).encode()
    content = vault_of(session).seal(PURPOSE, row_of_draft(case_id, actor.id), plain)
    stored, saved_at = _stored(session, case_id, actor), now()
    if stored is None:
        try:
            with session.begin_nested():
                session.add(Draft(case_id=case_id, officer_id=actor.id, content=content, saved_at=saved_at))
        except IntegrityError:  # Another tab of the same officer was first.
            stored = _stored(session, case_id, actor)
    if stored is not None:
        stored.content, stored.saved_at = content, saved_at
        session.flush()
    return saved_at


def draft_of(session: Session, case_id: UUID, *, actor: Actor) -> SavedDraft | None:
    """Return the officer's own draft on a case; whether they may see the case is the caller's matter."""
    stored = _stored(session, case_id, actor)
    if stored is None:
        return None
    plain = vault_of(session).open(PURPOSE, row_of_draft(case_id, actor.id), stored.content)
    return SavedDraft(json.loads(plain), stored.saved_at)


def drop_draft(session: Session, case_id: UUID, *, actor: Actor) -> None:
    """Forget the officer's own draft, because it was sent or is no longer wanted."""
    mine = (Draft.case_id == case_id, Draft.officer_id == actor.id)
    session.execute(delete(Draft).where(*mine).execution_options(synchronize_session=False))


def row_of_draft(case_id: UUID, officer_id: UUID | None) -> str:
    """Name the row that a draft is sealed for."""
    return f"{case_id} {officer_id}"


def _stored(session: Session, case_id: UUID, actor: Actor) -> Draft | None:
    query = select(Draft).where(Draft.case_id == case_id, Draft.officer_id == actor.id)
    return session.scalar(query.execution_options(populate_existing=True))
