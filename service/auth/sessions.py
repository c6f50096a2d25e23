"""Signed-in browsers: a random token in a cookie, of which only the hash is stored.

How an officer proves who they are is one function: today it is the access key. Whatever proof comes
later, `start_session` is where it ends.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth import repository
from service.auth.service import KEY_BYTES, Actor, actor_of, authenticate, hash_secret
from service.errors import UnauthenticatedError
from service.tables import Officer, PageSession, now

UNKNOWN_VISITOR = Actor(kind="officer", id=None, name="unknown")
"""Acts when a sign-in fails: nobody knows who it was."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whose browser this is.

    Attributes:
        actor: The officer, as the rules know them.
        name: The officer's name, to be shown.
        csrf_token: What every form of this session must send.
        expires_at: When it ends.
    """

    actor: Actor
    name: str
    csrf_token: str = field(repr=False)
    expires_at: datetime


def officer_by_key(session: Session, key: str) -> Officer:
    """Find the officer whom an access key belongs to.

    Raises:
        UnauthenticatedError: Not a valid key of an officer; the answer does not say why.
    """
    actor = authenticate(session, key)
    if actor.kind != "officer" or actor.id is None:
        raise UnauthenticatedError("The key is not valid.")
    return session.get_one(Officer, actor.id)


def start_session(session: Session, officer: Officer, *, hours: float) -> str:
    """Sign an officer in, on record, and return the token for the cookie.

    Args:
        session: A transaction; sessions that have ended are removed in it.
        officer: Who proved their identity.
        hours: Hours until the session ends, used or not.

    Raises:
        UnauthenticatedError: The account is disabled.
    """
    actor = actor_of(officer)
    repository.delete_ended_sessions(session, at=now())
    token = secrets.token_urlsafe(KEY_BYTES)
    session.add(
        PageSession(
            token_hash=hash_secret(token),
            officer_id=officer.id,
            csrf_token=secrets.token_urlsafe(KEY_BYTES),
            expires_at=now() + timedelta(hours=hours),
        )
    )
    session.flush()
    record(session, AuditKind.SIGNED_IN, actor=actor)
    return token


def find_session(session: Session, token: str) -> SignedIn:
    """Find whose browser sent this token.

    Raises:
        UnauthenticatedError: Unknown or ended, or the account was disabled since.
    """
    stored = session.get(PageSession, hash_secret(token))
    if stored is None or stored.expires_at <= now():
        raise UnauthenticatedError("The session has ended; sign in again.")
    officer = session.get_one(Officer, stored.officer_id)
    return SignedIn(actor_of(officer), officer.name, stored.csrf_token, stored.expires_at)


def end_session(session: Session, token: str) -> None:
    """Sign a browser out, on record; one that is signed out already is no error."""
    stored = session.get(PageSession, hash_secret(token))
    if stored is None:
        return
    officer = session.get_one(Officer, stored.officer_id)
    actor = Actor(kind="officer", id=officer.id, name=officer.login)
    session.delete(stored)
    record(session, AuditKind.SIGNED_OUT, actor=actor)


def record_failure(session: Session, *, address: str, throttled: bool) -> None:
    """Put a failed sign-in on record.

    Args:
        session: A transaction.
        address: Network address of the browser, as the server saw it.
        throttled: Whether it was refused without looking at the key.
    """
    record(
        session,
        AuditKind.SIGN_IN_FAILED,
        actor=UNKNOWN_VISITOR,
        result="throttled" if throttled else "refused",
        address=address,
    )
