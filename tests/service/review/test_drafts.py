"""Drafts: kept for their officer alone, encrypted, and gone once the opinion is recorded."""

from sqlalchemy import select

from service.database import Database
from service.review.decisions import decide
from service.review.drafts import draft_of, drop_draft, save_draft
from service.review.service import withdraw_case
from service.tables import Draft
from tests.service.review.desk import CLEARING, POLICY, add_case, officer

TYPED = {"reason-1": "同一道疤痕", "conclusion-1": "same_person"}


def test_a_draft_is_its_officers_alone(database: Database) -> None:
    with database.write() as session:
        case, zhang, wang = add_case(session), officer(session), officer(session)
        save_draft(session, case.id, fields=TYPED, actor=zhang)
        save_draft(session, case.id, fields={"reason-1": "mine"}, actor=wang)
    with database.write() as session:
        for actor, expected in ((zhang, TYPED), (wang, {"reason-1": "mine"})):
            draft = draft_of(session, case.id, actor=actor)
            assert draft is not None
            assert draft.fields == expected
        drop_draft(session, case.id, actor=zhang)
        assert draft_of(session, case.id, actor=zhang) is None
        assert draft_of(session, case.id, actor=wang) is not None


def test_the_later_draft_stands_and_survives_a_withdrawal(database: Database) -> None:
    with database.write() as session:
        case, zhang = add_case(session), officer(session)
        save_draft(session, case.id, fields={"reason-1": "first"}, actor=zhang)
        withdraw_case(session, case.id)
        save_draft(session, case.id, fields=TYPED, actor=zhang)
        draft = draft_of(session, case.id, actor=zhang)
        assert draft is not None
        assert draft.fields == TYPED


def test_a_draft_goes_when_the_opinion_is_recorded(database: Database) -> None:
    with database.write() as session:
        case, zhang, wang = add_case(session), officer(session), officer(session)
        save_draft(session, case.id, fields=TYPED, actor=zhang)
        save_draft(session, case.id, fields=TYPED, actor=wang)
        decide(session, case.id, opinion=CLEARING, actor=zhang, policy=POLICY)
        assert draft_of(session, case.id, actor=zhang) is None
        assert draft_of(session, case.id, actor=wang) is not None


def test_nothing_typed_can_be_read_in_the_database(database: Database) -> None:
    with database.write() as session:
        case, zhang = add_case(session), officer(session)
        save_draft(session, case.id, fields=TYPED, actor=zhang)
    with database.read() as session:
        stored = session.scalars(select(Draft)).one().content
    assert "疤痕".encode() not in stored
    assert b"same_person" not in stored
