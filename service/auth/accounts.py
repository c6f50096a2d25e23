"""Accounts as the operator keeps them: made, listed, revoked; every change is on record."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth import repository
from service.auth.service import SYSTEM, Role, Scope, add_client, add_officer
from service.errors import NotFoundError
from service.tables import Client, Credential, Officer, PageSession, now


@dataclass(frozen=True, slots=True)
class ClientAccount:
    """A client as it is listed.

    Attributes:
        name: Its unique name.
        scopes: What its key may be used for.
        created_at: When it was made.
        state: `valid`, `expired` or `revoked`.
        expires_at: When its key ends, None for never.
    """

    name: str
    scopes: list[str]
    created_at: datetime
    state: str
    expires_at: datetime | None


def register_client(session: Session, name: str, *, scopes: frozenset[Scope], days: int | None) -> str:
    """Make a client, on record, and return its key, which is not known again later.

    Args:
        session: The transaction.
        name: Unique.
        scopes: What the key may be used for.
        days: Until the key ends, None for never.

    Raises:
        InvalidRequestError: The name is taken.
    """
    client, key = add_client(session, name, scopes=scopes, expires_at=_in_days(days))
    record(
        session,
        AuditKind.CLIENT_ADDED,
        actor=SYSTEM,
        subject=f"client:{client.name}",
        scopes=client.scopes,
        days=days,
    )
    return key


def list_clients(session: Session) -> list[ClientAccount]:
    """Return every client by name."""
    rows = session.execute(
        select(Client, Credential)
        .join(Credential, Credential.client_id == Client.id)
        .order_by(Client.name, Credential.created_at)
    )
    return [
        ClientAccount(
            client.name, client.scopes, client.created_at, _state(credential), credential.expires_at
        )
        for client, credential in rows
    ]


def revoke_client(session: Session, name: str) -> None:
    """Make all keys of a client invalid at once.

    Raises:
        NotFoundError: There is no such client.
    """
    client = repository.client_by_name(session, name)
    if client is None:
        raise NotFoundError(f"There is no client '{name}'; see 'oneperson client list'.")
    _revoke(session, Credential.client_id == client.id)
    record(session, AuditKind.CLIENT_REVOKED, actor=SYSTEM, subject=f"client:{name}")


def register_officer(
    session: Session, login: str, *, name: str, role: Role, division_code: str, days: int | None
) -> str:
    """Make an officer's account, on record, and return its access key, which is not known again later.

    Args:
        session: The transaction.
        login: Unique.
        name: The officer's name, as colleagues see it.
        role: What the account is for.
        division_code: Whose cases the officer may see.
        days: Until the key ends, None for never.

    Raises:
        InvalidRequestError: The login is taken.
    """
    officer, key = add_officer(
        session, login, name=name, role=role, division_code=division_code, expires_at=_in_days(days)
    )
    record(
        session,
        AuditKind.OFFICER_ADDED,
        actor=SYSTEM,
        subject=f"officer:{officer.login}",
        role=officer.role,
        division_code=officer.division_code,
        days=days,
    )
    return key


def list_officers(session: Session) -> list[Officer]:
    """Return every officer by login."""
    return list(session.scalars(select(Officer).order_by(Officer.login)))


def disable_officer(session: Session, login: str) -> None:
    """Close an officer's account at once: the key, and every browser that is signed in.

    Raises:
        NotFoundError: There is no such officer.
    """
    officer = repository.officer_by_login(session, login)
    if officer is None:
        raise NotFoundError(f"There is no officer '{login}'; see 'oneperson officer list'.")
    officer.disabled_at = officer.disabled_at or now()
    _revoke(session, Credential.officer_id == officer.id)
    for opened in session.scalars(select(PageSession).where(PageSession.officer_id == officer.id)):
        session.delete(opened)
    record(session, AuditKind.OFFICER_DISABLED, actor=SYSTEM, subject=f"officer:{login}")


def _revoke(session: Session, whose: ColumnElement[bool]) -> None:
    session.execute(update(Credential).where(whose, Credential.revoked_at.is_(None)).values(revoked_at=now()))


def _in_days(days: int | None) -> datetime | None:
    return None if days is None else now() + timedelta(days=days)


def _state(credential: Credential) -> str:
    if credential.revoked_at is not None:
        return "revoked"
    if credential.expires_at is not None and credential.expires_at <= now():
        return "expired"
    return "valid"
