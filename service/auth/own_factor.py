"""What officers do with their own second factor, on record."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth import backoff, second_factor
from service.auth.backoff import Visit
from service.auth.service import Actor
from service.auth.sessions import SignedIn, SignInStage, end_sessions
from service.errors import NotFoundError
from service.tables import LocalAccount, PageSession


@dataclass(frozen=True, slots=True)
class FactorState:
    """How an officer's second factor stands.

    Attributes:
        secret: To be typed into an application, while it is being set up; else None.
        set_at: Since when it is in force, None if it is not.
        codes_left: Recovery codes that have not been used.
    """

    secret: str | None = field(repr=False)
    set_at: datetime | None
    codes_left: int


def state_of(session: Session, actor: Actor) -> FactorState:
    """Return how an officer's second factor stands; the setting up begins with it."""
    officer_id = _id(actor)
    account = session.get(LocalAccount, officer_id)
    if account is not None and account.totp_set_at is not None:
        return FactorState(None, account.totp_set_at, second_factor.recovery_codes_left(session, officer_id))
    return FactorState(second_factor.begin(session, officer_id), None, 0)


def secret_in_preparation(session: Session, actor: Actor) -> str:
    """Return the secret that is being set up.

    Raises:
        NotFoundError: The factor is in force, and its secret is shown to nobody.
    """
    state = state_of(session, actor)
    if state.secret is None:
        raise NotFoundError("The second factor is in force; its secret is not shown again.")
    return state.secret


def confirm(session: Session, actor: Actor, code: str) -> list[str] | None:
    """Put the factor into force; returns the recovery codes, None if the code is wrong."""
    codes = second_factor.confirm(session, _id(actor), code)
    if codes is not None:
        _note(session, AuditKind.SECOND_FACTOR_SET, actor, "done")
    return codes


def renew_codes(session: Session, actor: Actor, code: str, visit: Visit) -> list[str] | None:
    """Replace the recovery codes; None if the code is wrong, or somebody has to wait."""
    if not _proved(session, _id(actor), code, visit):
        return None
    _note(session, AuditKind.SECOND_FACTOR_SET, actor, "recovery-codes-renewed")
    return second_factor.renew_recovery_codes(session, _id(actor))


def remove(session: Session, visitor: SignedIn, code: str, visit: Visit, *, must_set_up: bool) -> bool:
    """Give the factor up and sign out every other browser; False if the code is wrong or it is too early.

    Args:
        session: A transaction.
        visitor: Whose, and the session that goes on.
        code: Of the factor, or a recovery code.
        visit: Where from.
        must_set_up: Whether the session opens nothing else until another factor is set up.
    """
    officer_id = _id(visitor.actor)
    if not _proved(session, officer_id, code, visit):
        return False
    second_factor.remove(session, officer_id)
    end_sessions(session, officer_id, actor=visitor.actor, keep=visitor.session_id)
    if must_set_up:
        for own in session.query(PageSession).where(PageSession.id == visitor.session_id):
            own.stage = SignInStage.SET_UP
    _note(session, AuditKind.SECOND_FACTOR_REMOVED, visitor.actor, "done")
    return True


def _proved(session: Session, officer_id: UUID, code: str, visit: Visit) -> bool:
    """Ask for the factor once more: a browser left alone must not be enough to change it."""
    if backoff.count_attempt(session, officer_id, visit) is None:
        return False
    right = second_factor.take_code(session, officer_id, code) or second_factor.take_recovery_code(
        session, officer_id, code
    )
    if right:
        backoff.clear_attempts(session, officer_id, visit)
    return right


def _note(session: Session, kind: AuditKind, actor: Actor, result: str) -> None:
    record(session, kind, actor=actor, subject=f"officer:{actor.name}", result=result)


def _id(actor: Actor) -> UUID:
    if actor.id is None:
        raise AssertionError("unreachable: an officer who is signed in has an id")
    return actor.id
