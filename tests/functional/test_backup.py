"""A backup of a running service, restored by the real commands: the same answers, and no erased person."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.installation import Installation
from tests.databases import BOTH_DATABASES
from tests.functional.callers import Caller, calling
from tests.postgres import PostgresServer
from tests.synthetic import synthetic_portrait

pytestmark = pytest.mark.enable_socket

PERSONS = 5
ERASED = 3


@pytest.fixture(params=BOTH_DATABASES)
def two_addresses(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Addresses of two empty databases; none for SQLite, which lies in the data folder."""
    if request.param == "sqlite":
        yield []
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with ExitStack() as stack:
        yield [stack.enter_context(server.fresh()) for _ in range(2)]


def installation(folder: Path, pack: Path, addresses: list[str], at: int) -> Installation:
    settings = {"ONEPERSON_DATABASE_URL": addresses[at]} if addresses else {}
    return Installation(folder, pack=str(pack), settings=settings)


@contextmanager
def served(place: Installation) -> Iterator[Caller]:
    key = place.add_client("persons", "checks")
    service = place.start()
    try:
        with calling(service.address, key) as caller:
            yield caller
    finally:
        service.stop()


def answered(caller: Caller, transaction_id: str, person: int) -> Any:
    """Check a person's other portrait; return what does not name the moment."""
    answer = caller.check(transaction_id, synthetic_portrait(person, 1))
    found = [(one["person_id"], one["score"], one["false_alarm_rate"]) for one in answer["candidates"]]
    return answer["outcome"], answer["instruction"], answer["threshold"], found


def test_a_restored_installation_answers_as_the_one_that_was_backed_up(
    tmp_path: Path, synthetic_pack_dir: Path, two_addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEPERSON_ENCRYPTION_KEYS")  # As operators who set nothing: keys lie in files.
    monkeypatch.delenv("ONEPERSON_AUDIT_KEY")
    first = installation(tmp_path / "first", synthetic_pack_dir, two_addresses, 0)
    backup = tmp_path / "oneperson.backup"
    with served(first) as caller:
        for at in range(PERSONS):
            caller.put_person(f"P{at}", synthetic_portrait(at))
        known = caller.check("T-known", synthetic_portrait(1, 1))
        made = first.run("backup", str(backup))
        assert made.returncode == 0, made.stdout
        assert caller.delete_person(f"P{ERASED}").status_code == 204
        before = [answered(caller, f"T{at}", at) for at in range(PERSONS)]
    assert known["outcome"] == "candidates"
    assert before[ERASED][0] == "no_candidates"

    second = installation(tmp_path / "second", synthetic_pack_dir, two_addresses, 1)
    second.data_dir.mkdir(parents=True, exist_ok=True)
    for name in ("encryption.key", "audit.key", "erasures.jsonl"):  # What is kept apart from the backups.
        shutil.copy(first.data_dir / name, second.data_dir)
    done = second.run("restore", str(backup))
    assert done.returncode == 0, done.stdout
    assert "1 persons" in done.stdout

    with served(second) as caller:
        again = caller.check("T-known", synthetic_portrait(1, 1))
        assert again == known | {"review_url": again["review_url"]}
        assert [answered(caller, f"T{at}", at) for at in range(PERSONS)] == before
        assert caller.status_of(f"/v1/persons/P{ERASED}") == 404
    verified = second.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout
