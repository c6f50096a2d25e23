"""Keeps ranks, scores and rates from an officer who has not looked at the portraits yet.

A number seen first is a judgement made first. Where the operator wishes it, an officer sees the candidates of
an open case in an order that says nothing, and the figures only after saying that they have looked.
"""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.review.access import visible_case
from service.review.opinion import OPEN_STATES
from service.tables import Case, CaseLook, Draft


def awaits_look(session: Session, case: Case, *, actor: Actor) -> bool:
    """Tell whether an officer has yet to look at an open case's candidates in this round.

    A draft or a decision of theirs shows that they have; a case without candidates has nothing to hide.
    """
    if case.state not in OPEN_STATES or not case.candidates:
        return False
    if any(one.officer_id == actor.id and one.round == case.round for one in case.decisions):
        return False
    return not (_look(session, case, actor) or _has_draft(session, case, actor))


def note_look(session: Session, case_id: UUID, *, actor: Actor) -> Case:
    """Record that an officer has looked; again is the same.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division.
    """
    case = visible_case(session, case_id, actor=actor)
    if not awaits_look(session, case, actor=actor):
        return case
    try:
        with session.begin_nested():
            session.add(CaseLook(case_id=case.id, round=case.round, officer_id=actor.id))
    except IntegrityError:
        return case  # The same officer pressed in two windows at once.
    record(session, AuditKind.SCORES_OPENED, actor=actor, subject=f"case:{case_id}", round=case.round)
    return case


def neutral_order(case_id: UUID, officer: str, person_ids: Sequence[str]) -> list[str]:
    """Put candidates in an order that is the same at every look, differs by officer, and hides the rank."""
    return sorted(person_ids, key=lambda person_id: _place(case_id, officer, person_id))


def _place(case_id: UUID, officer: str, person_id: str) -> bytes:
    return hashlib.sha256(f"{case_id} {officer} {person_id}".encode()).digest()


def _look(session: Session, case: Case, actor: Actor) -> bool:
    return session.get(CaseLook, (case.id, case.round, actor.id)) is not None


def _has_draft(session: Session, case: Case, actor: Actor) -> bool:
    query = select(Draft.case_id).where(Draft.case_id == case.id, Draft.officer_id == actor.id)
    return session.scalar(query) is not None
