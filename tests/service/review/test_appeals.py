"""Appeals: recorded against decided cases, taken up by reopening or dismissed, each once."""

from datetime import timedelta
from functools import partial

import pytest

from service.auth.service import Role
from service.database import Database
from service.errors import CaseStateError, ForbiddenError, InvalidRequestError, NotFoundError
from service.notices.service import notices_of_case
from service.review.appeals import NewAppeal, appeal, appeals_of, dismiss_appeal
from service.review.decisions import decide
from service.review.service import reopen
from service.tables import now
from tests.service.review.desk import CLEARING, POLICY, add_case, officer
from tests.service.review.test_races import at_once

TODAY = now().date()
OBJECTION = NewAppeal("李芳", TODAY - timedelta(days=1), "A birth record was found.")


def test_reopening_takes_up_the_appeals_and_reverses_the_notices(database: Database) -> None:
    with database.write() as session:
        case, zhang, chief = add_case(session), officer(session), officer(session, role=Role.SUPERVISOR)
        with pytest.raises(CaseStateError):
            appeal(session, case.id, new=OBJECTION, actor=zhang)
        decide(session, case.id, opinion=CLEARING, actor=zhang, policy=POLICY)
        revision = case.revision
        appeal(session, case.id, new=OBJECTION, actor=zhang, expected_revision=revision)
        assert (case.state, case.revision) == ("cleared", revision)
        (pending,) = appeals_of(session, case.id)
        assert (pending.state, pending.appellant, pending.round) == ("pending", "李芳", 1)
        reopen(session, case.id, reason="The record is new.", actor=chief, policy=POLICY)
        (answered,) = appeals_of(session, case.id)
        assert (answered.state, answered.answered_by) == ("taken_up", chief.id)
        assert [notice.kind for notice in notices_of_case(session, case.id)] == ["release", "reversal"]


def test_only_a_supervisor_dismisses_an_appeal_and_only_once(database: Database) -> None:
    with database.write() as session:
        case, zhang, chief = add_case(session), officer(session), officer(session, role=Role.SUPERVISOR)
        decide(session, case.id, opinion=CLEARING, actor=zhang, policy=POLICY)
        appeal(session, case.id, new=OBJECTION, actor=zhang)
        (pending,) = appeals_of(session, case.id)
        other = add_case(session)
        with pytest.raises(ForbiddenError):
            dismiss_appeal(session, case.id, pending.id, reason="No.", actor=zhang)
        with pytest.raises(NotFoundError):
            dismiss_appeal(session, other.id, pending.id, reason="No.", actor=chief)
        dismiss_appeal(session, case.id, pending.id, reason="It concerns somebody else.", actor=chief)
        with pytest.raises(CaseStateError):
            dismiss_appeal(session, case.id, pending.id, reason="Again.", actor=chief)
        (answered,) = appeals_of(session, case.id)
        assert (answered.state, answered.answer) == ("dismissed", "It concerns somebody else.")
        assert [notice.kind for notice in notices_of_case(session, case.id)] == ["release"]


def test_an_appeal_of_tomorrow_is_refused(database: Database) -> None:
    with database.write() as session:
        case, zhang = add_case(session), officer(session)
        decide(session, case.id, opinion=CLEARING, actor=zhang, policy=POLICY)
        tomorrow = NewAppeal("李芳", TODAY + timedelta(days=2), "x")
        with pytest.raises(InvalidRequestError):
            appeal(session, case.id, new=tomorrow, actor=zhang)


def test_a_dismissal_and_a_reopening_at_once_answer_an_appeal_once(database: Database) -> None:
    with database.write() as session:
        case, chief = add_case(session), officer(session, role=Role.SUPERVISOR)
        decide(session, case.id, opinion=CLEARING, actor=officer(session), policy=POLICY)
        appeal(session, case.id, new=OBJECTION, actor=chief)
        (pending,) = appeals_of(session, case.id)
    ended = at_once(
        database,
        partial(dismiss_appeal, case_id=case.id, appeal_id=pending.id, reason="No.", actor=chief),
        partial(reopen, case_id=case.id, reason="New papers.", actor=chief, policy=POLICY),
    )
    assert ended in (["done", "done"], ["case-state", "done"])
    with database.read() as session:
        (answered,) = appeals_of(session, case.id)
        assert answered.state == ("dismissed" if ended == ["done", "done"] else "taken_up")
