"""Passwords: what is accepted, and how they are kept.

Rules after NIST SP 800-63B-4 section 3.1.1: length counts, no mixture of kinds of characters is asked
for, nothing expires by the calendar, and what everybody tries first is refused.
"""

import threading
import tomllib
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from service.errors import OverloadedError

COMMON = Path(__file__).parent / "common_passwords.toml"

SHORTEST, LONGEST = 12, 128
"""Characters. NIST SP 800-63B-4 asks for 8 beside a second factor and 15 without one; 12 lies between because
the factor can be switched off, and a password is not guessed offline as long as the database is kept."""

FEWEST_DIFFERENT = 5
"""Different characters: repetitions and short runs are what people type when they are asked for length."""

HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=16)
"""Argon2id, 19 MiB, 2 passes, 1 lane: OWASP Password Storage Cheat Sheet; RFC 9106 describes the function.
RFC 9106's low-memory choice (64 MiB, 4 lanes) would take the processors away from running checks."""

AT_ONCE = 2
"""Hashes computed at once in one process: 38 MiB and two processors at most, however many sign in."""

WAIT_S = 5.0
"""Seconds that a sign-in waits for its turn before it is answered with 503."""

_turns = threading.BoundedSemaphore(AT_ONCE)


def normalised(password: str) -> str:
    """Return the form that is hashed: the same characters typed on another keyboard give the same bytes.

    Source: NIST SP 800-63B-4 section 3.1.1.2, Unicode NFKC or NFC before hashing.
    """
    return unicodedata.normalize("NFC", password)


def fault_of(password: str, *, login: str) -> str | None:
    """Tell why a password is not accepted.

    Args:
        password: As typed.
        login: Of the account, which must not be in it.

    Returns:
        `short`, `long`, `simple`, `own` or `common`; None if it is accepted.
    """
    text = normalised(password)
    if len(text) < SHORTEST:
        return "short"
    if len(text) > LONGEST:
        return "long"
    folded = text.casefold()
    if len(set(folded)) < FEWEST_DIFFERENT:
        return "simple"
    if len(login) >= 3 and login.casefold() in folded:
        return "own"
    return "common" if folded in common_passwords() else None


@cache
def common_passwords() -> frozenset[str]:
    """Return what everybody tries first, case folded."""
    table = tomllib.loads(COMMON.read_text(encoding="utf-8"))
    return frozenset(str(password).casefold() for password in table["passwords"])


def hash_password(password: str) -> str:
    """Return what is stored for a password.

    Raises:
        OverloadedError: Too many sign-ins are waiting.
    """
    with _turn():
        return HASHER.hash(normalised(password))


def matches(stored: str | None, password: str) -> bool:
    """Tell whether a password is the stored one; an account without one takes just as long.

    Raises:
        OverloadedError: Too many sign-ins are waiting.
    """
    with _turn():
        try:
            return HASHER.verify(stored or _nobodys(), normalised(password[:LONGEST])) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(stored: str) -> bool:
    """Tell whether a hash was made with other parameters, so that the next sign-in should renew it."""
    return HASHER.check_needs_rehash(stored)


@cache
def _nobodys() -> str:
    return HASHER.hash("nobody's password")


@contextmanager
def _turn() -> Iterator[None]:
    if not _turns.acquire(timeout=WAIT_S):
        raise OverloadedError("Too many sign-ins are waiting; try again.")
    try:
        yield
    finally:
        _turns.release()
