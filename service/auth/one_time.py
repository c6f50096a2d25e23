"""Codes that people copy by hand: the one for a first password, and those that replace the second factor."""

import secrets

from service.auth.service import hash_secret

ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ0123456789"
"""Crockford's base 32: no I, L, O or U, so nothing is mistaken when it is read from paper."""

MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0"})

GROUPS, GROUP_LENGTH = 4, 5
"""20 characters of 5 bits: 100 random bits, which a plain SHA-256 protects like a key's."""


def make_code() -> str:
    """Return a random code in groups, such as `7K2QM-…`."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(GROUPS))
    return "-".join(groups)


def code_hash(typed: str) -> str:
    """Return the hash of a code however it was typed: in small letters, with spaces, with O for 0."""
    return hash_secret("".join(typed.upper().translate(MISREAD).replace("-", " ").split())[:100])
