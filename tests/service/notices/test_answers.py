"""Changes of registrations answer the notices that asked for them, in the same transaction."""

from fastapi.testclient import TestClient
from sqlalchemy import select

from service.auth.service import SYSTEM
from service.database import Database
from service.notices.service import NoticeKind, reverse_notices
from service.tables import AuditEvent, Notice
from tests.service.calls import Headers, put_person
from tests.service.conftest import ClientKeys
from tests.service.notices.receiving import issue_one


def via(database: Database, notice: Notice) -> str | None:
    with database.read() as session:
        stored = session.scalars(select(Notice).where(Notice.id == notice.id)).one()
        return stored.acknowledged_via


def put(client: TestClient, headers: Headers, person_id: str, **fields: object) -> None:
    answer = put_person(client, headers, person_id, **{"portraits": []} | fields)
    assert answer.is_success, answer.text


def cancel(database: Database, person_id: str) -> Notice:
    return issue_one(database, kind=NoticeKind.CANCEL_REQUEST, recipient="530302", person_id=person_id)


def test_an_erasure_answers_a_request_to_cancel(
    client: TestClient, client_key: ClientKeys, database: Database
) -> None:
    headers = {"Authorization": f"Bearer {client_key(name='population')}"}
    for person_id in ("P-1", "P-2"):
        put(client, headers, person_id, level_code="10")
    asked, other = cancel(database, "P-1"), cancel(database, "P-2")
    assert client.delete("/v1/persons/P-1", headers=headers).status_code == 204
    assert (via(database, asked), via(database, other)) == ("registration", None)
    shown = client.get(f"/v1/notices/{asked.id}", headers=headers).json()
    assert (shown["state"], shown["acknowledged_by"], shown["acknowledged_via"]) == (
        "acknowledged",
        "population",
        "registration",
    )
    with database.read() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.kind == "notice-acknowledged")).one()
        assert (event.subject, event.details["via"]) == (f"notice:{asked.id}", "registration")


def test_another_level_code_answers_a_request_to_cancel_and_other_changes_do_not(
    client: TestClient, headers: Headers, database: Database
) -> None:
    put(client, headers, "P-1", level_code="10", category="11")
    asked = cancel(database, "P-1")
    put(client, headers, "P-1", level_code="10", category="10", name="李芳")
    assert via(database, asked) is None
    put(client, headers, "P-1", level_code="90", category="10")
    assert via(database, asked) == "registration"


def test_only_the_level_code_asked_for_answers(
    client: TestClient, headers: Headers, database: Database
) -> None:
    put(client, headers, "P-1", level_code="30")
    asked = issue_one(
        database, kind=NoticeKind.LEVEL_CODE_CHANGE, person_id="P-1", payload={"level_code": "10"}
    )
    put(client, headers, "P-1", level_code="20")
    assert via(database, asked) is None
    put(client, headers, "P-1", level_code="10")
    assert via(database, asked) == "registration"


def test_what_was_taken_back_is_not_answered(
    client: TestClient, headers: Headers, database: Database
) -> None:
    put(client, headers, "P-1", level_code="10")
    asked = cancel(database, "P-1")
    with database.write() as session:
        reverse_notices(session, asked.case_id, due_days=3, actor=SYSTEM)
    assert client.delete("/v1/persons/P-1", headers=headers).status_code == 204
    assert via(database, asked) is None
