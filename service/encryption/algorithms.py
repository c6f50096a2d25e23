"""The two authenticated ciphers: AES-256-GCM, and SM4-GCM where national cryptography is required.

Sources: NIST SP 800-38D (GCM); GB/T 32907 (SM4); RFC 8998 (SM4 in GCM with a 16-byte tag);
RFC 5869 (HKDF); GB/T 32905 (SM3).
"""

from enum import StrEnum
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TAG_BYTES = 16
"""Full length of a GCM tag; shorter ones are easier to forge (SP 800-38D, appendix C)."""

NONCE_BYTES = 12
"""The length for which GCM uses a nonce as it is (SP 800-38D, 7.1)."""


class Algorithm(StrEnum):
    """What new data is sealed with; what is stored says itself what it was sealed with."""

    AES_256_GCM = "aes-256-gcm"
    SM4_GCM = "sm4-gcm"

    @property
    def key_bytes(self) -> int:
        """Length of a data key."""
        return 32 if self is Algorithm.AES_256_GCM else 16


class Aead(Protocol):
    """One data key, ready for use from any thread; `open` raises InvalidTag for anything altered."""

    def seal(self, nonce: bytes, plain: bytes | memoryview, bound: bytes) -> bytes:
        """Return ciphertext and tag."""

    def open(self, nonce: bytes, sealed: bytes | memoryview, bound: bytes) -> bytes:
        """Return the plain bytes."""

    def open_into(self, nonce: bytes, sealed: memoryview, bound: bytes, target: memoryview) -> None:
        """Write the plain bytes to a buffer of just their length."""


class _Aes:
    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, nonce: bytes, plain: bytes | memoryview, bound: bytes) -> bytes:
        return self._cipher.encrypt(nonce, plain, bound)

    def open(self, nonce: bytes, sealed: bytes | memoryview, bound: bytes) -> bytes:
        return self._cipher.decrypt(nonce, sealed, bound)

    def open_into(self, nonce: bytes, sealed: memoryview, bound: bytes, target: memoryview) -> None:
        self._cipher.decrypt_into(nonce, sealed, bound, target)


class _Sm4:
    def __init__(self, key: bytes) -> None:
        self._key = algorithms.SM4(key)

    def seal(self, nonce: bytes, plain: bytes | memoryview, bound: bytes) -> bytes:
        encryptor = Cipher(self._key, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(bound)
        return encryptor.update(plain) + encryptor.finalize() + encryptor.tag

    def open(self, nonce: bytes, sealed: bytes | memoryview, bound: bytes) -> bytes:
        view = memoryview(sealed)
        if len(view) < TAG_BYTES:
            raise InvalidTag
        decryptor = Cipher(self._key, modes.GCM(nonce, bytes(view[-TAG_BYTES:]))).decryptor()
        decryptor.authenticate_additional_data(bound)
        return decryptor.update(view[:-TAG_BYTES]) + decryptor.finalize()

    def open_into(self, nonce: bytes, sealed: memoryview, bound: bytes, target: memoryview) -> None:
        target[:] = self.open(nonce, sealed, bound)


def aead(algorithm: Algorithm, key: bytes) -> Aead:
    """Make a cipher of a data key, whose length must be the algorithm's."""
    return _Aes(key) if algorithm is Algorithm.AES_256_GCM else _Sm4(key)


def derived(algorithm: Algorithm, key: bytes, *, salt: bytes, purpose: bytes) -> bytes:
    """Derive a key for one purpose by HKDF, with SHA-256 or, beside SM4, SM3."""
    digest = hashes.SHA256() if algorithm is Algorithm.AES_256_GCM else hashes.SM3()
    return HKDF(digest, algorithm.key_bytes, salt, purpose).derive(key)
