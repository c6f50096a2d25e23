import socket
from pathlib import Path

import pytest

from scripts.demo_service import HOST, bound, demo_settings, emptied_folder
from scripts.failures import CommandError


def test_the_folder_is_made_afresh_every_time(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "demo"
    with emptied_folder(directory):
        (directory / "old.db").touch()
    with emptied_folder(directory) as again:
        assert not (again / "old.db").exists()


def test_a_folder_that_the_demo_did_not_make_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "valuable").touch()
    with pytest.raises(CommandError, match="not made by the demo"), emptied_folder(tmp_path / "demo"):
        pass
    assert (tmp_path / "demo" / "valuable").exists()


def test_two_demos_do_not_use_one_folder(tmp_path: Path) -> None:
    with (
        emptied_folder(tmp_path / "demo"),
        pytest.raises(CommandError, match="another demo"),
        emptied_folder(tmp_path / "demo"),
    ):
        pass


def test_nothing_of_the_installation_leaks_into_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEPERSON_DATABASE_URL", "postgresql+psycopg://production/oneperson")
    monkeypatch.setenv("ONEPERSON_FLAGGED_CODES", '["99"]')
    settings = demo_settings(tmp_path, pack="compact", address="http://127.0.0.1:1", threads=2)
    assert settings.database_address == f"sqlite:///{tmp_path / 'oneperson.db'}"
    assert settings.flagged_codes == {"30"}
    assert settings.public_url == "http://127.0.0.1:1"


def test_a_port_that_was_asked_for_and_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port}"):
            bound(port)


def test_without_a_wish_some_port_is_found() -> None:
    with bound(None) as first, bound(None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
