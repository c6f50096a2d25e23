"""Accounts as the operator keeps them: made, listed, changed, revoked; every change is on record."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth import repository, second_factor
from service.auth.one_time import code_hash, make_code
from service.auth.service import SYSTEM, Role, Scope, add_account, add_client, issue_key
from service.auth.sessions import end_sessions
from service.errors import InvalidRequestError, NotFoundError
from service.tables import Client, Credential, KnownBrowser, LocalAccount, Officer, now


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A client's key as it is listed.

    Attributes:
        name: The client's unique name.
        key_id: The key's public part.
        scopes: What it may be used for.
        created_at: When it was made.
        state: `valid`, `ending` (rotated, still in its overlap), `expired` or `revoked`.
        expires_at: When it ends, None for never.
        last_used_at: To within minutes, None for never.
        certificate: Subject by which the client is known without a key, None for none.
    """

    name: str
    key_id: str
    scopes: list[str]
    created_at: datetime
    state: str
    expires_at: datetime | None
    last_used_at: datetime | None
    certificate: str | None


@dataclass(frozen=True, slots=True)
class OfficerAccount:
    """An officer's account as it is listed.

    Attributes:
        officer: The account.
        signs_in_by: `password`, `password+factor`, `single sign-on`, or `nothing yet`.
        state: `valid`, `waiting` (strangers have to wait after failures), `code open` or `disabled`.
    """

    officer: Officer
    signs_in_by: str
    state: str


def register_client(
    session: Session, name: str, *, scopes: frozenset[Scope], days: int | None, certificate: str | None = None
) -> str:
    """Make a client, on record, and return its key, which is not known again later.

    Args:
        session: The transaction.
        name: Unique.
        scopes: What the key may be used for.
        days: Until the key ends, None for never.
        certificate: Subject by which a trusted proxy names it, see `ONEPERSON_CLIENT_CERTIFICATE_HEADER`.

    Raises:
        InvalidRequestError: The name or the certificate is taken.
    """
    ends = _in_days(days)
    client, key = add_client(session, name, scopes=scopes, expires_at=ends, certificate=certificate)
    record(
        session,
        AuditKind.CLIENT_ADDED,
        actor=SYSTEM,
        subject=f"client:{client.name}",
        scopes=client.scopes,
        days=days,
    )
    return key


def rotate_client(session: Session, name: str, *, overlap_hours: float, days: int | None) -> str:
    """Make a client's next key, and let its present ones end after an overlap.

    Args:
        session: The transaction.
        name: Of the client.
        overlap_hours: How long the present keys still work; 0 ends them at once.
        days: Until the new key ends, None for never.

    Raises:
        NotFoundError: There is no such client.
    """
    client = _client(session, name)
    end = now() + timedelta(hours=overlap_hours)
    for known in repository.credentials_of(session, client.id):
        if known.revoked_at is None and (known.expires_at is None or known.expires_at > end):
            known.expires_at = end
    key = issue_key(session, _in_days(days), client_id=client.id)
    record(
        session,
        AuditKind.CLIENT_KEY_ROTATED,
        actor=SYSTEM,
        subject=f"client:{name}",
        overlap_hours=overlap_hours,
        days=days,
    )
    return key


def list_clients(session: Session) -> list[ClientKey]:
    """Return every client's keys by name, the oldest key first."""
    rows = session.execute(
        select(Client, Credential)
        .join(Credential, Credential.client_id == Client.id)
        .order_by(Client.name, Credential.created_at)
    ).all()
    newest = {client.name: key.key_id for client, key in rows}
    return [
        ClientKey(
            name=client.name,
            key_id=key.key_id,
            scopes=client.scopes,
            created_at=key.created_at,
            state=_state(key, is_newest=newest[client.name] == key.key_id),
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            certificate=client.certificate,
        )
        for client, key in rows
    ]


def revoke_client(session: Session, name: str) -> None:
    """Make all keys of a client, and its certificate, invalid at once.

    Raises:
        NotFoundError: There is no such client.
    """
    client = _client(session, name)
    _revoke(session, Credential.client_id == client.id)
    record(session, AuditKind.CLIENT_REVOKED, actor=SYSTEM, subject=f"client:{name}")


def register_officer(
    session: Session, login: str, *, name: str, role: Role, division_code: str, hours: float
) -> str:
    """Make an officer's account, on record, and return the code for the first password.

    Args:
        session: The transaction.
        login: Unique.
        name: The officer's name, as colleagues see it.
        role: What the account is for.
        division_code: Whose cases the officer may see.
        hours: Until the code ends.

    Raises:
        InvalidRequestError: The login is taken.
    """
    officer = add_account(session, login, name=name, role=role, division_code=division_code)
    record(
        session,
        AuditKind.OFFICER_ADDED,
        actor=SYSTEM,
        subject=f"officer:{login}",
        role=role,
        division_code=division_code,
    )
    return _setup_code(session, officer, hours=hours)


def issue_officer_key(session: Session, login: str, *, days: int | None) -> str:
    """Make an access key for an officer's tools, on record; the earlier ones end at once.

    Raises:
        NotFoundError: There is no such officer.
        InvalidRequestError: The account is disabled.
    """
    officer = _enabled(session, login)
    _revoke(session, Credential.officer_id == officer.id)
    key = issue_key(session, _in_days(days), officer_id=officer.id)
    _changed(session, login, "access-key", days=days)
    return key


def reset_officer(session: Session, login: str, *, factor: bool, hours: float) -> str:
    """Take password and waits back, sign the officer out everywhere, and return a code for a new password.

    Args:
        session: The transaction.
        login: Of the officer.
        factor: Whether the second factor goes as well, for a lost telephone.
        hours: Until the code ends.

    Raises:
        NotFoundError: There is no such officer.
        InvalidRequestError: The account is disabled.
    """
    officer = _enabled(session, login)
    if factor:
        second_factor.remove(session, officer.id)
        record(session, AuditKind.SECOND_FACTOR_REMOVED, actor=SYSTEM, subject=f"officer:{login}")
    session.execute(delete(KnownBrowser).where(KnownBrowser.officer_id == officer.id))
    end_sessions(session, officer.id, actor=SYSTEM)
    record(session, AuditKind.PASSWORD_RESET, actor=SYSTEM, subject=f"officer:{login}")
    return _setup_code(session, officer, hours=hours)


def change_officer(session: Session, login: str, *, role: Role | None, division_code: str | None) -> None:
    """Change an officer's role or division, on record; open browsers follow with their next request.

    Raises:
        NotFoundError: There is no such officer.
        InvalidRequestError: Nothing to change was given.
    """
    officer = _officer(session, login)
    if role is None and division_code is None:
        raise InvalidRequestError("Nothing to change: give --role, --division or both.")
    officer.role = role or officer.role
    officer.division_code = division_code or officer.division_code
    _changed(session, login, "done", role=officer.role, division_code=officer.division_code)


def list_officers(session: Session) -> list[OfficerAccount]:
    """Return every officer by login."""
    rows = session.execute(
        select(Officer, LocalAccount)
        .outerjoin(LocalAccount, LocalAccount.officer_id == Officer.id)
        .order_by(Officer.login)
    )
    return [
        OfficerAccount(officer, _way(officer, local), _standing(officer, local)) for officer, local in rows
    ]


def disable_officer(session: Session, login: str) -> None:
    """Close an officer's account at once: the key, and every browser that is signed in.

    Raises:
        NotFoundError: There is no such officer.
    """
    officer = _officer(session, login)
    officer.disabled_at = officer.disabled_at or now()
    _revoke(session, Credential.officer_id == officer.id)
    end_sessions(session, officer.id, actor=SYSTEM)
    record(session, AuditKind.OFFICER_DISABLED, actor=SYSTEM, subject=f"officer:{login}")


def enable_officer(session: Session, login: str, *, hours: float) -> str:
    """Open a closed account again, and return a code for a new password.

    Raises:
        NotFoundError: There is no such officer.
    """
    officer = _officer(session, login)
    officer.disabled_at = None
    record(session, AuditKind.OFFICER_ENABLED, actor=SYSTEM, subject=f"officer:{login}")
    return _setup_code(session, officer, hours=hours)


def _setup_code(session: Session, officer: Officer, *, hours: float) -> str:
    account = session.get(LocalAccount, officer.id) or LocalAccount(officer_id=officer.id)
    code = make_code()
    account.password_hash = account.password_set_at = None
    account.setup_hash, account.setup_expires_at = code_hash(code), now() + timedelta(hours=hours)
    account.failures, account.blocked_until = 0, None
    session.add(account)
    session.flush()
    return code


def _client(session: Session, name: str) -> Client:
    client = repository.client_by_name(session, name)
    if client is None:
        raise NotFoundError(f"There is no client '{name}'; see 'oneperson client list'.")
    return client


def _officer(session: Session, login: str) -> Officer:
    officer = repository.officer_by_login(session, login)
    if officer is None:
        raise NotFoundError(f"There is no officer '{login}'; see 'oneperson officer list'.")
    return officer


def _enabled(session: Session, login: str) -> Officer:
    officer = _officer(session, login)
    if officer.disabled_at is not None:
        raise InvalidRequestError(
            f"The account '{login}' is disabled; open it with 'oneperson officer enable {login}'."
        )
    return officer


def _changed(session: Session, login: str, result: str, **details: Any) -> None:
    record(
        session, AuditKind.OFFICER_CHANGED, actor=SYSTEM, subject=f"officer:{login}", result=result, **details
    )


def _revoke(session: Session, whose: ColumnElement[bool]) -> None:
    session.execute(update(Credential).where(whose, Credential.revoked_at.is_(None)).values(revoked_at=now()))


def _in_days(days: int | None) -> datetime | None:
    return None if days is None else now() + timedelta(days=days)


def _state(key: Credential, *, is_newest: bool) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now():
        return "expired"
    return "valid" if is_newest else "ending"


def _way(officer: Officer, local: LocalAccount | None) -> str:
    if local is not None and local.password_hash is not None:
        return "password+factor" if local.totp_set_at is not None else "password"
    return "single sign-on" if officer.external_id is not None else "nothing yet"


def _standing(officer: Officer, local: LocalAccount | None) -> str:
    if officer.disabled_at is not None:
        return f"disabled {officer.disabled_at:%Y-%m-%d}"
    if local is not None and local.blocked_until is not None and local.blocked_until > now():
        return "waiting"
    if local is not None and local.setup_expires_at is not None:
        return "code open" if local.setup_expires_at > now() else "code ended"
    return "valid"
