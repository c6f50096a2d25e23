"""`oneperson client` and `oneperson officer`, on both databases."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from service.auth.backoff import Visit
from service.auth.service import Role, authenticate
from service.auth.sessions import find_session
from service.auth.signing_in import SigningIn
from service.database import Database
from service.errors import UnauthenticatedError
from service.schema import newest_revision
from service.settings import Settings
from service.tables import AuditEvent, Credential, LocalAccount, PageSession, now
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
        known = session.scalars(select(AuditEvent.kind).order_by(AuditEvent.id))
        return [kind for kind in known if not kind.startswith("audit-")]


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


def test_on_a_fresh_installation_too_a_key_is_alone_on_stdout(tmp_path: Path) -> None:
    """In a process of its own: the first command founds the database, the audit log and the keys."""
    settings = {"ONEPERSON_DATA_DIR": str(tmp_path / "var"), "ONEPERSON_LOG_LEVEL": "debug"}
    done = subprocess.run(
        [sys.executable, "-m", "scripts", "client", "add", "population", "--scope", "checks"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"op_[0-9a-f]{16}_[\w-]{43}\n", done.stdout)
    assert done.stderr.count("\n") == 1


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


def test_rotated_key_works_until_its_overlap_ends(operator: Operator, database: Database) -> None:
    old = operator.types("client", "add", "population", "--scope", "checks").out.strip()
    new = operator.types("client", "rotate", "population", "--overlap-hours", "2").out.strip()
    assert not refused(database, old)
    assert not refused(database, new)
    assert "ending" in operator.types("client", "list").out
    assert kinds(database) == ["client-added", "client-key-rotated"]
    newest = operator.types("client", "rotate", "population", "--overlap-hours", "0").out.strip()
    assert refused(database, old)
    assert refused(database, new)
    assert not refused(database, newest)
    assert operator.types("client", "rotate", "nobody").code == 1


def test_an_officers_account_works_until_it_is_disabled(operator: Operator, database: Database) -> None:
    done = operator.types(
        "officer", "add", "li", "--name", "李·明", "--role", "supervisor", "--division", "530100"
    )
    assert done.code == 0, done.err
    code = done.out.strip()
    assert re.fullmatch(r"([0-9A-Z]{5}-){3}[0-9A-Z]{5}", code)
    assert "/sign-in/first" in done.err
    settings = Settings(second_factor="off")
    rules, visit = SigningIn(database, settings), Visit("10.0.0.1")
    with pytest.raises(UnauthenticatedError):
        rules.by_setup_code("li", "AAAAA-AAAAA-AAAAA-AAAAA", "a long enough sentence", visit)
    opened = rules.by_setup_code("li", code.lower().replace("-", " "), "a long enough sentence", visit)
    with database.read() as session:
        actor = find_session(session, opened.token).actor
    assert (actor.kind, actor.role, actor.division_code) == ("officer", Role.SUPERVISOR, "530100")
    with pytest.raises(UnauthenticatedError):
        rules.by_setup_code("li", code, "another long sentence", visit)
    key = operator.types("officer", "key", "li").out.strip()
    assert not refused(database, key)
    assert operator.types("officer", "role", "li", "--role", "officer", "--division", "530102").code == 0
    listed = operator.types("officer", "list").out
    assert "李·明" in listed
    assert "530102" in listed
    assert operator.types("officer", "disable", "li").code == 0
    assert refused(database, key)
    with database.read() as session:
        assert session.scalars(select(PageSession)).all() == []
    reset = operator.types("officer", "reset", "li")
    assert reset.code == 1
    assert "oneperson officer enable li" in reset.err
    assert [kind for kind in kinds(database) if kind.startswith("officer")] == [
        "officer-added",
        "officer-changed",
        "officer-changed",
        "officer-disabled",
    ]
    assert operator.types("officer", "disable", "nobody").code == 1


def test_reset_takes_password_and_second_factor_back(operator: Operator, database: Database) -> None:
    code = operator.types(
        "officer", "add", "li", "--name", "李", "--role", "officer", "--division", "530100"
    ).out.strip()
    rules, visit = SigningIn(database, Settings(second_factor="off")), Visit("10.0.0.1")
    rules.by_setup_code("li", code, "a long enough sentence", visit)
    again = operator.types("officer", "reset", "li", "--factor")
    assert again.code == 0, again.err
    with pytest.raises(UnauthenticatedError):
        rules.by_password("li", "a long enough sentence", visit)
    with database.write() as session:
        session.execute(update(LocalAccount).values(setup_expires_at=now() - timedelta(seconds=1)))
    with pytest.raises(UnauthenticatedError):
        rules.by_setup_code("li", again.out.strip(), "a long enough sentence", visit)


def test_migrate_says_what_it_did(operator: Operator, tmp_path: Path) -> None:
    assert "already" in operator.types("migrate").out
    operator.set("database_url", f"sqlite:///{tmp_path / 'fresh.db'}")
    assert f"from revision none to {newest_revision()}" in operator.types("migrate").out
