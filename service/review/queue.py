"""The officers' queue: their division's cases, oldest first, in pages that stay where they are."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from service.auth.service import Actor, Role, division_prefix
from service.errors import InvalidRequestError
from service.review import repository
from service.review.answers import CaseCounts, CasePage
from service.review.opinion import OPEN_STATES, CaseState
from service.review.repository import CaseFilter, StateCount
from service.review.schemas import QueueQuery
from service.review.views import case_summary
from service.tables import Case


def list_cases(session: Session, query: QueueQuery, *, actor: Actor) -> CasePage:
    """Return a page of the officer's own division's cases, with counts.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        InvalidRequestError: `after` is not what a page before gave.
    """
    actor.require_role(Role.OFFICER, Role.SUPERVISOR)
    wanted = CaseFilter(
        within=_within(actor, query.division),
        states=query.state or OPEN_STATES,
        kind=query.kind,
        claimed_by=actor.id if query.mine else None,
        escalated=query.escalated,
    )
    after = read_cursor(query.after) if query.after is not None else None
    rows = repository.queue_page(session, wanted, after=after, limit=query.limit + 1)
    shown = rows[: query.limit]
    counts = repository.count_by_state(session, replace(wanted, states=()), officer_id=actor.id)
    return CasePage(
        items=[case_summary(row, actor=actor) for row in shown],
        counts=_counts(counts),
        next=cursor_of(shown[-1].case) if len(rows) > query.limit else None,
    )


def _within(actor: Actor, division: str | None) -> tuple[str, ...]:
    own = division_prefix(actor.division_code or "")
    return (own,) if division is None else (own, division_prefix(division))


def _counts(counts: list[StateCount]) -> CaseCounts:
    found = {CaseState(count.state): count for count in counts}
    open_ = [found[state] for state in OPEN_STATES if state in found]
    return CaseCounts(
        states={state: found[state].cases if state in found else 0 for state in CaseState},
        mine=sum(count.mine for count in open_),
        escalated=sum(count.escalated for count in open_),
    )


def cursor_of(case: Case) -> str:
    """Return the place behind a case, as text that callers hand back unread."""
    place = f"{case.opened_at.isoformat()} {case.id.hex}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return the place that a cursor stands for.

    Raises:
        InvalidRequestError: It is not one of ours.
    """
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        opened_at, _, case_id = place.decode("ascii").partition(" ")
        moment = datetime.fromisoformat(opened_at)
        if moment.tzinfo is None:
            raise ValueError("a place in the queue needs a time zone")
        found = moment.astimezone(UTC), UUID(hex=case_id)
    except (ValueError, OverflowError):  # binascii.Error is a ValueError.
        fault = {
            "field": "after",
            "message": "is not a place in the queue",
            "remedy": "send 'next' of the page before, or leave it out",
        }
        raise InvalidRequestError("See 'errors' for each field.", errors=[fault]) from None
    return found
