"""Nothing readable lies on the disk: a real run, then a search for known bytes in every file."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from scripts.installation import Installation
from scripts.storage import prepared_database
from service.encryption.templates import opened_template
from service.encryption.vault import vault_of
from service.settings import Settings
from service.tables import Template
from tests.functional.callers import AUTHORITY, Caller, calling, in_base64
from tests.synthetic import synthetic_portrait

pytestmark = pytest.mark.enable_socket

PERSONS = 4
NUMBER = "11010519491231002X"
"""The example of GB 11643-1999."""

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


def folded(data: bytes) -> list[bytes]:
    """Return parts of a picture as it travels in JSON, which a careless log would hold."""
    return pieces(in_base64(data).encode())[1:]


def review(installation: Installation, address: str, check: Any) -> tuple[bytes, list[str]]:
    """Attach a file to a case over HTTP, look at it and record an opinion that names it.

    Returns:
        The file, and the words of the opinion.
    """
    words = ["Same burn on the left hand", "Birth record 1987/214"]
    document = b"%PDF-1.7\n% " + bytes(range(256)) * 40 + b"a birth record that names the parents"
    case = f"/v1/cases/{check['case_id']}"
    with calling(address, officer_key(installation)) as officer:
        officer.get(case)
        officer.post(f"{case}/claim")
        file = officer.post(
            f"{case}/attachments", {"name": "record.pdf", "content": in_base64(document)}, status=201
        )
        assert officer.status_of(f"{case}/attachments/{file['id']}") == 200
        evidence = [{"kind": "document", "reference": words[1], "attachment": file["id"]}]
        mate, *others = [candidate["person_id"] for candidate in check["candidates"]]
        conclusions: list[dict[str, Any]] = [
            {"person_id": mate, "conclusion": "same_person", "reason": words[0], "evidence": evidence}
        ]
        conclusions += [
            {"person_id": other, "conclusion": "different_person", "reason": "Met both."} for other in others
        ]
        officer.post(f"{case}/decisions", {"conclusions": conclusions, "registration_to_cancel": mate})
    return document, words


def officer_key(installation: Installation) -> str:
    """Make an officer by command, and an access key for their tools."""
    who = ("--name", "示例民警", "--role", "officer", "--division", AUTHORITY)
    assert installation.run("officer", "add", "zhang", *who).returncode == 0
    made = re.search(r"op_[0-9a-f]+_\S+", installation.run("officer", "key", "zhang").stdout)
    assert made is not None
    return made[0]


def test_no_known_bytes_are_found_after_import_check_decision_and_rebuild(
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
    installation.import_portraits([row(name) for name in portraits], pictures)
    (installation.folder / "import.csv").unlink()  # The operator's own file holds names.
    probe = synthetic_portrait(1, 1)
    with installation.serving() as (address, key):
        with calling(address, key) as system:
            check = ask(system, probe)
        document, words = review(installation, address, check)
        while_running = everything(installation.folder)
    assert installation.run("rebuild").returncode == 0
    assert installation.run("key", "rotate").returncode == 0
    files = while_running | everything(installation.folder) | everything(temporary)

    settings = Settings(data_dir=installation.data_dir, pack=str(synthetic_pack_dir))
    secret = re.findall(rb"^[A-Za-z0-9+/]{43}=$", settings.default_key_file.read_bytes(), re.M)
    assert len(secret) == 1
    vectors = stored_vectors(settings)
    assert len(vectors) == PERSONS
    assert all(vectors)
    known = [piece for data in (*portraits.values(), probe, document) for piece in unusual(data)]
    known += [piece for data in (*portraits.values(), probe, document) for piece in folded(data)]
    known += [piece for vector in vectors for piece in pieces(vector)]
    known += [secret[0], base64.b64decode(secret[0])]
    key_files = {settings.default_key_file}
    assert sum(path.suffix == ".npy" for path in files) >= 5
    assert sum(path.suffix == ".sealed" for path in files) == PERSONS + 2  # The probe and the evidence.
    assert any(path.is_relative_to(settings.evidence_dir) for path in files)
    assert sum(path.name.startswith("oneperson.db") for path in files) >= 2
    for path, content in files.items():
        found = [piece for piece in known if path not in key_files and piece in content]
        assert not found, f"{path} holds something readable"
    assert_log_is_silent(files, [*words, key.rpartition("_")[2]])


def row(name: str) -> dict[str, str]:
    return {
        "person_id": name,
        "name": f"示例姓名{name}",
        "citizen_id_number": NUMBER if name == "P0" else "",
        "level_code": "30",
        "portrait": f"{name}.jpg",
    }


def ask(system: Caller, probe: bytes) -> Any:
    check = system.check("T1", probe)
    assert check["outcome"] == "candidates"
    return check


def stored_vectors(settings: Settings) -> list[bytes]:
    """Open every stored template."""
    with prepared_database(settings) as database, database.read() as session:
        vault = vault_of(session)
        return [
            opened_template(vault, row.reference_id, row.contract_id, row.vector)
            for row in session.scalars(select(Template))
        ]


def assert_log_is_silent(files: dict[Path, bytes], told: list[str]) -> None:
    """At its most talkative the service's log names nobody and repeats nothing that was typed."""
    logs = [content.decode() for path, content in files.items() if path.suffix == ".log"]
    assert logs
    assert any("listening" in log for log in logs)
    for words in (*told, "示例", NUMBER, "record.pdf"):
        assert not [log for log in logs if words in log], words
