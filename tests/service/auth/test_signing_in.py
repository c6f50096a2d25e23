"""Passwords, waits, set-up codes and the second factor, on both databases where the database decides."""

import threading
import time
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import select

from service.auth import passwords, second_factor
from service.auth.backoff import FREE_ATTEMPTS, LONGEST_WAIT_S, Visit, wait_after
from service.auth.sessions import SignInMethod, SignInStage, find_session
from service.auth.signing_in import PasswordFaultError, SigningIn, WrongCodeError
from service.database import Database
from service.encryption.opening import open_vault
from service.errors import OverloadedError, UnauthenticatedError
from service.settings import Settings
from service.tables import AuditEvent, KnownBrowser, LocalAccount, RecoveryCode, now
from tests.service.accounts import PASSWORD, add_local
from tests.service.conftest import SQLITE_ONLY

STRANGER, OTHER = Visit("10.0.0.66"), Visit("10.0.0.67")


def rules(database: Database, factor: str = "off") -> SigningIn:
    return SigningIn(database, Settings(second_factor=factor))


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("elevenchars", "short"),
        ("x" * 5 + "abcdefghijk" * 12, "long"),
        ("aaaaaaaaaaaabb", "simple"),
        ("my login is Zhang!", "own"),
        ("1QAZ2wsx3edc", "common"),
        ("twelve chars", None),
        ("一二三四五六七八九十十一", None),
    ],
)
def test_length_counts_and_what_everybody_tries_is_refused(password: str, fault: str | None) -> None:
    assert passwords.fault_of(password, login="zhang") == fault


def test_list_of_common_passwords_holds_only_what_the_length_lets_pass() -> None:
    assert [one for one in passwords.common_passwords() if len(one) < passwords.SHORTEST] == []


def test_passwords_are_kept_as_argon2id_and_compared_after_normalisation() -> None:
    stored = passwords.hash_password("cafe\u0301 au lait du matin")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.matches(stored, "caf\u00e9 au lait du matin")
    assert not passwords.matches(stored, "cafe au lait du matin")
    assert not passwords.matches(None, "nobody's password")


def test_burst_of_sign_ins_waits_for_its_turn_or_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAIT_S", 0.05)
    running, most = 0, 0
    lock = threading.Lock()

    class Slow(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.2)
            with lock:
                running -= 1
            return "hash"

    monkeypatch.setattr(passwords, "HASHER", Slow())
    refused: list[OverloadedError] = []

    def sign_in() -> None:
        try:
            passwords.hash_password("a long sentence")
        except OverloadedError as error:
            refused.append(error)

    threads = [threading.Thread(target=sign_in) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == passwords.AT_ONCE
    assert len(refused) == 6


def test_waits_double_and_never_lock_out_for_good() -> None:
    waits = [wait_after(failures) for failures in range(1, 40)]
    assert waits[: FREE_ATTEMPTS - 1] == [0.0] * (FREE_ATTEMPTS - 1)
    assert waits[FREE_ATTEMPTS - 1 : FREE_ATTEMPTS + 2] == [30.0, 60.0, 120.0]
    assert max(waits) == waits[-1] == LONGEST_WAIT_S


def test_strangers_wait_while_the_officers_own_browser_goes_on(database: Database) -> None:
    officer = add_local(database)
    known = rules(database).by_password("zhang", PASSWORD, OTHER).browser
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(UnauthenticatedError):
            rules(database).by_password("zhang", "a wrong sentence", STRANGER)
    with pytest.raises(UnauthenticatedError):  # Even the right one: somebody has to wait.
        rules(database).by_password("zhang", PASSWORD, STRANGER)
    assert rules(database).by_password("zhang", PASSWORD, Visit("10.0.0.1", known)).stage is SignInStage.FULL
    with database.write() as session:
        events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
        assert [event.kind for event in events].count("account-locked") == 1
        assert [e.result for e in events if e.kind == "sign-in-failed"] == ["refused"] * 5 + ["waiting"]
        account = session.get_one(LocalAccount, officer.id)
        assert account.blocked_until is not None
        account.blocked_until = now() - timedelta(seconds=1)
    assert rules(database).by_password("zhang", PASSWORD, STRANGER).stage is SignInStage.FULL
    with database.read() as session:
        assert session.get_one(LocalAccount, officer.id).failures == 0
        assert len(session.scalars(select(KnownBrowser)).all()) == 2


def test_hash_with_other_parameters_is_renewed_at_the_next_sign_in(database: Database) -> None:
    officer = add_local(database)
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with database.write() as session:
        session.get_one(LocalAccount, officer.id).password_hash = weak
    rules(database).by_password("zhang", PASSWORD, STRANGER)
    with database.read() as session:
        renewed = session.get_one(LocalAccount, officer.id).password_hash
    assert renewed is not None
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_changed_password_signs_every_other_browser_out(database: Database) -> None:
    add_local(database)
    here = rules(database).by_password("zhang", PASSWORD, STRANGER)
    there = rules(database).by_password("zhang", PASSWORD, OTHER)
    with database.read() as session:
        visitor = find_session(session, here.token)

    def change(current: str, new: str) -> None:
        rules(database).change_password(
            visitor.actor, current, new, session_id=visitor.session_id, visit=STRANGER
        )

    with pytest.raises(UnauthenticatedError):
        change("a wrong sentence", "a new long sentence")
    with pytest.raises(PasswordFaultError, match="same"):
        change(PASSWORD, PASSWORD)
    change(PASSWORD, "a new long sentence")
    with database.read() as session:
        find_session(session, here.token)
        with pytest.raises(UnauthenticatedError):
            find_session(session, there.token)
    with pytest.raises(UnauthenticatedError):
        rules(database).by_password("zhang", PASSWORD, OTHER)
    assert rules(database).by_password("zhang", "a new long sentence", OTHER).token


class Phone:
    """An officer whose second factor is in force, and the application that shows its codes."""

    def __init__(self, database: Database, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "keys", database_url=SecretStr("sqlite://"))
        settings.data_dir.mkdir()
        open_vault(database, settings)
        self.database = database
        self.officer = add_local(database)
        with database.write() as session:
            self.totp = pyotp.TOTP(second_factor.begin(session, self.officer.id))
            codes = second_factor.confirm(session, self.officer.id, self.totp.at(int(time.time()) - 30))
        assert codes is not None
        self.recovery_codes = codes

    def enter_password(self) -> str:
        opened = rules(self.database, "required").by_password("zhang", PASSWORD, STRANGER)
        assert (opened.stage, opened.browser) == (SignInStage.FACTOR, None)
        return opened.token

    def enter_code(self, token: str, code: str) -> SignInMethod:
        opened = rules(self.database, "required").by_code(token, code, STRANGER)
        assert opened.token != token
        with self.database.read() as session:
            return find_session(session, opened.token).method


@pytest.fixture
def phone(database: Database, tmp_path: Path) -> Phone:
    """A second factor in force."""
    return Phone(database, tmp_path)


def test_code_is_taken_once_and_none_before_it(phone: Phone) -> None:
    code = phone.totp.now()
    assert phone.enter_code(phone.enter_password(), code) is SignInMethod.TOTP
    for used in (code, phone.totp.at(int(time.time()) - 30)):
        with pytest.raises(WrongCodeError):
            phone.enter_code(phone.enter_password(), used)


def test_recovery_code_is_taken_once_however_it_is_typed(phone: Phone) -> None:
    typed = phone.recovery_codes[0].lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert phone.enter_code(phone.enter_password(), typed) is SignInMethod.RECOVERY
    with pytest.raises(WrongCodeError):
        phone.enter_code(phone.enter_password(), phone.recovery_codes[0])
    with phone.database.read() as session:
        assert second_factor.recovery_codes_left(session, phone.officer.id) == 9
        stored = session.scalars(select(RecoveryCode)).all()
        assert not {row.code_hash for row in stored} & set(phone.recovery_codes)
        secret = session.get_one(LocalAccount, phone.officer.id).totp_secret
    assert secret is not None
    assert phone.totp.secret.encode() not in secret


def test_five_wrong_codes_end_the_waiting_session_and_count_against_the_account(phone: Phone) -> None:
    token = phone.enter_password()
    for _ in range(5):
        with pytest.raises(WrongCodeError):
            phone.enter_code(token, "000000")
    with pytest.raises(UnauthenticatedError):
        phone.enter_code(token, phone.totp.now())
    with pytest.raises(UnauthenticatedError):  # And strangers have to wait before the next password.
        phone.enter_password()


@SQLITE_ONLY
def test_picture_is_a_drawing_without_scripts_styles_or_the_secret_in_words(phone: Phone) -> None:
    drawn = second_factor.picture(phone.totp.secret, login="zhang").decode()
    assert drawn.startswith("<svg")
    for unwanted in ("<script", "style", "<?xml", phone.totp.secret):
        assert unwanted not in drawn
