"""`oneperson client` and `oneperson officer`, on both databases."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from service.auth.service import Role, authenticate
from service.auth.sessions import start_session
from service.database import Database
from service.errors import UnauthenticatedError
from service.tables import AuditEvent, Credential, Officer, PageSession, now
from tests.scripts.commands import Operator


@pytest.fixture
def operator(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_address: str,
) -> Operator:
    monkeypatch.chdir(tmp_path)
    typist = Operator(monkeypatch, capsys)
    typist.set("data_dir", tmp_path / "var")
    typist.set("database_url", database_address)
    return typist


def kinds(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(AuditEvent.kind).order_by(AuditEvent.id)))


def refused(database: Database, key: str) -> bool:
    with database.read() as session:
        try:
            authenticate(session, key)
        except UnauthenticatedError:
            return True
    return False


def test_a_clients_key_is_the_only_thing_on_stdout_and_it_works(
    operator: Operator, database: Database
) -> None:
    done = operator.types("client", "add", "population", "--scope", "persons", "--scope", "checks")
    assert done.code == 0, done.err
    key = done.out.strip()
    with database.read() as session:
        actor = authenticate(session, key)
        stored = session.scalars(select(Credential)).one()
    assert (actor.kind, actor.name, actor.scopes) == (
        "client",
        "population",
        frozenset({"persons", "checks"}),
    )
    assert key.split("_", 2)[2] not in str(vars(stored))
    assert kinds(database) == ["client-added"]
    listed = operator.types("client", "list").out
    assert "population" in listed
    assert "valid" in listed
    assert key not in listed


def test_a_revoked_client_is_refused_and_listed_as_such(operator: Operator, database: Database) -> None:
    key = operator.types("client", "add", "population", "--scope", "checks").out.strip()
    other = operator.types("client", "add", "other", "--scope", "checks").out.strip()
    assert operator.types("client", "revoke", "population").code == 0
    assert refused(database, key)
    assert not refused(database, other)
    assert "revoked" in operator.types("client", "list").out
    assert kinds(database) == ["client-added", "client-added", "client-revoked"]


def test_a_key_ends_on_its_day(operator: Operator, database: Database) -> None:
    key = operator.types("client", "add", "population", "--scope", "checks", "--expires", "30").out.strip()
    with database.read() as session:
        ends = session.scalars(select(Credential.expires_at)).one()
    assert ends is not None
    assert timedelta(days=29) < ends - now() <= timedelta(days=30)
    with database.write() as session:
        session.execute(update(Credential).values(expires_at=now() - timedelta(seconds=1)))
    assert refused(database, key)
    assert "expired" in operator.types("client", "list").out


def test_a_name_that_is_taken_and_one_that_is_unknown_are_told(operator: Operator) -> None:
    operator.types("client", "add", "population", "--scope", "checks")
    taken = operator.types("client", "add", "population", "--scope", "checks")
    unknown = operator.types("client", "revoke", "nobody")
    assert (taken.code, taken.out) == (1, "")
    assert "exists" in taken.err
    assert unknown.code == 1
    assert "oneperson client list" in unknown.err


def test_an_officers_account_works_until_it_is_disabled(operator: Operator, database: Database) -> None:
    done = operator.types(
        "officer", "add", "li", "--name", "李·明", "--role", "supervisor", "--division", "530100"
    )
    assert done.code == 0, done.err
    key = done.out.strip()
    with database.write() as session:
        actor = authenticate(session, key)
        start_session(session, session.scalars(select(Officer)).one(), hours=8)
    assert (actor.kind, actor.role, actor.division_code) == ("officer", Role.SUPERVISOR, "530100")
    assert "李·明" in operator.types("officer", "list").out
    assert operator.types("officer", "disable", "li").code == 0
    assert refused(database, key)
    with database.read() as session:
        assert session.scalars(select(PageSession)).all() == []
    assert "disabled" in operator.types("officer", "list").out
    assert [kind for kind in kinds(database) if kind.startswith("officer")] == [
        "officer-added",
        "officer-disabled",
    ]
    assert operator.types("officer", "disable", "nobody").code == 1


def test_migrate_says_what_it_did(operator: Operator, tmp_path: Path) -> None:
    assert "already" in operator.types("migrate").out
    operator.set("database_url", f"sqlite:///{tmp_path / 'fresh.db'}")
    assert "from revision none to 0001" in operator.types("migrate").out
