"""Opens sealed bytes with data keys that are at hand."""

from collections.abc import Mapping

from cryptography.exceptions import InvalidTag

from service.encryption.algorithms import TAG_BYTES, Aead
from service.encryption.sealing import HEADER_BYTES, bound_to, key_number, nonce_of
from service.errors import SealBrokenError


class Opener:
    """Opens what was sealed, with data keys that are known beforehand."""

    def __init__(self, ciphers: Mapping[int, Aead]) -> None:
        """Use these data keys, by number."""
        self._ciphers = dict(ciphers)

    def open(self, purpose: str, row: str, sealed: bytes) -> bytes:
        """Decrypt what `Vault.seal` made for the same place.

        Raises:
            SealBrokenError: Altered, moved here from another place, not encrypted at all, or
                sealed with a key that is not given.
            DatabaseUnavailableError: The data key is not known yet and the database is away.
        """
        cipher = self._cipher_of(sealed)
        try:
            return cipher.open(nonce_of(sealed), memoryview(sealed)[HEADER_BYTES:], bound_to(purpose, row))
        except InvalidTag:
            raise broken() from None

    def open_into(self, purpose: str, row: str, sealed: memoryview, target: memoryview) -> None:
        """Decrypt into a buffer of just the right length; see `open`."""
        cipher = self._cipher_of(sealed)
        if len(sealed) - HEADER_BYTES - TAG_BYTES != len(target):
            raise broken()
        try:
            cipher.open_into(nonce_of(sealed), sealed[HEADER_BYTES:], bound_to(purpose, row), target)
        except InvalidTag:
            raise broken() from None

    def _cipher_of(self, sealed: bytes | memoryview) -> Aead:
        number = key_number(sealed)
        if number is None:
            raise SealBrokenError("Stored data is not encrypted, or its beginning was altered.")
        return self._ciphers.get(number) or self._fetched(number)

    def _fetched(self, number: int) -> Aead:  # noqa: ARG002 - the vault asks its database
        raise broken()


def broken() -> SealBrokenError:
    """Say that sealed bytes are not what was sealed for this place."""
    return SealBrokenError("Stored data was altered or moved, or its key is gone; it is not used.")
