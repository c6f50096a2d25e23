"""The vault: bound to its place, never a nonce twice, and never with a wrong key."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, select, update

from service.database import Database
from service.encryption.algorithms import Algorithm, aead
from service.encryption.keys import MasterKey, load_keys, make_default_file, new_key
from service.encryption.opening import open_vault
from service.encryption.sealing import HEADER_BYTES, header, nonce_of
from service.encryption.vault import Vault, vault_of
from service.errors import KeyMissingError, SealBrokenError, SettingsError
from service.settings import Settings
from service.tables import DataKey, EncryptionState
from tests.service.conftest import SQLITE_ONLY
from tests.service.galleries.filling import fill, unit_vectors

ALGORITHMS = ["aes-256-gcm", "sm4-gcm"]


@pytest.fixture
def vault(database: Database) -> Vault:
    return vault_of(database.info)


def with_keys(settings: Settings, *keys: str, **others: object) -> Settings:
    return settings.model_copy(update={"encryption_keys": SecretStr(",".join(keys)), **others})


@SQLITE_ONLY
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_sealed_opens_in_its_place_only(
    database: Database, settings: Settings, algorithm: str
) -> None:
    vault = open_vault(database, settings.model_copy(update={"encryption_algorithm": algorithm}))
    for plain in (b"", b"x", os.urandom(5000)):
        sealed = vault.seal("totp", "7", plain)
        assert vault.open("totp", "7", sealed) == plain
        for purpose, row in (("totp", "8"), ("draft", "7"), ("totp\x007", "")):
            with pytest.raises(SealBrokenError):
                vault.open(purpose, row, sealed)
    for bit in range(8 * len(sealed := vault.seal("totp", "7", b"1234567"))):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBrokenError):
            vault.open("totp", "7", bytes(altered))
    for length in range(len(sealed)):
        with pytest.raises(SealBrokenError):
            vault.open("totp", "7", sealed[:length])


@SQLITE_ONLY
def test_both_algorithms_are_readable_whatever_the_setting(database: Database, settings: Settings) -> None:
    sealed = {
        name: open_vault(database, settings.model_copy(update={"encryption_algorithm": name})).seal(
            "t", "1", b"a"
        )
        for name in ALGORITHMS
    }
    with database.read() as session:
        assert {row.algorithm for row in session.scalars(select(DataKey))} == set(ALGORITHMS)
    for content in sealed.values():
        assert open_vault(database, settings).open("t", "1", content) == b"a"


def test_the_ciphers_are_the_published_ones() -> None:
    # RFC 8998, appendix A.1: SM4-GCM; McGrew and Viega's GCM test case 16 for AES-256.
    sm4 = aead(Algorithm.SM4_GCM, bytes.fromhex("0123456789abcdeffedcba9876543210"))
    plain = bytes.fromhex(
        "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"
        "eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa"
    )
    bound = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = sm4.seal(bytes.fromhex("00001234567800000000abcd"), plain, bound)
    assert sealed[-16:].hex() == "83de3541e4c2b58177e065a9bf7b62ec"
    aes = aead(
        Algorithm.AES_256_GCM,
        bytes.fromhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"),
    )
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    tag = aes.seal(bytes.fromhex("cafebabefacedbaddecaf888"), text, bound)[-16:]
    assert tag.hex() == "76fc6ece0f4e1768cddf8853bb2d551b"


@SQLITE_ONLY
def test_no_nonce_occurs_twice_under_a_key(database: Database, settings: Settings) -> None:
    vaults = [open_vault(database, settings) for _process in range(3)]
    heads = [vault.seal("t", "1", b"same")[:HEADER_BYTES] for vault in vaults for _time in range(200)]
    assert len(set(heads)) == 600
    assert len({head[4:8] for head in heads}) == 3  # Every process has a data key of its own.
    assert nonce_of(header(1, 2**64 - 1)) != nonce_of(header(1, 0))


@SQLITE_ONLY
def test_a_child_of_a_fork_seals_with_a_key_of_its_own(database: Database, settings: Settings) -> None:
    vault = open_vault(database, settings)
    vault.prepare()
    before = vault.own_number()
    assert vault._own is not None
    object.__setattr__(vault._own, "process", 0)  # As the child sees it.
    assert vault.own_number() != before


def test_what_another_process_sealed_since_is_opened(
    database: Database, settings: Settings, vault: Vault
) -> None:
    vault.prepare()
    other = open_vault(database, settings)
    assert vault.open("t", "1", other.seal("t", "1", b"news")) == b"news"
    with database.write() as session:  # Also within a transaction that writes.
        assert vault_of(session).open("t", "1", other.seal("t", "1", b"more")) == b"more"


def test_a_wrong_key_is_refused_before_anything_is_opened(database: Database, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="wrong encryption key"):
        open_vault(database, with_keys(settings, new_key()))


@SQLITE_ONLY
def test_an_altered_check_value_is_refused(database: Database, settings: Settings) -> None:
    with database.write() as session:
        state = session.scalars(select(EncryptionState)).one()
        state.check_value = state.check_value[:-1] + bytes([state.check_value[-1] ^ 1])
    with pytest.raises(SettingsError, match="altered"):
        open_vault(database, settings)


@SQLITE_ONLY
def test_a_damaged_data_key_is_told_apart_from_damaged_data(
    database: Database, settings: Settings, vault: Vault
) -> None:
    sealed = vault.seal("t", "1", b"a")
    with database.write() as session:
        session.execute(update(DataKey).values(wrapped=b"\0" * 80))
    fresh = open_vault(database, settings)
    with pytest.raises(KeyMissingError, match="damaged"):
        fresh.open("t", "1", sealed)
    with pytest.raises(KeyMissingError):
        fresh.check()


@SQLITE_ONLY
def test_keys_come_from_one_place(settings: Settings, tmp_path: Path) -> None:
    key = new_key()
    (tmp_path / "keys").write_text(f"# comment\n{key}  # mine\n{new_key()}\n")
    plain = settings.model_copy(update={"encryption_keys": None})
    of_file = load_keys(plain.model_copy(update={"encryption_key_file": tmp_path / "keys"}))
    command = f"head -c {12 + len(key)} {tmp_path / 'keys'}"
    of_command = load_keys(plain.model_copy(update={"encryption_key_command": command}))
    assert [*of_file][:1] == [*of_command] == [*load_keys(with_keys(settings, key))]
    assert len(of_file) == 2
    with pytest.raises(SettingsError, match="one place"):
        load_keys(with_keys(settings, key, encryption_key_file=tmp_path / "keys"))
    for wrong in ("x", key[:-4], "A" * 43):
        with pytest.raises(SettingsError) as refused:
            load_keys(with_keys(settings, wrong))
        assert wrong not in str(refused.value) or wrong == "x"
    for bad in ("false", "/no/such/program", "printf secret"):
        with pytest.raises(SettingsError) as failed:
            load_keys(plain.model_copy(update={"encryption_key_command": bad}))
        assert "secret" not in str(failed.value)


@SQLITE_ONLY
def test_with_nothing_set_a_key_file_is_made_once_for_its_owner_only(settings: Settings) -> None:
    plain = settings.model_copy(update={"encryption_keys": None})
    assert load_keys(plain) == {}
    made = make_default_file(plain)
    assert plain.default_key_file.stat().st_mode & 0o777 == 0o600
    assert list(make_default_file(plain)) == list(made)
    assert [path.name for path in plain.data_dir.iterdir()] == ["encryption.key"]


@SQLITE_ONLY
def test_a_lost_key_file_is_never_replaced_by_a_fresh_one(database: Database, settings: Settings) -> None:
    plain = settings.model_copy(update={"encryption_keys": None})
    with pytest.raises(SettingsError, match="wrong encryption key"):
        open_vault(database, plain)
    assert not plain.default_key_file.exists()


@SQLITE_ONLY
def test_keys_show_in_no_text(settings: Settings, vault: Vault) -> None:
    key = new_key()
    ring = load_keys(with_keys(settings, key))
    assert key not in repr(ring) + repr(settings) + repr(vault)
    assert MasterKey.of(bytes(32)).id not in bytes(32).hex()


def test_an_installation_that_is_not_encrypted_is_refused_until_it_is(
    database: Database, settings: Settings
) -> None:
    fill(database, unit_vectors(2, 8), contract_id="c" * 64)
    with database.write() as session:
        session.execute(delete(EncryptionState))
    with pytest.raises(SettingsError, match="oneperson key rotate --data"):
        open_vault(database, settings)
    with database.read() as session:
        assert session.scalars(select(EncryptionState)).all() == []
    assert open_vault(database, settings, encrypting=True)
    with pytest.raises(SettingsError, match="oneperson key rotate --data"):
        open_vault(database, settings)
