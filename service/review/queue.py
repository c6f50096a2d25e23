"""The officers' queue: their division's cases, the most urgent first, in pages that stay where they are."""

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor, Role, division_prefix
from service.errors import InvalidRequestError
from service.refusals import Refusal
from service.review import queue_repository, repository
from service.review.answers import CaseCounts, CasePage
from service.review.opinion import OPEN_STATES, CaseState
from service.review.queue_repository import CaseFilter, Place, StateCount
from service.review.schemas import NextQuery, QueueQuery
from service.review.views import case_summary
from service.tables import Case, now

MOST_ATTEMPTS = 20
"""Cases that may be lost to colleagues, one after the other, before "none" is answered; twenty in a row
means that the queue is being emptied."""

LARGEST_URGENCY = 99


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What the operator's settings say about the queue.

    Attributes:
        due_days: Days after its opening from which an open case is overdue.
        blind: Whether scores and rates of open cases are left out, see `service.review.first_look`.
    """

    due_days: float
    blind: bool = False

    def overdue_before(self) -> datetime:
        """Return when a case that becomes overdue now was opened."""
        return now() - timedelta(days=self.due_days)


def list_cases(
    session: Session, query: QueueQuery, *, actor: Actor, policy: QueuePolicy, count_closed: bool = True
) -> CasePage:
    """Return a page of the officer's own division's cases, with counts.

    Args:
        session: A view.
        query: Which cases.
        actor: Who asks.
        policy: From the settings.
        count_closed: Whether closed cases are counted, too; of those there are many more.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        InvalidRequestError: `after` is not what a page before gave.
    """
    actor.require_role(Role.OFFICER, Role.SUPERVISOR)
    states = frozenset(query.state) or OPEN_STATES
    overdue_before = policy.overdue_before()
    wanted = CaseFilter(
        within=_within(actor, query.division),
        states=sorted(states),
        kind=query.kind,
        transaction_type=query.transaction_type,
        claimed_by=actor.id if query.mine else None,
        escalated=query.escalated,
        opened_before=overdue_before if query.overdue else None,
    )
    only_open = states <= OPEN_STATES
    after = read_cursor(query.after) if query.after is not None else None
    rows = queue_repository.queue_page(
        session, wanted, only_open=only_open, after=after, limit=query.limit + 1
    )
    shown = rows[: query.limit]
    counts = queue_repository.count_by_state(
        session,
        replace(wanted, states=()),
        officer_id=actor.id,
        overdue_before=overdue_before,
        only_open=not count_closed,
    )
    return CasePage(
        items=[
            case_summary(row, actor=actor, overdue_before=overdue_before, blind=policy.blind) for row in shown
        ],
        counts=_counts(counts),
        next=cursor_of(shown[-1].case) if len(rows) > query.limit else None,
    )


def claim_next(session: Session, query: NextQuery, *, actor: Actor, policy: QueuePolicy) -> Case | None:
    """Claim the most urgent unclaimed case that this officer may work on; None when there is none.

    Left out are cases that officers disagreed on, except for supervisors, and cases that wait for a
    second opinion when the first one is this officer's.

    Args:
        session: A transaction.
        query: Among which cases.
        actor: Who wants one.
        policy: From the settings.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
    """
    actor.require_role(Role.OFFICER, Role.SUPERVISOR)
    if actor.id is None:
        raise AssertionError("unreachable: an officer has an account")
    if query.escalated and actor.role is not Role.SUPERVISOR:
        return None
    wanted = CaseFilter(
        within=_within(actor, query.division),
        states=sorted(frozenset(query.state) & OPEN_STATES or OPEN_STATES),
        kind=query.kind,
        transaction_type=query.transaction_type,
        escalated=query.escalated if actor.role is Role.SUPERVISOR else False,
        opened_before=policy.overdue_before() if query.overdue else None,
    )
    skipped: list[UUID] = []
    for _attempt in range(MOST_ATTEMPTS):
        case = queue_repository.next_unclaimed(session, wanted, officer_id=actor.id, skipped=skipped)
        if case is None:
            return None
        if repository.move_if_unchanged(session, case, {"claimed_by": actor.id, "claimed_at": now()}):
            record(session, AuditKind.CASE_CLAIMED, actor=actor, subject=f"case:{case.id}", round=case.round)
            return case
        skipped.append(case.id)
    return None


def _within(actor: Actor, division: str | None) -> tuple[str, ...]:
    own = division_prefix(actor.division_code or "")
    return (own,) if division is None else (own, division_prefix(division))


def _counts(counts: list[StateCount]) -> CaseCounts:
    found = {CaseState(count.state): count for count in counts}
    open_ = [found[state] for state in OPEN_STATES if state in found]
    return CaseCounts(
        states={state: found[state].cases if state in found else 0 for state in CaseState},
        mine=sum(count.mine for count in open_),
        unclaimed=sum(count.unclaimed for count in open_),
        escalated=sum(count.escalated for count in open_),
        overdue=sum(count.overdue for count in open_),
    )


def cursor_of(case: Case) -> str:
    """Return the place behind a case, as text that callers hand back unread."""
    place = f"{case.urgency} {case.opened_at.isoformat()} {case.id.hex}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """Return the place that a cursor stands for.

    Raises:
        InvalidRequestError: It is not one of ours.
    """
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        urgency, opened_at, case_id = place.decode("ascii").split(" ")
        moment = datetime.fromisoformat(opened_at)
        if moment.tzinfo is None or not 0 <= int(urgency) <= LARGEST_URGENCY:
            raise ValueError("a place in the queue needs a time zone and an urgency")
        found = Place(int(urgency), moment.astimezone(UTC), UUID(hex=case_id))
    except (ValueError, OverflowError):  # binascii.Error is a ValueError.
        raise InvalidRequestError.told(Refusal("no-place", field="after")) from None
    return found
