"""Wrapped data keys that travel to machines which have the operator's keys but no database."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag

from service.encryption.algorithms import Aead, Algorithm, aead
from service.encryption.keys import KeyRing, MasterKey, load_keys
from service.encryption.opener import Opener
from service.errors import KeyMissingError
from service.settings import load_settings


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as the database holds it: worth nothing without the operator's key.

    Attributes:
        number: As sealed bytes name it.
        master_key_id: Who wraps it.
        algorithm: What it is for.
        wrapped: The key.
    """

    number: int
    master_key_id: str
    algorithm: str
    wrapped: bytes

    def opened(self, ring: KeyRing) -> Aead:
        """Unwrap it, ready for use.

        Raises:
            KeyMissingError: Its master key is not in the ring, or it is damaged.
        """
        return aead(Algorithm(self.algorithm), self._unwrapped(ring))

    def rewrapped(self, ring: KeyRing, master: MasterKey) -> "WrappedKey":
        """Wrap the same data key with another master key.

        Raises:
            KeyMissingError: As `opened`.
        """
        algorithm = Algorithm(self.algorithm)
        wrapped = master.wrap(algorithm, self._unwrapped(ring), bound=wrap_binding(algorithm, master))
        return WrappedKey(self.number, master.id, self.algorithm, wrapped)

    def _unwrapped(self, ring: KeyRing) -> bytes:
        master = ring.get(self.master_key_id)
        if master is None:
            raise KeyMissingError(
                f"Stored data needs the key {self.master_key_id}, which is not among those given; "
                "add it and restart."
            )
        try:
            algorithm = Algorithm(self.algorithm)
            return master.unwrap(algorithm, self.wrapped, bound=wrap_binding(algorithm, master))
        except (InvalidTag, ValueError):
            raise KeyMissingError(
                f"The data key {self.number} in the database is damaged; restore it from a backup."
            ) from None


@dataclass(frozen=True, slots=True)
class CarriedKeys:
    """All data keys of a database.

    Attributes:
        keys: They.
        key_file: Where the sender reads its own keys, None when from the environment or a command.
    """

    keys: tuple[WrappedKey, ...]
    key_file: Path | None


def carried_here(carried: CarriedKeys) -> Opener:
    """Open carried keys with the keys of this machine's settings.

    Raises:
        SettingsError: The keys cannot be read here.
        KeyMissingError: The right one is not among them.
    """
    settings = load_settings()
    if carried.key_file is not None and settings.encryption_keys is None:
        settings = settings.model_copy(update={"encryption_key_file": carried.key_file})
    ring = load_keys(settings)
    return Opener({key.number: key.opened(ring) for key in carried.keys})


def wrap_binding(algorithm: Algorithm, master: MasterKey) -> bytes:
    """Bind a wrapped data key to its algorithm and its master key."""
    return f"data key\0{algorithm}\0{master.id}".encode()
