"""What officers are shown: masked numbers, erased registrations, nothing that could lead a second officer."""

import pytest

from service.auth.service import Role
from service.database import Database
from service.review.decisions import confirm, decide
from service.review.opinion import CaseKind
from service.review.service import NewCase, claim, open_case, reopen
from service.review.views import case_view, masked
from tests.service.review.desk import (
    AGREEING,
    CLEARING,
    DISAGREEING,
    DIVISION,
    POLICY,
    SUSPECTING,
    add_case,
    add_check,
    add_person,
    by_hand,
    established,
    new_candidate,
    officer,
    opinion,
)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("11010519491231002X", "110105********002X"),
        ("110105491231002", "110105*****1002"),
        ("12345678901", "123456*8901"),
        ("1234567890", "**********"),
        ("12", "**"),
        (None, None),
    ],
)
def test_the_middle_of_an_id_number_is_hidden(number: str | None, shown: str | None) -> None:
    assert masked(number) == shown


def test_registrations_are_shown_masked_and_erased_ones_by_key_only(database: Database) -> None:
    with database.write() as session:
        add_person(session, "P-subject", level_code="30")
        kept = add_person(session, "P-kept")
        gone = add_person(session, "P-gone")
        new = NewCase(
            division_code=DIVISION,
            check_id=add_check(session).id,
            subject_person_id="P-subject",
            candidates=[
                new_candidate(1, "P-kept", person_key=kept.key),
                new_candidate(2, "P-gone", person_key=gone.key),
            ],
        )
        case = open_case(session, new)
        session.delete(gone)
        session.flush()
        add_person(session, "P-gone")  # Stored anew under the same name: another registration.
        shown = case_view(session, case, actor=officer(session))
        assert shown.subject is not None
        assert shown.subject.citizen_id_number_masked == "110105********002X"
        assert (shown.subject.level_code, shown.subject.erased) == ("30", False)
        first, second = shown.candidates
        assert (first.registration.name, first.registration.division_code) == ("张三", "530302")
        assert first.false_alarm_rate == 0.0005
        assert second.registration.model_dump(exclude_none=True) == {"person_id": "P-gone", "erased": True}
        assert "19491231" not in shown.model_dump_json()


def test_a_case_without_a_stored_subject_is_shown(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        unknown = case_view(session, add_case(session, subject=None), actor=actor)
        assert unknown.subject is None
        erased = case_view(session, add_case(session, subject="P-erased"), actor=actor)
        assert erased.subject is not None
        assert erased.subject.erased
        sweep = case_view(session, add_case(session, kind=CaseKind.SWEEP), actor=actor)
        assert (sweep.transaction, sweep.searches, sweep.check_id) == (None, [], None)
        by_officers = case_view(session, add_case(session, [], kind=CaseKind.NOT_SEARCHABLE), actor=actor)
        assert (by_officers.reasons, by_officers.candidates) == (["no_face"], [])


def test_the_first_opinion_is_concealed_until_the_second_is_recorded(database: Database) -> None:
    with database.write() as session:
        case, first, second = add_case(session), officer(session), officer(session)
        supervisor = officer(session, role=Role.SUPERVISOR)
        decide(session, case.id, opinion=SUSPECTING, actor=first, policy=POLICY)
        claim(session, case.id, actor=second)
        for other in (second, supervisor):
            shown = case_view(session, case, actor=other)
            assert shown.to_confirm == ["P-first"]
            (decision,) = shown.decisions
            assert decision.concealed
            assert (decision.conclusions, decision.registration_to_cancel) == ([], None)
            text = shown.model_dump_json()
            assert "scar" not in text
            assert "Met both" not in text
            assert "Birth record" not in text
        own = case_view(session, case, actor=first).decisions[0]
        assert not own.concealed
        assert own.conclusions[0].reason == "The same scar."

        confirm(session, case.id, opinion=AGREEING, actor=second, policy=POLICY)
        shown = case_view(session, case, actor=second)
        assert [decision.concealed for decision in shown.decisions] == [False, False]
        assert shown.to_confirm == []
        assert [notice.kind for notice in shown.notices] == ["terminate", "cancel_request"]


def test_earlier_rounds_stay_readable_while_a_new_first_opinion_is_concealed(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        one, other = (officer(session, role=Role.SUPERVISOR) for _ in range(2))
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        confirm(session, case.id, opinion=DISAGREEING, actor=officer(session), policy=POLICY)
        decide(session, case.id, opinion=SUSPECTING, actor=one, policy=POLICY)
        shown = case_view(session, case, actor=other)
        assert [(d.round, d.stage, d.concealed) for d in shown.decisions] == [
            (1, "first", False),
            (1, "second", False),
            (2, "first", True),
        ]


def test_conclusions_by_hand_identities_and_reopenings_are_shown(database: Database) -> None:
    with database.write() as session:
        case = add_case(session, [], kind=CaseKind.NOT_SEARCHABLE)
        supervisor = officer(session, role=Role.SUPERVISOR)
        given = opinion(manual=by_hand(), identity=established())
        decide(session, case.id, opinion=given, actor=supervisor, policy=POLICY)
        reopen(session, case.id, reason="An appeal.", actor=supervisor, policy=POLICY)
        manual, reopening = case_view(session, case, actor=supervisor).decisions
        assert manual.manual_conclusion is not None
        assert (manual.manual_conclusion.outcome, manual.manual_conclusion.evidence[0].kind) == (
            "cleared",
            "document",
        )
        assert manual.identity_established is not None
        assert manual.identity_established.level_code == "10"
        assert (manual.reason, reopening.stage, reopening.reason) == (None, "reopen", "An appeal.")


def test_a_claim_shows_whose_it_is(database: Database) -> None:
    with database.write() as session:
        case, actor = add_case(session), officer(session, "li.si")
        assert case_view(session, case, actor=actor).claim is None
        claim(session, case.id, actor=actor)
        mine = case_view(session, case, actor=actor).claim
        theirs = case_view(session, case, actor=officer(session)).claim
        assert mine is not None
        assert theirs is not None
        assert (mine.mine, theirs.mine, theirs.officer.name) == (True, False, "li.si")
        decide(session, case.id, opinion=CLEARING, actor=actor, policy=POLICY)
        assert case_view(session, case, actor=actor).claim is None
