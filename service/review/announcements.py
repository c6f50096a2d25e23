"""Tells other systems and authorities what a concluded case demands of them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from service.auth.service import Actor
from service.notices.service import POPULATION_SYSTEM, NewNotice, NoticeKind, issue
from service.review import repository
from service.review.opinion import CaseState, Opinion
from service.review.rules import CaseFacts, DueNotice, notices_due
from service.tables import Case, Check


def announce(
    session: Session,
    case: Case,
    opinions: Sequence[Opinion],
    *,
    facts: CaseFacts,
    due_days: int,
    actor: Actor,
) -> None:
    """Issue the notices that follow from what the case has become; none while it is open.

    Args:
        session: The transaction of the decision.
        case: As it stands after the decision.
        opinions: The first and, if there is one, the second.
        facts: The case as the rules know it.
        due_days: Days until a notice is overdue.
        actor: Who decided.
    """
    check = repository.check_of(session, case)
    same_person = frozenset[str]().union(*(opinion.same_person for opinion in opinions))
    one_person = sorted(same_person | ({facts.subject} if facts.subject is not None else set()))
    for due in notices_due(CaseState(case.state), opinions, facts):
        new = NewNotice(
            kind=due.kind,
            recipient=_recipient(session, case, due),
            case_id=case.id,
            check_id=case.check_id,
            transaction_id=check.transaction_id if check is not None else None,
            person_id=due.person_id,
            payload=_payload(due, check, one_person),
        )
        issue(session, new, due_days=due_days, actor=actor)


def _recipient(session: Session, case: Case, due: DueNotice) -> str:
    """The population system, or the authority that holds a registration.

    Where the registration is gone or names no division, the authority of the transaction has to find out.
    """
    if due.kind is not NoticeKind.CANCEL_REQUEST or due.person_id is None:
        return POPULATION_SYSTEM
    person = repository.person_by_id(session, due.person_id)
    return (person.division_code if person is not None else None) or case.division_code


def _payload(due: DueNotice, check: Check | None, one_person: list[str]) -> dict[str, Any]:
    match due.kind:
        case NoticeKind.RELEASE:
            return {"action": "release_transaction", "instruction": "proceed"} | _transaction(check)
        case NoticeKind.TERMINATE:
            return {
                "action": "stop_transaction",
                "instruction": "terminate",
                "registrations_of_one_person": one_person,
            } | _transaction(check)
        case NoticeKind.CANCEL_REQUEST:
            return {
                "action": "cancel_registration",
                "registration_to_cancel": due.person_id,
                "registrations_of_one_person": one_person,
            }
        case NoticeKind.LEVEL_CODE_CHANGE:
            return {
                "action": "change_level_code",
                "person_id": due.person_id,
                "level_code": due.level_code,
            }
    raise AssertionError(f"{due.kind} does not follow from a decision")


def _transaction(check: Check | None) -> dict[str, Any]:
    if check is None:
        return {}
    return {
        "transaction": {
            "id": check.transaction_id,
            "type": check.transaction_type,
            "authority": check.authority,
        }
    }
