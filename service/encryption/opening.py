"""Opens the vault of a database, or says what the operator must do."""

import os

from cryptography.exceptions import InvalidTag

from service.database import Database
from service.encryption import repository
from service.encryption.algorithms import Algorithm
from service.encryption.carried import wrap_binding
from service.encryption.keys import KeyRing, MasterKey, key_source, load_keys, make_default_file
from service.encryption.vault import Vault, install
from service.errors import SettingsError
from service.settings import Settings
from service.tables import EncryptionState, now

CHECK = Algorithm.AES_256_GCM
"""What the check value is made with, so that it can be read whatever the setting."""


def open_vault(database: Database, settings: Settings, *, encrypting: bool = False) -> Vault:
    """Open the vault, and on an empty database found it.

    With no key set and nothing stored a key file is made under the data folder.

    Args:
        database: Its schema must be current; from now on its sessions know the vault.
        settings: Where the keys are.
        encrypting: Whether an installation that is not encrypted yet may be opened, to be encrypted.

    Raises:
        SettingsError: No key, a wrong key, or an installation that is not encrypted yet.
        DatabaseUnavailableError: The database is away.
    """
    ring = load_keys(settings)
    with database.read() as session:
        state = repository.state(session)
    if state is None:
        ring = ring or make_default_file(settings)
        state = _found(database, ring, encrypting=encrypting)
    _require_current(ring, state, key_source(settings))
    if state.encrypted_at is None and not encrypting:
        raise SettingsError(
            "portraits and templates of an earlier version are not encrypted yet: stop every other process "
            "and run 'oneperson key rotate --data'; it can be interrupted and run again"
        )
    vault = Vault(database, settings, ring)
    install(database, vault)
    return vault


def check_value(master: MasterKey) -> bytes:
    """Return what proves later that the same key is given."""
    return master.wrap(CHECK, os.urandom(CHECK.key_bytes), bound=wrap_binding(CHECK, master))


def _found(database: Database, ring: KeyRing, *, encrypting: bool) -> EncryptionState:
    master = next(iter(ring.values()))
    with database.write_unprepared() as session:
        known = repository.state(session)
        if known is not None:
            return known  # Another process was first.
        plain = repository.holds_biometrics(session)
        state = EncryptionState(
            id=repository.STATE_ID,
            master_key_id=master.id,
            check_value=check_value(master),
            encrypted_at=None if plain else now(),
        )
        if not plain or encrypting:
            session.add(state)
            session.flush()
    return state


def _require_current(ring: KeyRing, state: EncryptionState, source: str) -> None:
    """Refuse keys that are not this database's.

    Raises:
        SettingsError: They are not.
    """
    master = ring.get(state.master_key_id)
    if master is None:
        given = ", ".join(ring) or "none"
        raise SettingsError(
            f"wrong encryption key: the database is encrypted with the key {state.master_key_id}, but "
            f"{source} gives {given}; nothing was opened or changed"
        )
    try:
        master.unwrap(CHECK, state.check_value, bound=wrap_binding(CHECK, master))
    except InvalidTag:
        raise SettingsError(
            f"the key {master.id} does not fit the check value in the database, which was altered: "
            "restore the database from a backup"
        ) from None
