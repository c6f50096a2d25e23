"""The form of sealed bytes: which key, which nonce, ciphertext and tag, bound to one place.

    0   4  magic `OPE1`
    4   4  number of the data key, big-endian
    8   8  counter, big-endian; behind four zero bytes it is the nonce
    16     ciphertext, then the tag of 16 bytes

A data key seals in one process only, whose counter begins at 0 and never goes back, so no nonce
can occur twice under a key (NIST SP 800-38D, 8.2.1), also after a crash, a fork or a restored backup.
"""

from service.encryption.algorithms import NONCE_BYTES, TAG_BYTES

MAGIC = b"OPE1"
HEADER_BYTES = 16
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES

_PAD = bytes(NONCE_BYTES - 8)


def bound_to(purpose: str, row: str) -> bytes:
    """Return the associated data of sealed bytes: opened for any other place they are refused.

    Args:
        purpose: What kind of thing it is, such as `template`.
        row: Which one, unchanging: the key of its row.
    """
    return f"{purpose}\0{row}".encode()


def header(number: int, counter: int) -> bytes:
    """Return the header of sealed bytes."""
    return MAGIC + number.to_bytes(4, "big") + counter.to_bytes(8, "big")


def nonce_of(head: bytes | memoryview) -> bytes:
    """Return the nonce that a header tells."""
    return _PAD + head[8:16]


def key_number(head: bytes | memoryview) -> int | None:
    """Return the number of the data key, or None where no sealed bytes begin here."""
    if head[:4] != MAGIC or len(head) < HEADER_BYTES:
        return None
    return int.from_bytes(head[4:8], "big")
