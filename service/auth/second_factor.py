"""The second factor: codes of an authenticator application (TOTP, RFC 6238), and recovery codes on paper."""

import hmac
import io
import time
from uuid import UUID

import pyotp
import segno
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from service.auth.one_time import code_hash, make_code
from service.encryption.vault import vault_of
from service.tables import LocalAccount, RecoveryCode, now

PURPOSE = "local_accounts.totp_secret"
"""What the secret is sealed for, see `service.encryption`."""

ISSUER = "OnePerson"
STEP_S = 30
"""Seconds that a code lasts, and its six digits: RFC 6238 section 5.2, RFC 4226 section 5.3; what every
authenticator application takes without being told."""

DRIFT_STEPS = 1
"""Steps before and after the present one that are taken, for clocks that differ: RFC 6238 section 5.2."""

AHEAD_STEPS = 20
"""Steps, ten minutes, beyond which a used step must have been taken while the clock was wrong."""

RECOVERY_CODES = 10


def begin(session: Session, officer_id: UUID) -> str:
    """Return the secret that an officer is setting up, made if there is none; it does nothing yet.

    Args:
        session: A transaction.
        officer_id: Whose.

    Returns:
        160 random bits in base 32 (RFC 4226 section 4, R6).
    """
    account = _account(session, officer_id)
    if account.totp_set_at is None and account.totp_secret is not None:
        return _opened(session, account)
    secret = pyotp.random_base32()
    account.totp_secret = vault_of(session).seal(PURPOSE, str(officer_id), secret.encode())
    account.totp_set_at, account.totp_step = None, 0
    session.flush()
    return secret


def provisioning_uri(secret: str, *, login: str) -> str:
    """Return what the picture holds: the `otpauth:` address that authenticator applications understand."""
    return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=ISSUER)


def picture(secret: str, *, login: str) -> bytes:
    """Draw the secret as a QR code (ISO/IEC 18004), an SVG document without scripts and styles."""
    drawn = io.BytesIO()
    segno.make(provisioning_uri(secret, login=login), error="m").save(
        drawn, kind="svg", scale=5, border=4, light="#fff", xmldecl=False
    )
    return drawn.getvalue()


def is_set(session: Session, officer_id: UUID) -> bool:
    """Tell whether an officer has a second factor that works."""
    account = session.get(LocalAccount, officer_id)
    return account is not None and account.totp_set_at is not None


def confirm(session: Session, officer_id: UUID, code: str) -> list[str] | None:
    """Put the factor that is being set up into force.

    Args:
        session: A transaction.
        officer_id: Whose.
        code: Shown by the application.

    Returns:
        The recovery codes, which are not known again later; None if the code is wrong.
    """
    if is_set(session, officer_id) or not take_code(session, officer_id, code):
        return None
    _account(session, officer_id).totp_set_at = now()
    return renew_recovery_codes(session, officer_id)


def take_code(session: Session, officer_id: UUID, code: str) -> bool:
    """Tell whether a code is right, and use it up: none is taken twice, nor one older than the last."""
    account = _account(session, officer_id)
    if account.totp_secret is None:
        return False
    step = _step_of(_opened(session, account), code)
    if step is None:
        return False
    taken = session.execute(
        update(LocalAccount)
        .where(
            LocalAccount.officer_id == officer_id,
            # A step far ahead was taken before the clock was set back; waiting for it would lock out.
            or_(LocalAccount.totp_step < step, LocalAccount.totp_step > step + AHEAD_STEPS),
        )
        .values(totp_step=step)
    )
    return bool(taken.rowcount == 1)  # type: ignore[attr-defined]  # a cursor's, of an update


def take_recovery_code(session: Session, officer_id: UUID, code: str) -> bool:
    """Tell whether this is one of an officer's recovery codes, and use it up."""
    taken = session.execute(
        update(RecoveryCode)
        .where(
            RecoveryCode.officer_id == officer_id,
            RecoveryCode.code_hash == code_hash(code),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=now())
    )
    return bool(taken.rowcount == 1)  # type: ignore[attr-defined]  # a cursor's, of an update


def renew_recovery_codes(session: Session, officer_id: UUID) -> list[str]:
    """Replace an officer's recovery codes and return the new ones."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.officer_id == officer_id))
    codes = [make_code() for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(officer_id=officer_id, code_hash=code_hash(code)) for code in codes)
    session.flush()
    return codes


def recovery_codes_left(session: Session, officer_id: UUID) -> int:
    """Count an officer's recovery codes that have not been used."""
    unused = select(func.count()).where(RecoveryCode.officer_id == officer_id, RecoveryCode.used_at.is_(None))
    return session.scalar(unused) or 0


def remove(session: Session, officer_id: UUID) -> None:
    """Forget an officer's second factor and recovery codes."""
    account = _account(session, officer_id)
    account.totp_secret = account.totp_set_at = None
    account.totp_step = 0
    session.execute(delete(RecoveryCode).where(RecoveryCode.officer_id == officer_id))


def _step_of(secret: str, code: str) -> int | None:
    """Return the step whose code this is, None if it is no step's near the present one."""
    typed = "".join(code.split())
    present = int(time.time()) // STEP_S
    totp, found = pyotp.TOTP(secret), None
    for step in range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), typed.encode()):
            found = step
    return found


def _opened(session: Session, account: LocalAccount) -> str:
    if account.totp_secret is None:
        raise AssertionError("unreachable: callers look whether there is a secret")
    return vault_of(session).open(PURPOSE, str(account.officer_id), account.totp_secret).decode()


def _account(session: Session, officer_id: UUID) -> LocalAccount:
    account = session.get(LocalAccount, officer_id)
    if account is None:
        account = LocalAccount(officer_id=officer_id)
        session.add(account)
        session.flush()
    return account
