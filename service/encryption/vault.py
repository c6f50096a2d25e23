"""Seals what is stored and opens it again; refuses what was altered or moved."""

import itertools
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from service.database import Database
from service.encryption import repository
from service.encryption.algorithms import Aead, Algorithm, aead
from service.encryption.carried import CarriedKeys, WrappedKey, wrap_binding
from service.encryption.keys import KeyRing, MasterKey, key_file, load_keys
from service.encryption.opener import Opener, broken
from service.encryption.sealing import bound_to, header, nonce_of
from service.errors import KeyMissingError, SettingsError
from service.part_times import timed
from service.settings import Settings
from service.tables import DataKey, EncryptionState

REFRESH_S = 5.0
"""Seconds after which a process has noticed that its data key was retired."""

_INFO = "vault"


@dataclass(frozen=True, slots=True)
class _Own:
    """The data key that this process, and no other, seals with."""

    number: int
    cipher: Aead
    counter: "itertools.count[int]"
    process: int


class Vault(Opener):
    """The data keys of one database, opened by the operator's keys.

    Safe to use from any thread. In a transaction of `Database.write` it never waits for the
    database: the key to seal with is made before the transaction begins.
    """

    def __init__(self, database: Database, settings: Settings, ring: KeyRing) -> None:
        """Use keys that are known to be this database's; see `service.encryption.opening`."""
        super().__init__({})
        self._database = database
        self._settings = settings
        self._algorithm = Algorithm(settings.encryption_algorithm)
        self._ring: dict[str, MasterKey] = dict(ring)
        self._own: _Own | None = None
        self._asked_at = time.monotonic()
        self._lock = threading.Lock()

    @property
    def ring(self) -> KeyRing:
        """The operator's keys as last read."""
        return self._ring

    def seal(self, purpose: str, row: str, plain: bytes) -> bytes:
        """Encrypt bytes for one place.

        Args:
            purpose: What kind of thing it is; belongs to one column or store.
            row: Which one: the unchanging key of its row.
            plain: What to encrypt.

        Raises:
            DatabaseUnavailableError: A data key is needed and the database is away.
        """
        own = self._sealing()
        head = header(own.number, next(own.counter))
        with timed("seal"):
            return head + own.cipher.seal(nonce_of(head), plain, bound_to(purpose, row))

    def prepare(self) -> None:
        """Make sure that there is a data key to seal with; never call it within a transaction.

        A data key that was retired meanwhile is replaced.
        """
        own = self._own
        if own is not None and time.monotonic() - self._asked_at < REFRESH_S and own.process == os.getpid():
            return  # As a rule: nothing is asked of the database.
        with self._lock:
            self._asked_at = time.monotonic()
            if self._own is not None and (self._own.process != os.getpid() or self._is_retired(self._own)):
                self._own = None
            if self._own is None:
                self._own = self._made()

    def renew(self) -> None:
        """Seal with a data key made after this call; never call it within a transaction."""
        with self._lock:
            self._own = self._made()

    def check(self) -> int:
        """Prove that every data key can be opened, and count them.

        Raises:
            KeyMissingError: One is wrapped with a key that is not given, or damaged.
            DatabaseUnavailableError: The database is away.
        """
        with self._database.read() as session:
            rows = repository.data_keys(session)
        for row in rows:
            if row.number not in self._ciphers:
                self._ciphers[row.number] = self.opened(row)
        return len(rows)

    def own_number(self) -> int:
        """Return the number of the data key that this process seals with."""
        return self._sealing().number

    def points_to_files(self, kind: str) -> bool:
        """Tell whether any committed record points to a file of a store; see `service.encryption.repository`.

        Raises:
            DatabaseUnavailableError: The database is away.
        """
        with self._database.read() as session:
            return repository.points_to_files(session, kind)

    def carried(self) -> CarriedKeys:
        """Return all data keys, wrapped, for a machine that does not see the database."""
        with self._database.read() as session:
            rows = repository.data_keys(session)
        path = key_file(self._settings)
        return CarriedKeys(tuple(map(as_wrapped, rows)), None if path is None else path.absolute())

    def opened(self, row: DataKey) -> Aead:
        """Open a data key, reading the operator's keys again when its own is not known.

        Raises:
            KeyMissingError: It is damaged, or its key is not given.
        """
        self._know(row.master_key_id)
        return as_wrapped(row).opened(self._ring)

    def _sealing(self) -> _Own:
        own = self._own
        if own is None or own.process != os.getpid():
            self.prepare()
            own = self._own
            if own is None:
                raise AssertionError("unreachable: prepare() made one or raised")
        return own

    def _fetched(self, number: int) -> Aead:
        """Learn a data key that another process has made since."""
        with self._database.read() as session:
            row = repository.data_key(session, number)
        if row is None:
            raise broken()
        cipher = self.opened(row)
        self._ciphers[number] = cipher
        return cipher

    def _is_retired(self, own: _Own) -> bool:
        with self._database.read() as session:
            row = repository.data_key(session, own.number)
        return row is None or row.retired_at is not None

    def _made(self) -> _Own:
        data_key = os.urandom(self._algorithm.key_bytes)
        with self._database.write_unprepared() as session:
            state = repository.state(session, lock=True)
            if state is None:
                raise KeyMissingError("The database has lost its encryption state; restore it from a backup.")
            row = DataKey(
                master_key_id=state.master_key_id,
                algorithm=self._algorithm,
                wrapped=self._wrapped(state, data_key),
            )
            session.add(row)
            session.flush()
        cipher = aead(self._algorithm, data_key)
        self._ciphers[row.number] = cipher
        return _Own(row.number, cipher, itertools.count(), os.getpid())

    def _wrapped(self, state: EncryptionState, data_key: bytes) -> bytes:
        self._know(state.master_key_id)
        master = self._ring.get(state.master_key_id)
        if master is None:
            raise KeyMissingError(
                f"The current encryption key {state.master_key_id} is not among those given; "
                "add it and restart."
            )
        return master.wrap(self._algorithm, data_key, bound=wrap_binding(self._algorithm, master))

    def _know(self, master_key_id: str) -> None:
        """Read the operator's keys again when one is asked for that was added since."""
        if master_key_id in self._ring:
            return
        try:
            self._ring = dict(load_keys(self._settings))
        except SettingsError as error:
            raise KeyMissingError(f"The encryption keys cannot be read again: {error}.") from None


class VaultMissingError(RuntimeError):
    """A program error: sealed columns were reached before the vault was opened."""


def install(database: Database, vault: Vault) -> None:
    """Let every session of a database find the vault, and every writer be prepared."""
    database.info[_INFO] = vault
    database.before_write = vault.prepare


def vault_of(session: Session | Mapping[str, object]) -> Vault:
    """Return the vault of a session's database."""
    info = session.info if isinstance(session, Session) else session
    vault = info.get(_INFO)
    if not isinstance(vault, Vault):
        raise VaultMissingError("the database was opened without its keys; see service.encryption.opening")
    return vault


def as_wrapped(row: DataKey) -> WrappedKey:
    """Take a data key out of its session."""
    return WrappedKey(row.number, row.master_key_id, row.algorithm, row.wrapped)
