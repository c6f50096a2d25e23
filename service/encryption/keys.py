"""The operator's keys: read from the environment, a file or a command, or made once on first use.

A key is 32 random bytes in base64; several stand on lines of their own or after a comma, and
`#` begins a comment. A key's id is derived from the key, so a wrong key can never pass for another.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.encryption.algorithms import TAG_BYTES, Algorithm, aead, derived
from service.errors import SettingsError
from service.settings import Settings

KEY_BYTES = 32
"""256 bits; from it every wrapping key is derived, whatever its algorithm."""

COMMAND_TIMEOUT_S = 30
"""Seconds that the key command may take: a key server asked over the network answers in a few."""

_SALT_BYTES = 32
_NAME = b"oneperson master key id"
_WRAP = b"oneperson wrap data key"
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A key that wraps data keys.

    Attributes:
        id: 16 hex digits that tell nothing of the key.
    """

    id: str
    _secret: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> "MasterKey":
        """Make one of its bytes."""
        return cls(hmac.digest(secret, _NAME, hashlib.sha256).hex()[:16], secret)

    def written(self) -> str:
        """Return the key as it is written into a key file."""
        return base64.b64encode(self._secret).decode()

    def wrap(self, algorithm: Algorithm, data_key: bytes, *, bound: bytes) -> bytes:
        """Encrypt a data key. The wrapping key is derived from a fresh salt and used this once."""
        salt = secrets.token_bytes(_SALT_BYTES)
        once = derived(algorithm, self._secret, salt=salt, purpose=_WRAP)
        return salt + aead(algorithm, once).seal(_NONCE, data_key, bound)

    def unwrap(self, algorithm: Algorithm, wrapped: bytes, *, bound: bytes) -> bytes:
        """Undo `wrap`.

        Raises:
            InvalidTag: Altered, or wrapped for something else.
        """
        if len(wrapped) != _SALT_BYTES + algorithm.key_bytes + TAG_BYTES:
            wrapped = bytes(_SALT_BYTES + TAG_BYTES)  # No length of its own tells anything: it fails below.
        once = derived(algorithm, self._secret, salt=wrapped[:_SALT_BYTES], purpose=_WRAP)
        return aead(algorithm, once).open(_NONCE, wrapped[_SALT_BYTES:], bound)


KeyRing = Mapping[str, MasterKey]
"""Master keys by id, in the order in which they were given."""


def new_key() -> str:
    """Return a fresh random key as it is written into a key file."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def key_source(settings: Settings) -> str:
    """Name the setting that the keys come from, or the default file.

    Raises:
        SettingsError: More than one is set.
    """
    sources = {
        "ONEPERSON_ENCRYPTION_KEYS": settings.encryption_keys,
        "ONEPERSON_ENCRYPTION_KEY_FILE": settings.encryption_key_file,
        "ONEPERSON_ENCRYPTION_KEY_COMMAND": settings.encryption_key_command,
    }
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise SettingsError(f"{' and '.join(given)}: give the keys in one place only")
    return given[0] if given else str(settings.default_key_file)


def key_file(settings: Settings) -> Path | None:
    """Return the file that the keys are in, None where they come from elsewhere."""
    if settings.encryption_keys is not None or settings.encryption_key_command is not None:
        return None
    return settings.encryption_key_file or settings.default_key_file


def load_keys(settings: Settings) -> KeyRing:
    """Read the keys; empty where none is set and the default file was not made yet.

    Raises:
        SettingsError: They cannot be read, or are no keys; the message holds none of them.
    """
    source = key_source(settings)
    if settings.encryption_keys is not None:
        text = settings.encryption_keys.get_secret_value()
    elif settings.encryption_key_command is not None:
        text = _told_by(settings.encryption_key_command)
    else:
        path = settings.encryption_key_file or settings.default_key_file
        if settings.encryption_key_file is None and not path.exists():
            return {}
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{source}: {path} cannot be read ({type(error).__name__})") from None
    ring = {key.id: key for key in _parsed(text, source)}
    if not ring:
        raise SettingsError(f"{source}: holds no key; make one with 'oneperson key new'")
    return ring


def make_default_file(settings: Settings) -> KeyRing:
    """Make the default key file, readable by its owner only, unless another process was first."""
    path = settings.default_key_file
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    write_private(
        aside, f"# Keys of OnePerson. Without them nothing that is stored can be read.\n{new_key()}\n"
    )
    try:
        os.link(aside, path)  # Unlike a rename it never replaces a file that is there.
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    return load_keys(settings)


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read, durably."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _parsed(text: str, source: str) -> Iterator[MasterKey]:
    for line in text.splitlines():
        for word in re.split(r"[\s,]+", line.partition("#")[0]):
            if not word:
                continue
            try:
                secret = base64.b64decode(word, validate=True)
            except (binascii.Error, ValueError):
                secret = b""
            if len(secret) != KEY_BYTES:
                raise SettingsError(f"{source}: a key is {KEY_BYTES} bytes in base64, 44 characters")
            yield MasterKey.of(secret)


def _told_by(command: str) -> str:
    name = "ONEPERSON_ENCRYPTION_KEY_COMMAND"
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SettingsError(f"{name}: it did not end within {COMMAND_TIMEOUT_S} s") from None
    except (OSError, ValueError) as error:  # Their texts may repeat what the command wrote.
        raise SettingsError(f"{name}: it cannot be run ({type(error).__name__})") from None
    if done.returncode != 0:
        raise SettingsError(f"{name}: it ended with code {done.returncode}")
    return done.stdout
