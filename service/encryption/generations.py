"""Encrypts the generations on disk: the cipher that `index.generation_files` asks for."""

from service.encryption.vault import Vault
from service.errors import KeyMissingError, SealBrokenError


class GenerationCipher:
    """Seals frames for one gallery of one pack."""

    def __init__(self, vault: Vault, gallery: str) -> None:
        """Use a vault.

        Args:
            vault: Seals and opens.
            gallery: Name of the gallery and contract of the pack.
        """
        self._vault = vault
        self._purpose = f"generation {gallery}"

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        """Encrypt one frame; see `index.generation_files.Cipher`."""
        return self._vault.seal(self._purpose, context.decode(), plain)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt one frame; see `index.generation_files.Cipher`."""
        try:
            return self._vault.open(self._purpose, context.decode(), sealed)
        except SealBrokenError as error:
            raise _refused(error) from error

    def open_into(self, sealed: memoryview, target: memoryview, *, context: bytes) -> None:
        """Decrypt one frame into a buffer; see `index.generation_files.Cipher`."""
        try:
            self._vault.open_into(self._purpose, context.decode(), sealed, target)
        except SealBrokenError as error:
            raise _refused(error) from error


def _refused(error: SealBrokenError) -> ValueError:
    """Let a generation that cannot be opened be set aside; it is only a copy."""
    if isinstance(error, KeyMissingError):
        return ValueError("its key is not given")
    return ValueError("it was altered, or is another gallery's")
