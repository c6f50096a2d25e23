"""`oneperson audit rotate-key --lost`: the log goes on without its key, and says what is unproved."""

import os
from pathlib import Path

import pytest

from service.settings import load_settings
from tests.scripts.commands import Operator
from tests.service.conftest import SQLITE_ONLY

pytestmark = SQLITE_ONLY


@pytest.fixture
def operator(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_address: str,
) -> Operator:
    """Somebody who sets no audit key, so that the default file is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONEPERSON_AUDIT_KEY")
    monkeypatch.setenv("COLUMNS", "200")
    typist = Operator(monkeypatch, capsys)
    typist.set("data_dir", tmp_path / "var")
    typist.set("database_url", database_address)
    return typist


def add_client(operator: Operator, name: str) -> int:
    return operator.types("client", "add", name, "--scope", "checks").code


def test_the_log_goes_on_without_a_lost_key_and_names_what_is_unproved(operator: Operator) -> None:
    assert add_client(operator, "before") == 0
    assert operator.types("audit", "verify").code == 0
    path = load_settings().data_dir / "audit.key"
    old, new = path.read_text(), f"{os.urandom(32).hex()}\n"
    path.write_text(new)
    refused = operator.types("client", "list")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "docs/audit.md" in refused.err

    done = operator.types("audit", "rotate-key", "--lost")
    assert done.code == 0, done.err
    assert operator.types("audit", "key").out.split()[0] in done.out
    assert add_client(operator, "after") == 0
    damaged = operator.types("audit", "verify")
    assert damaged.code == 1
    assert "unknown-key" in damaged.out
    assert operator.types("audit", "rotate-key", "--lost").code == 0  # Nothing is lost now: nothing happens.

    path.write_text(new + old)  # The key is found again: only that nobody with it agreed to the change stays.
    found = operator.types("audit", "verify")
    assert (found.code, "unknown-key" in found.out, found.out.count("wrong-key")) == (1, False, 1)
