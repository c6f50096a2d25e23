"""Page sessions, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from service.auth.service import Role, actor_of, add_officer, hash_secret
from service.auth.sessions import (
    end_own_session,
    end_session,
    end_sessions,
    find_session,
    note_use,
    sessions_of,
    start_session,
)
from service.database import Database
from service.errors import NotFoundError, UnauthenticatedError
from service.tables import AuditEvent, Officer, PageSession, now


def officer(database: Database, login: str = "zhang") -> tuple[Officer, str]:
    with database.write() as session:
        return add_officer(session, login, name="张三", role=Role.OFFICER, division_code="530100")


def started(database: Database, account: Officer, *, hours: float = 8.0) -> str:
    with database.write() as session:
        return start_session(session, session.get_one(Officer, account.id), hours=hours)


def test_session_is_found_by_its_token_only(database: Database) -> None:
    account, key = officer(database)
    token = started(database, account)
    with database.read() as session:
        found = find_session(session, token)
        assert (found.actor.id, found.actor.role, found.name) == (account.id, Role.OFFICER, "张三")
        assert timedelta(hours=7.9) < found.expires_at - now() < timedelta(hours=8.1)
        for wrong in (token[:-1], hash_secret(token), key, found.csrf_token, ""):
            with pytest.raises(UnauthenticatedError):
                find_session(session, wrong)
        stored = session.scalars(select(PageSession)).one()
        assert token not in repr(vars(stored))


def test_every_session_has_tokens_of_its_own(database: Database) -> None:
    account, _key = officer(database)
    tokens = {started(database, account) for _ in range(3)}
    with database.read() as session:
        rows = session.scalars(select(PageSession)).all()
    assert len(tokens) == len({row.csrf_token for row in rows}) == 3


def test_ending_is_on_record_once_and_leaves_other_sessions(database: Database) -> None:
    account, _key = officer(database)
    one, other = started(database, account), started(database, account)
    for _ in range(2):
        with database.write() as session:
            end_session(session, one)
    with database.read() as session:
        assert find_session(session, other)
        with pytest.raises(UnauthenticatedError):
            find_session(session, one)
        kinds = [event.kind for event in session.scalars(select(AuditEvent))]
    assert kinds.count("signed-out") == 1
    assert kinds.count("signed-in") == 2


def test_ended_sessions_are_removed_when_somebody_signs_in(database: Database) -> None:
    account, _key = officer(database)
    for _ in range(2):
        token = started(database, account)
        with database.write() as session:
            session.get_one(PageSession, hash_secret(token)).expires_at = now() - timedelta(seconds=1)
    kept = started(database, account)
    with database.read() as session:
        assert [row.token_hash for row in session.scalars(select(PageSession))] == [hash_secret(kept)]


def test_unused_session_ends_before_its_time(database: Database) -> None:
    account, _key = officer(database)
    token = started(database, account)
    with database.write() as session:
        session.get_one(PageSession, hash_secret(token)).last_seen_at = now() - timedelta(minutes=31)
    with database.read() as session:
        assert find_session(session, token).is_to_be_noted
        with pytest.raises(UnauthenticatedError):
            find_session(session, token, idle_minutes=30)
    with database.write() as session:
        note_use(session, find_session(session, token).session_id)
    with database.read() as session:
        assert not find_session(session, token, idle_minutes=30).is_to_be_noted


def test_officer_signs_out_everywhere_else(database: Database) -> None:
    account, _key = officer(database)
    here, *_others = [started(database, account) for _ in range(3)]
    with database.write() as session:
        found = find_session(session, here)
        assert end_sessions(session, account.id, actor=found.actor, keep=found.session_id) == 2
        assert [one.id for one in sessions_of(session, account.id)] == [found.session_id]
        other, _ = add_officer(session, "wang", name="王", role=Role.OFFICER, division_code="530100")
        with pytest.raises(NotFoundError):
            end_own_session(session, found.session_id, actor=actor_of(other))
        end_own_session(session, found.session_id, actor=found.actor)
    with database.read() as session, pytest.raises(UnauthenticatedError):
        find_session(session, here)


def test_disabled_officer_gets_no_session(database: Database) -> None:
    account, _key = officer(database)
    with database.write() as session:
        session.get_one(Officer, account.id).disabled_at = now()
    with pytest.raises(UnauthenticatedError):
        started(database, account)
    with database.read() as session:
        assert session.scalars(select(PageSession)).all() == []
