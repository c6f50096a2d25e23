"""The form of a backup: a header that says which key is needed, then sealed frames, the last one marked.

    18   magic `OnePerson backup` and two bytes
    4    length of the header, big-endian
         header, JSON: format, when, version, schema revision, the key that wraps this backup's own
    then frames, each: 4 bytes length, big-endian; ciphertext and tag

Every backup is sealed with a key of its own, made for it and wrapped by the operator's key, so its nonces,
the numbers of the frames, can never meet those of anything else. Each frame is bound to the header, its
number and whether it is the last: changed, moved, missing or added ones are refused, and so is an end
that is cut off (Hoang, Reyhanitabar, Rogaway and Vizár 2015, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance", section 7: STREAM).
"""

import base64
import binascii
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import BinaryIO

from cryptography.exceptions import InvalidTag

from service.backup.errors import BackupError
from service.encryption.algorithms import NONCE_BYTES, TAG_BYTES, Aead, Algorithm, aead
from service.encryption.keys import KeyRing, MasterKey

MAGIC = b"OnePerson backup\r\n"
"""The end of line shows a file that was carried over as text."""

FORMAT = 1
FRAME_BYTES = 2**20
LONGEST_HEADER = 2**16

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Header:
    """What stands at the beginning in clear; the first frame proves it.

    Attributes:
        format: Of the file.
        made_at: When, ISO 8601.
        version: Of the program.
        revision: Of the schema.
        key: Id of the operator's key that is needed.
        algorithm: Of the frames.
        wrapped: This backup's key, wrapped, base64.
    """

    format: int
    made_at: str
    version: str
    revision: str
    key: str
    algorithm: str
    wrapped: str


class SealedWriter:
    """Seals what is written, frame by frame."""

    def __init__(
        self,
        file: BinaryIO,
        master: MasterKey,
        algorithm: Algorithm,
        *,
        made_at: str,
        version: str,
        revision: str,
    ) -> None:
        """Write the header with a fresh key in it."""
        secret = os.urandom(algorithm.key_bytes)
        wrapped = master.wrap(algorithm, secret, bound=_bound(algorithm, master))
        self.header = Header(
            FORMAT,
            made_at,
            version,
            revision,
            master.id,
            str(algorithm),
            base64.b64encode(wrapped).decode(),
        )
        head = json.dumps(asdict(self.header)).encode()
        file.write(MAGIC + len(head).to_bytes(_LENGTH_BYTES, "big") + head)
        self._file = file
        self._frames = _Frames(aead(algorithm, secret), head)
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        """Take bytes; they reach the file with the frame that they fill."""
        self._waiting += data
        while len(self._waiting) > FRAME_BYTES:  # What may be the last frame waits for the end.
            self._frame(bytes(self._waiting[:FRAME_BYTES]), last=False)
            del self._waiting[:FRAME_BYTES]

    def finish(self) -> None:
        """Write the last frame."""
        self._frame(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _frame(self, plain: bytes, *, last: bool) -> None:
        sealed = self._frames.seal(plain, last=last)
        self._file.write(len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed)


class SealedReader:
    """Reads what a `SealedWriter` wrote; whatever it returns is authentic."""

    def __init__(self, file: BinaryIO, ring: KeyRing) -> None:
        """Read the header and open this backup's key.

        Raises:
            BackupError: No backup, of a later format, or its key is not among those given.
        """
        self.header, head = read_header(file)
        master = ring.get(self.header.key)
        if master is None:
            given = ", ".join(ring) or "none"
            raise BackupError(
                f"the backup needs the encryption key {self.header.key}, but the settings give {given}"
            )
        try:
            algorithm = Algorithm(self.header.algorithm)
            wrapped = base64.b64decode(self.header.wrapped, validate=True)
            secret = master.unwrap(algorithm, wrapped, bound=_bound(algorithm, master))
        except (InvalidTag, ValueError, binascii.Error):
            raise BackupError("the backup is damaged: its header was altered") from None
        self._file = file
        self._frames = _Frames(aead(algorithm, secret), head)
        self._ready = bytearray()
        self._is_whole = False

    def read(self, count: int) -> bytes:
        """Return just so many bytes.

        Raises:
            BackupError: The file ends before, or was altered.
        """
        while len(self._ready) < count:
            if self._is_whole:
                raise BackupError("the backup is damaged: its content ends within an item")
            self._ready += self._next()
        data = bytes(self._ready[:count])
        del self._ready[:count]
        return data

    def require_end(self) -> None:
        """Make sure that nothing follows.

        Raises:
            BackupError: Something does, or the last frame is missing.
        """
        while not self._is_whole:
            self._ready += self._next()
        if self._ready or self._file.read(1):
            raise BackupError("the backup is damaged: it goes on after its end")

    def _next(self) -> bytes:
        length = int.from_bytes(self._file.read(_LENGTH_BYTES), "big")
        sealed = self._file.read(min(length, FRAME_BYTES + TAG_BYTES))
        if length < TAG_BYTES or len(sealed) != length:
            raise BackupError("the backup is truncated or damaged: it ends within a frame")
        plain, self._is_whole = self._frames.open(sealed)
        return plain


class _Frames:
    """Seals and opens numbered frames, each bound to the header and to whether it is the last."""

    def __init__(self, cipher: Aead, head: bytes) -> None:
        self._cipher = cipher
        self._mark = hashlib.sha256(head).hexdigest()
        self._number = 0

    def seal(self, plain: bytes, *, last: bool) -> bytes:
        sealed = self._cipher.seal(self._nonce(), plain, self._place(last=last))
        self._number += 1
        return sealed

    def open(self, sealed: bytes) -> tuple[bytes, bool]:
        for last in (False, True):
            try:
                plain = self._cipher.open(self._nonce(), sealed, self._place(last=last))
            except InvalidTag:
                continue
            self._number += 1
            return plain, last
        raise BackupError(f"the backup is damaged: frame {self._number + 1} was altered or exchanged")

    def _nonce(self) -> bytes:
        return self._number.to_bytes(NONCE_BYTES, "big")

    def _place(self, *, last: bool) -> bytes:
        return f"backup frame\0{self._mark}\0{self._number}\0{int(last)}".encode()


def read_header(file: BinaryIO) -> tuple[Header, bytes]:
    """Read the header, which nothing proves yet, and its bytes.

    Raises:
        BackupError: No backup of OnePerson, cut off, or of a later format.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise BackupError("the file is no backup of OnePerson")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
    head = file.read(min(length, LONGEST_HEADER))
    try:
        values = json.loads(head) if len(head) == length else None
        if isinstance(values, dict) and int(values.get("format", 0)) > FORMAT:
            raise BackupError(
                f"the backup was made by OnePerson {values.get('version')}, a later version: install that one"
            )
        header = Header(**values) if isinstance(values, dict) else None
    except (ValueError, TypeError, RecursionError):
        header = None
    if header is None or not all(isinstance(text, str) for text in list(asdict(header).values())[1:]):
        raise BackupError("the backup is truncated or damaged: its header cannot be read")
    return header, head


def _bound(algorithm: Algorithm, master: MasterKey) -> bytes:
    return f"backup key\0{algorithm}\0{master.id}".encode()
