"""How long somebody waits after failing to sign in, without a stranger being able to keep an officer out.

Attempts are counted before the password is looked at, by one conditional update, so that many at once gain
nothing. Whoever signs in from a browser that the officer has used before is counted by that browser;
everybody else shares the account's count. So strangers only hold up strangers, and never for longer than
`LONGEST_WAIT_S`. Source: OWASP, "Slow Down Online Guessing Attacks with Device Cookies".
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.orm import Session

from service.auth.service import KEY_BYTES, hash_secret
from service.tables import KnownBrowser, LocalAccount, now

FREE_ATTEMPTS = 5
"""Attempts before the first wait: an officer who tries two old passwords twice is not held up."""

FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 900.0
"""Seconds; each further failure doubles the wait. At its longest it leaves a stranger 96 guesses a day, which
is nothing against 12 characters, and an officer on a new browser waits a quarter of an hour."""

BROWSER_DAYS = 180
"""Days that a browser is known after its last sign-in."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Where a sign-in comes from.

    Attributes:
        address: Network address of the browser.
        browser: The token by which a browser is known, None for a new one.
    """

    address: str
    browser: str | None = None


def wait_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    if failures < FREE_ATTEMPTS:
        return 0.0
    return float(min(FIRST_WAIT_S * 2 ** min(failures - FREE_ATTEMPTS, 16), LONGEST_WAIT_S))


def known_browser(session: Session, officer_id: UUID, visit: Visit) -> KnownBrowser | None:
    """Find the browser of a visit if this officer has signed in with it before."""
    if not visit.browser:
        return None
    found = session.get(KnownBrowser, hash_secret(visit.browser))
    if found is None or found.officer_id != officer_id or found.expires_at <= now():
        return None
    return found


def count_attempt(session: Session, officer_id: UUID, visit: Visit) -> int | None:
    """Count an attempt before it is judged.

    Returns:
        How many attempts in a row that makes, or None if somebody has to wait first.
    """
    counted = _counter(session, officer_id, visit)
    kind, at = type(counted), now()
    failures: int = counted.failures + 1
    wait_s = wait_after(failures)
    changed = session.execute(
        update(kind)
        .where(
            *_identity(counted),
            kind.failures == failures - 1,
            or_(
                kind.blocked_until.is_(None),
                kind.blocked_until <= at,
                kind.blocked_until > at + timedelta(seconds=LONGEST_WAIT_S),  # The clock was set back since.
            ),
        )
        .values(failures=failures, blocked_until=at + timedelta(seconds=wait_s) if wait_s else None)
    )
    return failures if changed.rowcount == 1 else None  # type: ignore[attr-defined]  # a cursor's, of an update


def clear_attempts(session: Session, officer_id: UUID, visit: Visit) -> None:
    """Start again after a sign-in that succeeded."""
    counted = _counter(session, officer_id, visit)
    counted.failures, counted.blocked_until = 0, None


def blocked_until(session: Session, officer_id: UUID) -> datetime | None:
    """Return until when unknown browsers have to wait, None if they need not."""
    account = session.get(LocalAccount, officer_id)
    until, at = (account.blocked_until if account is not None else None), now()
    if until is None or not at < until <= at + timedelta(seconds=LONGEST_WAIT_S):
        return None
    return until


def remember_browser(session: Session, officer_id: UUID, visit: Visit) -> str:
    """Know this browser from now on, and return the token for its cookie."""
    found = known_browser(session, officer_id, visit)
    until = now() + timedelta(days=BROWSER_DAYS)
    if found is not None and visit.browser:
        found.expires_at = until
        return visit.browser
    token = secrets.token_urlsafe(KEY_BYTES)
    session.add(KnownBrowser(token_hash=hash_secret(token), officer_id=officer_id, expires_at=until))
    session.flush()
    return token


def _counter(session: Session, officer_id: UUID, visit: Visit) -> KnownBrowser | LocalAccount:
    browser = known_browser(session, officer_id, visit)
    if browser is not None:
        return browser
    account = session.get(LocalAccount, officer_id)
    if account is None:
        account = LocalAccount(officer_id=officer_id)
        session.add(account)
        session.flush()
    return account


def _identity(counted: KnownBrowser | LocalAccount) -> tuple[ColumnElement[bool], ...]:
    if isinstance(counted, KnownBrowser):
        return (KnownBrowser.token_hash == counted.token_hash,)
    return (LocalAccount.officer_id == counted.officer_id,)
