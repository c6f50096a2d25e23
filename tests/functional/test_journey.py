"""Whole journeys through real processes: import, serve, check, two officers, notices, audit."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import or_, select

from scripts.installation import Installation
from service.audit.chain import sealed_database
from service.auth.accounts import issue_officer_key, register_client, register_officer
from service.auth.service import Role, Scope
from service.database import Database
from service.settings import Settings
from service.tables import AuditEvent
from tests.databases import BOTH_DATABASES
from tests.functional.callers import AUTHORITY, Caller, calling
from tests.postgres import PostgresServer
from tests.synthetic import synthetic_portrait

pytestmark = pytest.mark.enable_socket

IMPORTED = {"A": 1, "B": 2, "C": 3, "D": 4, "E": 5}
"""Persons of the import file, and which synthetic face each has."""

EVIDENCE = [{"kind": "document", "reference": "Birth record 1987/214, Qujing archive"}]


@dataclass(frozen=True, slots=True)
class Site:
    """One province's installation at work.

    Attributes:
        installation: Its folder and settings.
        database_address: Where its records are.
        client_key: The population system's.
        system: The population system, calling the first process.
        first: An officer.
        second: Another officer.
        supervisor: Their supervisor.
    """

    installation: Installation
    database_address: str
    client_key: str
    system: Caller
    first: Caller
    second: Caller
    supervisor: Caller

    def audited(self, *subjects: str) -> list[tuple[str, str]]:
        """Kind of event and name of the actor, of all that was done to or for some subjects, in order."""
        database = Database(self.database_address)
        try:
            with database.read() as session:
                about = or_(AuditEvent.subject.in_(subjects), AuditEvent.purpose.in_(subjects))
                rows = session.scalars(select(AuditEvent).where(about).order_by(AuditEvent.id)).all()
        finally:
            database.close()
        return [(row.kind, row.actor if row.actor_kind == "officer" else row.actor_kind) for row in rows]


def rows() -> list[dict[str, str]]:
    return [
        {
            "person_id": person_id,
            "name": f"示例{person_id}",
            "division_code": "530302" if person_id == "B" else AUTHORITY,
            "level_code": "30",
            "portrait": f"{person_id}.jpg",
        }
        for person_id in IMPORTED
    ]


@pytest.fixture(scope="module", params=BOTH_DATABASES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Path
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    portraits = folder / "portraits"
    portraits.mkdir()
    for person_id, face in IMPORTED.items():
        (portraits / f"{person_id}.jpg").write_bytes(synthetic_portrait(face))
    with ExitStack() as stack:
        address = f"sqlite:///{folder / 'var' / 'oneperson.db'}"
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            address = stack.enter_context(server.fresh())
        installation = Installation(
            folder, pack=str(synthetic_pack_dir), settings={"ONEPERSON_DATABASE_URL": address}
        )
        installation.import_portraits(rows(), portraits)
        service = installation.start()
        stack.callback(service.stop)
        keys = accounts(address)
        callers = [stack.enter_context(calling(service.address, key)) for key in keys]
        yield Site(installation, address, keys[0], *callers)


def accounts(address: str) -> list[str]:
    """Make the population system's and the officers' accounts and return their keys."""
    officers = (
        ("first", Role.OFFICER, AUTHORITY),
        ("second", Role.OFFICER, AUTHORITY),
        ("boss", Role.SUPERVISOR, "530100"),
    )
    database = sealed_database(Settings(database_url=SecretStr(address)))
    with database.write() as session:
        keys = [register_client(session, "population-system", scopes=frozenset(Scope), days=None)]
        for login, role, division in officers:
            register_officer(session, login, name=login, role=role, division_code=division, hours=1)
            keys.append(issue_officer_key(session, login, days=None))
    database.close()
    return keys


def same(person_id: str) -> dict[str, Any]:
    return {
        "person_id": person_id,
        "conclusion": "same_person",
        "reason": "Same scar; the mother confirms.",
        "evidence": EVIDENCE,
    }


def different(person_id: str) -> dict[str, Any]:
    return {"person_id": person_id, "conclusion": "different_person", "reason": "Met both in person."}


def concluded(check: dict[str, Any], mate: str | None) -> list[dict[str, Any]]:
    """A conclusion on every candidate: the mate is the subject, all others are not."""
    persons = [candidate["person_id"] for candidate in check["candidates"]]
    return [same(person) if person == mate else different(person) for person in persons]


def status(site: Site, check: dict[str, Any]) -> str:
    found: str = site.system.get(f"/v1/checks/{check['check_id']}")["status"]
    return found


def notices_of(site: Site, check: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = site.system.get("/v1/notices")["items"]
    return [notice for notice in items if notice["check_id"] == check["check_id"]]


def test_confirmed_duplicate_stops_the_transaction_and_asks_for_the_cancellation(site: Site) -> None:
    check = site.system.check("transfer-1", synthetic_portrait(IMPORTED["B"], 1), person_id="A")
    assert (check["outcome"], check["instruction"]) == ("candidates", "hold")
    assert check["candidates"][0]["person_id"] == "B"
    case = f"/v1/cases/{check['case_id']}"
    queue = site.first.get("/v1/cases")["items"]
    assert check["case_id"] in [item["id"] for item in queue]
    site.first.get(case)
    site.first.post(f"{case}/claim")
    decided = site.first.post(
        f"{case}/decisions", {"conclusions": concluded(check, "B"), "registration_to_cancel": "B"}
    )
    assert decided["state"] == status(site, check) == "awaiting_second_officer"
    assert notices_of(site, check) == []
    site.second.get(case)
    confirmed = site.second.post(
        f"{case}/confirmation", {"conclusions": [same("B")], "registration_to_cancel": "B"}
    )
    assert confirmed["state"] == status(site, check) == "duplicate_confirmed"
    notices = notices_of(site, check)
    assert [(notice["kind"], notice["recipient"], notice["person_id"]) for notice in notices] == [
        ("terminate", "population-system", "A"),
        ("cancel_request", "530302", "B"),
    ]
    for notice in notices:
        taken = site.system.post(f"/v1/notices/{notice['id']}/acknowledgement", {"note": "Done."})
        assert taken["state"] == "acknowledged"
    assert {notice["state"] for notice in notices_of(site, check)} == {"acknowledged"}
    about_check = site.audited(f"check:{check['check_id']}")
    assert {("check-made", "client"), ("check-read", "client")} <= set(about_check)
    assert [event for event in site.audited(f"case:{check['case_id']}") if "notice" not in event[0]] == [
        ("case-opened", "client"),
        ("case-viewed", "first"),
        ("case-claimed", "first"),
        ("case-decided", "first"),
        ("case-viewed", "second"),
        ("case-confirmed", "second"),
    ]
    for notice in notices:
        assert [kind for kind, _actor in site.audited(f"notice:{notice['id']}")] == [
            "notice-issued",
            "notice-acknowledged",
        ]


def test_first_officer_cannot_be_the_second_and_disagreement_goes_to_the_supervisor(site: Site) -> None:
    check = site.system.check("transfer-2", synthetic_portrait(IMPORTED["C"], 1))
    case = f"/v1/cases/{check['case_id']}"
    site.first.post(
        f"{case}/decisions", {"conclusions": concluded(check, "C"), "registration_to_cancel": "C"}
    )
    again = {"conclusions": [same("C")], "registration_to_cancel": "C"}
    assert site.first.post(f"{case}/confirmation", again, status=409)["type"] == "/problems/same-officer"
    disagreed = site.second.post(f"{case}/confirmation", {"conclusions": [different("C")]})
    assert (disagreed["state"], disagreed["escalated"]) == ("under_review", True)
    assert status(site, check) == "under_review"
    assert notices_of(site, check) == []
    site.supervisor.post(f"{case}/claim")
    cleared = site.supervisor.post(f"{case}/decisions", {"conclusions": concluded(check, None)})
    assert cleared["state"] == status(site, check) == "cleared"


def test_cleared_case_releases_the_transaction(site: Site) -> None:
    check = site.system.check("transfer-3", synthetic_portrait(IMPORTED["D"], 1))
    case = f"/v1/cases/{check['case_id']}"
    cleared = site.second.post(f"{case}/decisions", {"conclusions": concluded(check, None)})
    assert cleared["state"] == status(site, check) == "cleared"
    (notice,) = notices_of(site, check)
    assert (notice["kind"], notice["transaction_id"]) == ("release", "transfer-3")
    assert notice["payload"]["instruction"] == "proceed"


def test_established_identity_takes_the_person_out_of_the_gallery(site: Site) -> None:
    face = IMPORTED["E"]
    check = site.system.check("transfer-4", synthetic_portrait(IMPORTED["D"], 2), person_id="E")
    identity = {"person_id": "E", "level_code": "10", "reason": "DNA of both parents."}
    site.first.post(
        f"/v1/cases/{check['case_id']}/decisions",
        {"conclusions": concluded(check, None), "identity_established": identity},
    )
    due = {notice["kind"]: notice["payload"] for notice in notices_of(site, check)}
    assert due.keys() == {"release", "level_code_change"}
    assert due["level_code_change"]["level_code"] == "10"
    before = site.system.check("transfer-5", synthetic_portrait(face, 1))
    assert before["candidates"][0]["person_id"] == "E"
    assert site.system.put_person("E", level_code="10")["enrolment"]["status"] == "not_required"
    after = site.system.check("transfer-5b", synthetic_portrait(face, 1))
    assert "E" not in [candidate["person_id"] for candidate in after["candidates"]]
    assert site.audited("person:E")[-1] == ("person-stored", "client")


def test_withdrawn_transaction_leaves_the_queue(site: Site) -> None:
    site.system.put_person("F", synthetic_portrait(6))
    check = site.system.check("transfer-6", synthetic_portrait(6, 1))
    assert site.system.post(f"/v1/checks/{check['check_id']}/withdraw")["status"] == "withdrawn"
    assert status(site, check) == "withdrawn"
    queue = site.first.get("/v1/cases")["items"]
    assert check["case_id"] not in [item["id"] for item in queue]
    case = f"/v1/cases/{check['case_id']}"
    site.first.post(f"{case}/decisions", {"conclusions": concluded(check, None)}, status=409)
    kinds = [kind for kind, _ in site.audited(f"check:{check['check_id']}", f"case:{check['case_id']}")]
    assert {"check-made", "check-withdrawn", "case-withdrawn"} <= set(kinds)


def test_officers_of_another_prefecture_see_nothing_of_it(site: Site) -> None:
    check = site.system.check("transfer-7", synthetic_portrait(IMPORTED["A"], 1), authority="530302")
    assert site.first.status_of(f"/v1/cases/{check['case_id']}") == 404
    assert site.supervisor.status_of(f"/v1/cases/{check['case_id']}") == 404


def test_erased_registration_is_gone_from_the_next_check(site: Site) -> None:
    site.system.put_person("G", synthetic_portrait(7))
    assert site.system.check("transfer-8", synthetic_portrait(7, 1))["candidates"][0]["person_id"] == "G"
    assert site.system.delete_person("G").status_code == 204
    after = site.system.check("transfer-9", synthetic_portrait(7, 1))
    assert "G" not in [candidate["person_id"] for candidate in after["candidates"]]
    assert site.audited("person:G")[-1] == ("person-erased", "client")


def test_import_beside_the_running_service_is_seen_at_once(site: Site, tmp_path: Path) -> None:
    (tmp_path / "H.jpg").write_bytes(synthetic_portrait(8))
    line = {"person_id": "H", "level_code": "30", "division_code": AUTHORITY, "portrait": "H.jpg"}
    site.installation.import_portraits([line], tmp_path)
    assert site.system.check("transfer-10", synthetic_portrait(8, 1))["candidates"][0]["person_id"] == "H"


def test_second_process_sees_what_the_first_enrolled_and_the_reverse(site: Site) -> None:
    other = site.installation.start()
    try:
        with calling(other.address, site.client_key) as system:
            site.system.put_person("I", synthetic_portrait(9))
            assert system.check("transfer-11", synthetic_portrait(9, 1))["candidates"][0]["person_id"] == "I"
            system.put_person("J", synthetic_portrait(10))
            assert system.delete_person("I").status_code == 204
            mine = site.system.check("transfer-12", synthetic_portrait(10, 1))
            assert mine["candidates"][0]["person_id"] == "J"
            gone = site.system.check("transfer-13", synthetic_portrait(9, 2))
            assert "I" not in [candidate["person_id"] for candidate in gone["candidates"]]
            # One transaction sent to both is one check.
            again = system.check("transfer-12", synthetic_portrait(10, 1))
            assert again["check_id"] == mine["check_id"]
    finally:
        other.stop()
