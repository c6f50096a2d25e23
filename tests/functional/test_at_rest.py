"""Nothing readable lies on the disk: a real run, then a search for known bytes in every file."""

import base64
import re
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from scripts.installation import Installation
from service.database import Database
from service.encryption.opening import open_vault
from service.encryption.templates import opened_template
from service.encryption.vault import vault_of
from service.settings import Settings
from service.tables import Template
from tests.synthetic import synthetic_portrait

pytestmark = pytest.mark.enable_socket

PERSONS = 4
PIECE = 24
"""Bytes compared: as many are never alike by chance."""


def pieces(data: bytes) -> list[bytes]:
    """Return parts of known bytes: from the beginning, the middle and the end, away from common headers."""
    return [data[at : at + PIECE] for at in (0, len(data) // 3, len(data) // 2, len(data) - PIECE)]


def unusual(data: bytes) -> list[bytes]:
    """Return parts of a picture behind its headers, which all pictures of one program share."""
    return [data[at : at + PIECE] for at in (len(data) // 2, len(data) * 2 // 3, len(data) - PIECE - 2)]


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(address: str, key: str, picture: bytes) -> dict[str, object]:
    body = {
        "transaction": {"id": "T1", "type": "household-transfer-in", "authority": "530102"},
        "portrait": base64.b64encode(picture).decode(),
    }
    answer = httpx.post(
        f"{address}/v1/checks", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=60
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_no_known_bytes_are_found_after_import_check_and_rebuild(
    tmp_path: Path, synthetic_pack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, temporary = tmp_path / "pictures", tmp_path / "tmp"
    pictures.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.delenv("ONEPERSON_ENCRYPTION_KEYS")  # As an operator who sets nothing.
    portraits = {f"P{at}": synthetic_portrait(at) for at in range(PERSONS)}
    for name, data in portraits.items():
        (pictures / f"{name}.jpg").write_bytes(data)
    installation = Installation(
        tmp_path / "installation", pack=str(synthetic_pack_dir), settings={"ONEPERSON_LOG_LEVEL": "debug"}
    )
    installation.import_portraits(
        [{"person_id": name, "level_code": "30", "portrait": f"{name}.jpg"} for name in portraits], pictures
    )
    probe = synthetic_portrait(1, 1)
    with installation.serving() as (address, key):
        assert check(address, key, probe)["outcome"] == "candidates"
        while_running = everything(installation.folder)
    assert installation.run("rebuild").returncode == 0
    assert installation.run("key", "rotate").returncode == 0
    files = while_running | everything(installation.folder) | everything(temporary)

    settings = Settings(data_dir=installation.data_dir, pack=str(synthetic_pack_dir))
    secret = re.findall(rb"^[A-Za-z0-9+/]{43}=$", settings.default_key_file.read_bytes(), re.M)
    assert len(secret) == 1
    database = Database(settings.database_address)
    open_vault(database, settings)
    with database.read() as session:
        vault = vault_of(session)
        vectors = [
            opened_template(vault, row.reference_id, row.contract_id, row.vector)
            for row in session.scalars(select(Template))
        ]
    database.close()
    assert len(vectors) == PERSONS
    assert all(vectors)
    known = [piece for data in (*portraits.values(), probe) for piece in unusual(data)]
    known += [piece for vector in vectors for piece in pieces(vector)]
    known += [secret[0], base64.b64decode(secret[0])]
    key_files = {settings.default_key_file}
    assert sum(path.suffix == ".npy" for path in files) >= 5
    assert sum(path.suffix == ".sealed" for path in files) == PERSONS + 1
    assert sum(path.name.startswith("oneperson.db") for path in files) >= 2
    for path, content in files.items():
        found = [piece for piece in known if path not in key_files and piece in content]
        assert not found, f"{path} holds something readable"
