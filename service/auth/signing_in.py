"""Signing in with what is kept here: password, second factor, and the code for a first password.

Passwords are hashed outside transactions, because on SQLite a transaction keeps every other writer waiting.
"""

from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth import backoff, passwords, repository, second_factor
from service.auth.backoff import Visit
from service.auth.one_time import code_hash
from service.auth.service import SYSTEM, Actor, actor_of, hash_secret
from service.auth.sessions import (
    Opening,
    SignInMethod,
    SignInStage,
    end_sessions,
    record_failure,
    start_session,
)
from service.database import Database
from service.errors import UnauthenticatedError
from service.settings import Settings
from service.tables import LocalAccount, Officer, PageSession, now

MOST_CODES = 5
"""Wrong codes after which the password has to be given again; each counts towards the account's waits."""


class PasswordFaultError(Exception):
    """A new password that is not accepted; `fault` says why, see `passwords.fault_of`."""

    def __init__(self, fault: str) -> None:
        """Keep why."""
        super().__init__(fault)
        self.fault = fault


class WrongCodeError(Exception):
    """A code of the second factor that is wrong or used; another may be tried."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that was begun.

    Attributes:
        token: For the session's cookie.
        browser: For the cookie by which the browser is known; None while something is missing.
        stage: What the browser has to be sent to.
    """

    token: str = field(repr=False)
    browser: str | None = field(repr=False)
    stage: SignInStage


@dataclass(frozen=True, slots=True)
class _Known:
    officer: Officer
    password_hash: str | None
    setup_hash: str | None


class SigningIn:
    """The rules of signing in, over one application's database and settings."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Keep the collaborators."""
        self._database = database
        self._settings = settings

    def by_password(self, login: str, password: str, visit: Visit) -> Opened:
        """Take a login and a password.

        Raises:
            UnauthenticatedError: They do not belong together, or somebody has to wait; it does not say which.
            OverloadedError: Too many sign-ins are waiting.
        """
        known = self._admitted(login, visit)
        stored = known.password_hash if known is not None else None
        right = passwords.matches(stored, password)
        if known is None or stored is None or not right:
            raise self._refused(known, visit)
        renewed = passwords.hash_password(password) if passwords.is_outdated(stored) else None
        with self._database.write() as session:
            if renewed is not None:
                _replace_hash(session, known.officer.id, stored, password_hash=renewed)
            return self._begin(session, known.officer, visit)

    def by_setup_code(self, login: str, code: str, password: str, visit: Visit) -> Opened:
        """Take the code that the operator handed over, and set the first password.

        Raises:
            UnauthenticatedError: The code is not this login's, was used, or has ended.
            PasswordFaultError: The code is right, the password is not accepted; the code can be used again.
            OverloadedError: Too many sign-ins are waiting.
        """
        known = self._admitted(login, visit)
        if known is None or known.setup_hash != code_hash(code):
            raise self._refused(known, visit)
        _require_acceptable(password, known.officer)
        hashed = passwords.hash_password(password)
        with self._database.write() as session:
            used = session.execute(
                update(LocalAccount)
                .where(
                    LocalAccount.officer_id == known.officer.id, LocalAccount.setup_hash == known.setup_hash
                )
                .values(setup_hash=None, setup_expires_at=None, password_hash=hashed, password_set_at=now())
            )
            if used.rowcount != 1:  # type: ignore[attr-defined]  # a cursor's, of an update
                raise UnauthenticatedError("The code has been used.")
            actor = actor_of(known.officer)
            record(session, AuditKind.PASSWORD_CHANGED, actor=actor, subject=f"officer:{actor.name}")
            return self._begin(session, known.officer, visit)

    def by_code(self, token: str, code: str, visit: Visit) -> Opened:
        """Take the second factor of a session that waits for it: a code, or a recovery code.

        Raises:
            UnauthenticatedError: No session waits for a code, or this one has had too many.
            WrongCodeError: The code is wrong or was used before; another may be tried.
        """
        with self._database.write() as session:
            waiting = _counted(session, token)
            officer = session.get_one(Officer, waiting.officer_id) if waiting is not None else None
            method = _method_of(session, officer.id, code) if officer is not None else None
            if waiting is not None and officer is not None and method is not None:
                session.delete(session.get_one(PageSession, waiting.token_hash))
                if method is SignInMethod.RECOVERY:
                    record(
                        session,
                        AuditKind.SECOND_FACTOR_SET,
                        actor=actor_of(officer),
                        subject=f"officer:{officer.login}",
                        result="recovery-code-used",
                        left=second_factor.recovery_codes_left(session, officer.id),
                    )
                return self._finish(session, officer, visit, method)
        if officer is None:
            raise UnauthenticatedError("Sign in again.")
        self._count_wrong_code(officer, visit)
        raise WrongCodeError("The code is wrong or was used before.")

    def after_set_up(self, token: str, officer_id: UUID, visit: Visit) -> Opened:
        """Turn a session that had to set up the second factor into a whole one."""
        with self._database.write() as session:
            officer = session.get_one(Officer, officer_id)
            waiting = session.get(PageSession, hash_secret(token))
            if waiting is not None:
                session.delete(waiting)
            return self._finish(session, officer, visit, SignInMethod.TOTP)

    def change_password(
        self, actor: Actor, current: str, new: str, *, session_id: UUID, visit: Visit
    ) -> None:
        """Change an officer's own password, and sign out every other browser.

        Raises:
            UnauthenticatedError: The present password is wrong, or somebody has to wait.
            PasswordFaultError: The new password is not accepted.
            OverloadedError: Too many sign-ins are waiting.
        """
        known = self._admitted(actor.name, visit)
        stored = known.password_hash if known is not None else None
        if known is None or not passwords.matches(stored, current):
            raise self._refused(known, visit)
        _require_acceptable(new, known.officer)
        if passwords.normalised(new) == passwords.normalised(current):
            raise PasswordFaultError("same")
        hashed = passwords.hash_password(new)
        with self._database.write() as session:
            _replace_hash(session, known.officer.id, stored, password_hash=hashed, password_set_at=now())
            backoff.clear_attempts(session, known.officer.id, visit)
            record(session, AuditKind.PASSWORD_CHANGED, actor=actor, subject=f"officer:{actor.name}")
            end_sessions(session, known.officer.id, actor=actor, keep=session_id)

    def is_known_browser(self, login: str, visit: Visit) -> bool:
        """Tell whether the owner of this login has signed in with this browser before."""
        with self._database.read() as session:
            officer = repository.officer_by_login(session, login)
            return officer is not None and backoff.known_browser(session, officer.id, visit) is not None

    def _admitted(self, login: str, visit: Visit) -> _Known | None:
        """Count an attempt and return whose it is; None where nobody may go on.

        Raises:
            UnauthenticatedError: Somebody has to wait; the answer takes as long as a wrong password's.
        """
        with self._database.write() as session:
            officer = repository.officer_by_login(session, login)
            if officer is None:
                return None
            count = backoff.count_attempt(session, officer.id, visit)
            account = session.get_one(LocalAccount, officer.id) if _has_account(session, officer) else None
        if count is None:
            passwords.matches(None, "")
            raise self._refused(_Known(officer, None, None), visit, result="waiting")
        if officer.disabled_at is not None or account is None:
            return _Known(officer, None, None)
        valid = account.setup_expires_at is not None and account.setup_expires_at > now()
        return _Known(officer, account.password_hash, account.setup_hash if valid else None)

    def _begin(self, session: Session, officer: Officer, visit: Visit) -> Opened:
        """Start the session that a right password opens."""
        wanted = self._settings.second_factor
        if wanted == "off" or (wanted == "optional" and not second_factor.is_set(session, officer.id)):
            return self._finish(session, officer, visit, SignInMethod.PASSWORD)
        stage = SignInStage.FACTOR if second_factor.is_set(session, officer.id) else SignInStage.SET_UP
        opening = Opening(stage, SignInMethod.PASSWORD, visit.address)
        return Opened(start_session(session, officer, hours=1, opening=opening), None, stage)

    def _finish(self, session: Session, officer: Officer, visit: Visit, method: SignInMethod) -> Opened:
        backoff.clear_attempts(session, officer.id, visit)
        opening = Opening(SignInStage.FULL, method, visit.address)
        token = start_session(session, officer, hours=self._settings.session_hours, opening=opening)
        return Opened(token, backoff.remember_browser(session, officer.id, visit), SignInStage.FULL)

    def _refused(
        self, known: _Known | None, visit: Visit, *, result: str = "refused"
    ) -> UnauthenticatedError:
        """Put a failure on record, and return the error, which does not say what was wrong."""
        login = known.officer.login if known is not None else None
        with self._database.write() as session:
            record_failure(session, address=visit.address, result=result, login=login)
            if known is not None and result == "refused":
                _tell_of_waits(session, known.officer, visit)
        return UnauthenticatedError("The sign-in was refused.")

    def _count_wrong_code(self, officer: Officer, visit: Visit) -> None:
        with self._database.write() as session:
            backoff.count_attempt(session, officer.id, visit)
            record_failure(session, address=visit.address, result="wrong-code", login=officer.login)
            _tell_of_waits(session, officer, visit)


def _counted(session: Session, token: str) -> PageSession | None:
    """Count a code against the session that waits for one; None if none does, or it has had too many."""
    counted = session.execute(
        update(PageSession)
        .where(
            PageSession.token_hash == hash_secret(token),
            PageSession.stage == SignInStage.FACTOR,
            PageSession.failures < MOST_CODES,
            PageSession.expires_at > now(),
        )
        .values(failures=PageSession.failures + 1)
    )
    if counted.rowcount != 1:  # type: ignore[attr-defined]  # a cursor's, of an update
        return None
    return session.get(PageSession, hash_secret(token))


def _method_of(session: Session, officer_id: UUID, code: str) -> SignInMethod | None:
    if second_factor.take_code(session, officer_id, code):
        return SignInMethod.TOTP
    return SignInMethod.RECOVERY if second_factor.take_recovery_code(session, officer_id, code) else None


def _tell_of_waits(session: Session, officer: Officer, visit: Visit) -> None:
    """Put it on record when an account begins to make strangers wait; the doubling waits add nothing new."""
    account = session.get(LocalAccount, officer.id)
    if account is None or account.failures != backoff.FREE_ATTEMPTS:
        return
    record(
        session,
        AuditKind.ACCOUNT_LOCKED,
        actor=SYSTEM,
        subject=f"officer:{officer.login}",
        address=visit.address,
        longest_wait_s=backoff.LONGEST_WAIT_S,
    )


def _require_acceptable(password: str, officer: Officer) -> None:
    fault = passwords.fault_of(password, login=officer.login)
    if fault is not None:
        raise PasswordFaultError(fault)


def _replace_hash(session: Session, officer_id: UUID, old: str | None, **values: object) -> None:
    """Store another hash unless the password was changed meanwhile."""
    session.execute(
        update(LocalAccount)
        .where(LocalAccount.officer_id == officer_id, LocalAccount.password_hash == old)
        .values(**values)
    )


def _has_account(session: Session, officer: Officer) -> bool:
    return session.get(LocalAccount, officer.id) is not None
