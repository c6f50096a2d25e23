"""What officers record, and what is told to whom, on both databases."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.auth.service import Role
from service.database import Database
from service.errors import CaseStateError, EvidenceMissingError, InvalidRequestError, SameOfficerError
from service.notices.service import POPULATION_SYSTEM, notices_of_case
from service.review.decisions import confirm, decide, opinion_of
from service.review.opinion import CaseKind, CaseState, Evidence
from service.review.service import claim
from service.tables import AuditEvent, Case, Decision, Person
from tests.service.review.desk import (
    AGREEING,
    CLEARING,
    DISAGREEING,
    DIVISION,
    POLICY,
    SUSPECTING,
    add_case,
    add_person,
    by_hand,
    different,
    established,
    officer,
    opinion,
    same,
    undetermined,
)


def told(session: Session, case: Case) -> list[tuple[str, str, str | None]]:
    """Kind, recipient and person of a case's notices, in order."""
    return [(n.kind, n.recipient, n.person_id) for n in notices_of_case(session, case.id)]


def test_all_different_clears_and_releases(database: Database) -> None:
    with database.write() as session:
        case, actor = add_case(session), officer(session)
        claim(session, case.id, actor=actor)
        decide(session, case.id, opinion=CLEARING, actor=actor, policy=POLICY)
        assert (case.state, case.claimed_by, case.closed_at is not None) == ("cleared", None, True)
        assert told(session, case) == [("release", POPULATION_SYSTEM, "P-subject")]
        (notice,) = notices_of_case(session, case.id)
        assert notice.payload["instruction"] == "proceed"
        assert notice.payload["transaction"]["id"] == notice.transaction_id is not None
        assert (notice.due_at - notice.created_at).days == POLICY.notice_due_days


def test_undetermined_releases_nothing(database: Database) -> None:
    given = opinion(undetermined("P-first"), different("P-second"))
    with database.write() as session:
        case = add_case(session)
        decide(session, case.id, opinion=given, actor=officer(session), policy=POLICY)
        assert (case.state, case.closed_at is not None) == ("undetermined", True)
        assert told(session, case) == []


def test_two_officers_who_agree_stop_the_transaction_and_tell_the_other_authority(
    database: Database,
) -> None:
    with database.write() as session:
        add_person(session, "P-first", division_code="530302")
        case, first, second = add_case(session), officer(session), officer(session)
        claim(session, case.id, actor=first)
        decide(session, case.id, opinion=SUSPECTING, actor=first, policy=POLICY)
        assert (case.state, case.claimed_by, case.closed_at) == ("awaiting_second_officer", None, None)
        assert told(session, case) == []
        claim(session, case.id, actor=second)
        confirm(session, case.id, opinion=AGREEING, actor=second, policy=POLICY)
        assert (case.state, case.claimed_by, case.closed_at is not None) == (
            "duplicate_confirmed",
            None,
            True,
        )
        assert told(session, case) == [
            ("terminate", POPULATION_SYSTEM, "P-subject"),
            ("cancel_request", "530302", "P-first"),
        ]
        terminate, cancel = notices_of_case(session, case.id)
        assert terminate.payload["instruction"] == "terminate"
        assert cancel.payload == {
            "action": "cancel_registration",
            "registration_to_cancel": "P-first",
            "registrations_of_one_person": ["P-first", "P-subject"],
        }


def test_without_a_known_division_the_transactions_authority_is_asked_to_cancel(database: Database) -> None:
    with database.write() as session:
        add_person(session, "P-first", division_code=None)
        case = add_case(session)
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        confirm(session, case.id, opinion=AGREEING, actor=officer(session), policy=POLICY)
        assert told(session, case)[1] == ("cancel_request", DIVISION, "P-first")


def test_disagreement_goes_to_a_supervisor_in_a_new_round(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        second = officer(session)
        claim(session, case.id, actor=second)
        confirm(session, case.id, opinion=DISAGREEING, actor=second, policy=POLICY)
        assert (case.state, case.escalated, case.round, case.claimed_by, case.closed_at) == (
            "under_review",
            True,
            2,
            None,
            None,
        )
        assert [(d.round, d.stage) for d in case.decisions] == [(1, "first"), (1, "second")]
        assert told(session, case) == []
        supervisors = [officer(session, role=Role.SUPERVISOR) for _ in range(2)]
        decide(session, case.id, opinion=SUSPECTING, actor=supervisors[0], policy=POLICY)
        with pytest.raises(SameOfficerError):
            confirm(session, case.id, opinion=AGREEING, actor=supervisors[0], policy=POLICY)
        confirm(session, case.id, opinion=AGREEING, actor=supervisors[1], policy=POLICY)
        assert case.state == CaseState.DUPLICATE_CONFIRMED
        assert [(d.round, d.stage) for d in case.decisions][2:] == [(2, "first"), (2, "second")]


def test_an_established_identity_is_told_once_the_case_is_concluded(database: Database) -> None:
    identifying = opinion(same("P-first"), different("P-second"), cancel="P-first", identity=established())
    with database.write() as session:
        case = add_case(session)
        decide(session, case.id, opinion=identifying, actor=officer(session), policy=POLICY)
        assert told(session, case) == []
        confirm(session, case.id, opinion=AGREEING, actor=officer(session), policy=POLICY)
        assert told(session, case)[2] == ("level_code_change", POPULATION_SYSTEM, "P-subject")
        assert notices_of_case(session, case.id)[2].payload == {
            "action": "change_level_code",
            "person_id": "P-subject",
            "level_code": "10",
        }


def test_a_sweeps_case_releases_and_terminates_nothing(database: Database) -> None:
    with database.write() as session:
        cleared = add_case(session, kind=CaseKind.SWEEP)
        decide(session, cleared.id, opinion=CLEARING, actor=officer(session), policy=POLICY)
        assert told(session, cleared) == []
        confirmed = add_case(session, kind=CaseKind.SWEEP)
        decide(session, confirmed.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        confirm(session, confirmed.id, opinion=AGREEING, actor=officer(session), policy=POLICY)
        assert [kind for kind, _, _ in told(session, confirmed)] == ["cancel_request"]
        assert notices_of_case(session, confirmed.id)[0].transaction_id is None


def test_a_person_who_cannot_be_searched_is_identified_by_hand(database: Database) -> None:
    with database.write() as session:
        case = add_case(session, [], kind=CaseKind.NOT_SEARCHABLE)
        with pytest.raises(InvalidRequestError):
            decide(session, case.id, opinion=opinion(), actor=officer(session), policy=POLICY)
        with pytest.raises(EvidenceMissingError):
            decide(
                session,
                case.id,
                opinion=opinion(manual=by_hand(evidence=())),
                actor=officer(session),
                policy=POLICY,
            )
        given = opinion(manual=by_hand(), identity=established())
        decide(session, case.id, opinion=given, actor=officer(session), policy=POLICY)
        assert case.state == CaseState.CLEARED
        assert [kind for kind, _, _ in told(session, case)] == ["release", "level_code_change"]
    with database.read() as session:
        (stored,) = session.scalars(select(Decision))
        assert opinion_of(session.get_one(Case, stored.case_id), stored) == given


def test_by_hand_undetermined_releases_nothing(database: Database) -> None:
    with database.write() as session:
        case = add_case(session, [], kind=CaseKind.NOT_SEARCHABLE)
        given = opinion(manual=by_hand(CaseState.UNDETERMINED, evidence=()))
        decide(session, case.id, opinion=given, actor=officer(session), policy=POLICY)
        assert (case.state, told(session, case)) == ("undetermined", [])


def test_an_opinion_is_read_back_as_it_was_given(database: Database) -> None:
    given = opinion(
        same("P-first", evidence=(Evidence("dna", "昆公物证2026-12"), Evidence("visit", "𠮷·村"))),
        undetermined("P-second"),
        cancel="P-subject",
        identity=established("P-first"),
    )
    with database.write() as session:
        case_id = add_case(session).id
        decide(session, case_id, opinion=given, actor=officer(session), policy=POLICY)
    with database.read() as session:
        case = session.get_one(Case, case_id)
        stored = opinion_of(case, case.decisions[0])
        assert sorted(stored.conclusions, key=lambda c: c.person_id) == list(given.conclusions)
        assert stored.registrations_to_cancel == frozenset({"P-subject"})
        assert stored.identity == given.identity


def test_a_refused_opinion_changes_nothing(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        actor = officer(session)
        claim(session, case.id, actor=actor)
        for given in (opinion(), opinion(same("P-first", evidence=()), different("P-second"))):
            with pytest.raises((InvalidRequestError, EvidenceMissingError)):
                decide(session, case.id, opinion=given, actor=actor, policy=POLICY)
        assert (case.state, case.revision, case.claimed_by) == ("under_review", 2, actor.id)
        assert case.decisions == []


def test_the_same_officer_cannot_be_both(database: Database) -> None:
    with database.write() as session:
        case, actor = add_case(session), officer(session, role=Role.SUPERVISOR)
        decide(session, case.id, opinion=SUSPECTING, actor=actor, policy=POLICY)
        with pytest.raises(SameOfficerError):
            confirm(session, case.id, opinion=AGREEING, actor=actor, policy=POLICY)
        assert case.state == CaseState.AWAITING_SECOND_OFFICER


def test_opinions_out_of_turn_are_refused(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        with pytest.raises(CaseStateError):
            confirm(session, case.id, opinion=AGREEING, actor=officer(session), policy=POLICY)
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        with pytest.raises(CaseStateError) as raised:
            decide(session, case.id, opinion=CLEARING, actor=officer(session), policy=POLICY)
        assert raised.value.extensions["state"] == "awaiting_second_officer"
        confirm(session, case.id, opinion=AGREEING, actor=officer(session), policy=POLICY)
        for act, given in ((decide, CLEARING), (confirm, AGREEING), (confirm, DISAGREEING)):
            with pytest.raises(CaseStateError):
                act(session, case.id, opinion=given, actor=officer(session), policy=POLICY)


def test_events_count_conclusions_and_never_hold_reasons(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        confirm(session, case.id, opinion=DISAGREEING, actor=officer(session), policy=POLICY)
    with database.read() as session:
        events = session.scalars(
            select(AuditEvent)
            .where(AuditEvent.kind.in_(["case-decided", "case-confirmed"]))
            .order_by(AuditEvent.id)
        ).all()
        assert [event.result for event in events] == ["awaiting_second_officer", "under_review"]
        assert events[0].details["conclusions"] == {"same_person": 1, "different_person": 1}
        assert events[1].details["agreed"] is False
        assert all("scar" not in str(event.details) for event in events)


def test_notices_hold_no_names_numbers_or_reasons(database: Database) -> None:
    with database.write() as session:
        person: Person = add_person(session, "P-first")
        case = add_case(session)
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        confirm(session, case.id, opinion=AGREEING, actor=officer(session), policy=POLICY)
        for notice in notices_of_case(session, case.id):
            text = str(notice.payload)
            assert str(person.name) not in text
            assert str(person.citizen_id_number) not in text
            assert "scar" not in text
