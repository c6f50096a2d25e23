"""Encrypts the generations of a benchmark as the service encrypts its own, with a key of nobody."""

import itertools

from service.encryption.algorithms import Algorithm, aead
from service.encryption.opener import Opener
from service.encryption.sealing import bound_to, header, nonce_of

_KEY = bytes(32)
_NUMBER = 1
_PURPOSE = "benchmark"


class BenchmarkCipher:
    """AES-256-GCM in the form that is stored; the key is no secret, and neither is what it seals."""

    def __init__(self) -> None:
        """Begin to count."""
        self._aead = aead(Algorithm.AES_256_GCM, _KEY)
        self._opener = Opener({_NUMBER: self._aead})
        self._counter = itertools.count()

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        """Encrypt one frame; see `index.generation_files.Cipher`."""
        head = header(_NUMBER, next(self._counter))
        return head + self._aead.seal(nonce_of(head), plain, bound_to(_PURPOSE, context.decode()))

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt one frame; see `index.generation_files.Cipher`."""
        return self._opener.open(_PURPOSE, context.decode(), sealed)

    def open_into(self, sealed: memoryview, target: memoryview, *, context: bytes) -> None:
        """Decrypt one frame into a buffer; see `index.generation_files.Cipher`."""
        self._opener.open_into(_PURPOSE, context.decode(), sealed, target)


def benchmark_cipher() -> BenchmarkCipher:
    """Return a cipher that opens what any other of its kind has sealed."""
    return BenchmarkCipher()
