"""Signed-in browsers: a random token in a cookie, of which only the hash is stored.

However an officer proves who they are, `start_session` is where it ends. A session that is not `FULL` opens
nothing but the page that asks for what is missing.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth import repository
from service.auth.service import KEY_BYTES, Actor, actor_of, hash_secret
from service.errors import NotFoundError, UnauthenticatedError
from service.tables import Officer, PageSession, now

UNKNOWN_VISITOR = Actor(kind="officer", id=None, name="unknown")
"""Acts when a sign-in fails: nobody knows who it was."""

HALF_WAY_MINUTES = 10.0
"""A session that still lacks something ends after this: time to find the telephone, or to set it up."""

SEEN_EVERY_S = 60.0
"""The time of the last request is stored at most this often, so that reading a page rarely writes."""

SET_BACK_S = 300.0
"""A session from further ahead began while the clock was wrong, and would outlive its time by as much."""


class SignInStage(StrEnum):
    """How far a session has come."""

    FULL = "full"
    FACTOR = "factor"
    SET_UP = "set-up"


class SignInMethod(StrEnum):
    """How an officer proved who they are."""

    PASSWORD = "password"  # noqa: S105 - the name of a method
    TOTP = "totp"
    RECOVERY = "recovery"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session starts with.

    Attributes:
        stage: How far it has come.
        method: How the officer proved who they are.
        address: Network address of the browser.
    """

    stage: SignInStage = SignInStage.FULL
    method: SignInMethod = SignInMethod.PASSWORD
    address: str = "unknown"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whose browser this is.

    Attributes:
        actor: The officer, as the rules know them.
        name: The officer's name, to be shown.
        csrf_token: What every form of this session must send.
        expires_at: When it ends, used or not.
        session_id: Names the session among the officer's own; not a secret.
        stage: How far it has come.
        method: How the officer proved who they are.
        last_seen_at: When it was last used, to the minute.
    """

    actor: Actor
    name: str
    csrf_token: str = field(repr=False)
    expires_at: datetime
    session_id: UUID
    stage: SignInStage = SignInStage.FULL
    method: SignInMethod = SignInMethod.PASSWORD
    last_seen_at: datetime = field(default_factory=now)

    @property
    def is_to_be_noted(self) -> bool:
        """Tell whether the time of this request should be stored."""
        return now() - self.last_seen_at > timedelta(seconds=SEEN_EVERY_S)


def start_session(session: Session, officer: Officer, *, hours: float, opening: Opening | None = None) -> str:
    """Let a browser in, on record when it is signed in, and return the token for the cookie.

    Args:
        session: A transaction; sessions that have ended are removed in it.
        officer: Who proved their identity.
        hours: Hours until a whole session ends, used or not.
        opening: What it starts with; default: a whole session by password.

    Raises:
        UnauthenticatedError: The account is disabled.
    """
    chosen = opening or Opening()
    whole = chosen.stage is SignInStage.FULL
    actor = actor_of(officer)
    repository.delete_ended_sessions(session, at=now())
    token = secrets.token_urlsafe(KEY_BYTES)
    session.add(
        PageSession(
            token_hash=hash_secret(token),
            officer_id=officer.id,
            stage=chosen.stage,
            method=chosen.method,
            address=chosen.address[:64],
            csrf_token=secrets.token_urlsafe(KEY_BYTES),
            expires_at=now() + (timedelta(hours=hours) if whole else timedelta(minutes=HALF_WAY_MINUTES)),
        )
    )
    session.flush()
    if whole:
        record(session, AuditKind.SIGNED_IN, actor=actor, method=chosen.method, address=chosen.address)
    return token


def find_session(session: Session, token: str, *, idle_minutes: float | None = None) -> SignedIn:
    """Find whose browser sent this token, however far its session has come.

    Args:
        session: A transaction to look in.
        token: From the cookie.
        idle_minutes: How long a session may lie unused; None for as long as it lasts.

    Raises:
        UnauthenticatedError: Unknown or ended, or the account was disabled since.
    """
    stored = session.get(PageSession, hash_secret(token))
    if stored is None or stored.expires_at <= now():
        raise UnauthenticatedError("The session has ended; sign in again.")
    if stored.created_at > now() + timedelta(seconds=SET_BACK_S):
        raise UnauthenticatedError("The clock was set back since the session began; sign in again.")
    if idle_minutes is not None and now() - stored.last_seen_at > timedelta(minutes=idle_minutes):
        raise UnauthenticatedError("The session lay unused for too long; sign in again.")
    officer = session.get_one(Officer, stored.officer_id)
    return SignedIn(
        actor=actor_of(officer),
        name=officer.name,
        csrf_token=stored.csrf_token,
        expires_at=stored.expires_at,
        session_id=stored.id,
        stage=SignInStage(stored.stage),
        method=SignInMethod(stored.method),
        last_seen_at=stored.last_seen_at,
    )


def note_use(session: Session, session_id: UUID) -> None:
    """Store that a session is in use."""
    session.execute(update(PageSession).where(PageSession.id == session_id).values(last_seen_at=now()))


def end_session(session: Session, token: str) -> SignInMethod | None:
    """Sign a browser out, on record, and tell how it was signed in; one that is out already is no error."""
    stored = session.get(PageSession, hash_secret(token))
    if stored is None:
        return None
    officer = session.get_one(Officer, stored.officer_id)
    session.delete(stored)
    if stored.stage == SignInStage.FULL:
        record(session, AuditKind.SIGNED_OUT, actor=_known(officer))
    return SignInMethod(stored.method)


def sessions_of(session: Session, officer_id: UUID) -> list[PageSession]:
    """Return an officer's whole sessions that have not ended, the latest used first."""
    query = select(PageSession).where(
        PageSession.officer_id == officer_id,
        PageSession.stage == SignInStage.FULL,
        PageSession.expires_at > now(),
    )
    return list(session.scalars(query.order_by(PageSession.last_seen_at.desc(), PageSession.id)))


def end_own_session(session: Session, session_id: UUID, *, actor: Actor) -> None:
    """Sign one of an officer's own browsers out, on record.

    Raises:
        NotFoundError: It is nobody's, or somebody else's.
    """
    stored = session.scalar(
        select(PageSession).where(PageSession.id == session_id, PageSession.officer_id == actor.id)
    )
    if stored is None:
        raise NotFoundError("There is no such session of yours.")
    session.delete(stored)
    record(session, AuditKind.SESSION_ENDED, actor=actor, sessions=1)


def end_sessions(session: Session, officer_id: UUID, *, actor: Actor, keep: UUID | None = None) -> int:
    """Sign an officer out everywhere, on record.

    Args:
        session: A transaction.
        officer_id: Whose browsers.
        actor: Who wants it.
        keep: The one session that goes on.

    Returns:
        How many sessions ended.
    """
    doomed = delete(PageSession).where(PageSession.officer_id == officer_id)
    if keep is not None:
        doomed = doomed.where(PageSession.id != keep)
    ended = int(session.execute(doomed).rowcount)  # type: ignore[attr-defined]  # a cursor's, of a delete
    if ended:
        record(session, AuditKind.SESSION_ENDED, actor=actor, sessions=ended)
    return ended


def record_failure(session: Session, *, address: str, result: str, login: str | None = None) -> None:
    """Put a failed sign-in on record.

    Args:
        session: A transaction.
        address: Network address of the browser, as the server saw it.
        result: `refused`, `waiting` (the account's back-off) or `throttled` (the address's).
        login: Of the account, if there is such an account; what else was typed may be a password.
    """
    record(
        session,
        AuditKind.SIGN_IN_FAILED,
        actor=UNKNOWN_VISITOR,
        subject=f"officer:{login}" if login is not None else None,
        result=result,
        address=address,
    )


def _known(officer: Officer) -> Actor:
    return Actor(kind="officer", id=officer.id, name=officer.login)
