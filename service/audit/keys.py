"""The keys of the audit log: what they compute, and where they come from."""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SM3
from cryptography.hazmat.primitives.hmac import HMAC

from service.errors import SettingsError
from service.key_files import held
from service.settings import Settings

KEY_BYTES = 32
"""Bytes of a key: as long as the output of both hashes (RFC 2104 section 3)."""

SHA256, SM3_HASH = "sha256", "sm3"
KEY_FILE = "audit.key"


def _sm3(key: bytes, message: bytes) -> bytes:
    code = HMAC(key, SM3())
    code.update(message)
    return code.finalize()


class AuditKey:
    """One secret with one hash: codes for the chain, signatures for what leaves the database.

    With SHA-256 signatures are Ed25519, so that others can check them with the public key. With SM3 they are
    HMAC-SM3, so that nothing but national algorithms is used; only the holder of the secret can check those.
    """

    def __init__(self, secret: bytes, hash_name: str) -> None:
        """Derive what is needed.

        Args:
            secret: `KEY_BYTES` random bytes.
            hash_name: `sha256` or `sm3`.
        """
        self._hash = hash_name
        self._chain = self._code(secret, b"oneperson audit chain")
        self._signing = self._code(secret, b"oneperson audit signature")
        self.tag = f"{hash_name}-{self._code(secret, b'oneperson audit key name').hex()[:12]}"

    def _code(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, "sha256") if self._hash == SHA256 else _sm3(key, message)

    def mac(self, message: bytes) -> str:
        """Return the code of a message, in hex."""
        return self._code(self._chain, message).hex()

    @property
    def public_key(self) -> str | None:
        """What others check signatures with, in hex; None with SM3."""
        if self._hash != SHA256:
            return None
        return Ed25519PrivateKey.from_private_bytes(self._signing).public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """Return the signature of a message, in hex."""
        if self._hash != SHA256:
            return self._code(self._signing, message).hex()
        return Ed25519PrivateKey.from_private_bytes(self._signing).sign(message).hex()

    def signed(self, message: bytes, signature: str) -> bool:
        """Tell whether a signature is this key's."""
        if self.public_key is not None:
            return signature_fits(self.public_key, message, signature)
        return hmac.compare_digest(self.sign(message).encode(), signature.encode("utf-8", "replace"))


def signature_fits(public_key: str, message: bytes, signature: str) -> bool:
    """Tell whether an Ed25519 signature fits a public key, both in hex; False for what is no hex at all."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
            bytes.fromhex(signature), message
        )
    except (InvalidSignature, ValueError):
        return False
    return True


class KeyRing:
    """The present key, and earlier ones that older events need."""

    def __init__(
        self,
        secret_keys: Sequence[bytes],
        hash_name: str,
        *,
        reread: Callable[[], Sequence[bytes]] | None = None,
    ) -> None:
        """Take keys.

        Args:
            secret_keys: The present one first.
            hash_name: What new events are chained with.
            reread: Reads the keys again, where they can change while this runs.
        """
        self._hash_name = hash_name
        self._reread = reread
        self._take(secret_keys)

    def _take(self, secret_keys: Sequence[bytes]) -> None:
        self.current = AuditKey(secret_keys[0], self._hash_name)
        keys = [AuditKey(secret, name) for secret in secret_keys for name in (SHA256, SM3_HASH)]
        self._keys = {key.tag: key for key in keys}

    def find(self, tag: str) -> AuditKey | None:
        """Return the key of this name, or None if it is not known."""
        return self._keys.get(tag)

    def find_anew(self, tag: str) -> AuditKey | None:
        """Look for a key, if need be in a file that another process has changed since."""
        if tag not in self._keys and self._reread is not None:
            self._take(self._reread())
        return self.find(tag)


def load_keys(settings: Settings) -> KeyRing:
    """Find the keys that the settings name; with none named, make one under the data folder once.

    Raises:
        SettingsError: A key cannot be read, or is none.
    """
    if settings.audit_key is not None:
        named = _parsed(settings.audit_key.get_secret_value(), "ONEPERSON_AUDIT_KEY")
        return KeyRing(named, settings.audit_hash)
    path = key_file(settings)
    if settings.audit_key_file is None:
        _make_once(path)
    return KeyRing(_read(path), settings.audit_hash, reread=lambda: _read(path))


def key_file(settings: Settings) -> Path:
    """Return the file that holds the keys, where no setting holds them itself."""
    return settings.audit_key_file or settings.data_dir / KEY_FILE


def add_key(settings: Settings) -> None:
    """Put a new key before those of the key file.

    Raises:
        SettingsError: The keys are in a setting or cannot be written.
    """
    if settings.audit_key is not None:
        raise SettingsError("ONEPERSON_AUDIT_KEY: put the new key first, a comma and the old one after it")
    path = key_file(settings)
    try:
        with held(path):
            _write(path, [secrets.token_bytes(KEY_BYTES), *_read(path)], replace=True)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from error


def _parsed(text: str, where: str) -> list[bytes]:
    found = [part for part in re.split(r"[\s,]+", text) if part]
    if not found or any(re.fullmatch(r"[0-9A-Fa-f]{64}", part) is None for part in found):
        raise SettingsError(
            f"{where}: give 64 hexadecimal digits for each key; 'openssl rand -hex 32' makes one"
        )
    return [bytes.fromhex(part) for part in found]


def _read(path: Path) -> list[bytes]:
    try:
        return _parsed(path.read_text(encoding="ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the audit key cannot be read ({type(error).__name__})") from error


def _make_once(path: Path) -> None:
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, [secrets.token_bytes(KEY_BYTES)], replace=False)
    except OSError as error:
        raise SettingsError(f"{path}: the audit key cannot be stored ({error.strerror})") from error


def _write(path: Path, keys: Sequence[bytes], *, replace: bool) -> None:
    """Write a whole file aside, readable by its owner only, and put it in place."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write("".join(f"{key.hex()}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(aside).replace(path)
        else:
            with contextlib.suppress(FileExistsError):  # Another process was first; its key counts.
                os.link(aside, path)
    finally:
        Path(aside).unlink(missing_ok=True)


def keyed_mark(key: AuditKey, value: str) -> str:
    """Return a mark by which equal values are known; without the key nothing can be guessed from it."""
    return key.mac(b"value:" + value.encode())[:16]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
