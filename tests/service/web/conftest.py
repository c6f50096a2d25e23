"""A desk for tests of pages: registrations, checks, officers, and a browser that is signed in."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.database import Database
from service.tables import AuditEvent
from tests.service.calls import Headers, portrait, post_check, put_person
from tests.service.conftest import OfficerKeys
from tests.service.web.pages import BROWSER, Page, checked_page, sign_in, use_language


@dataclass
class Desk:
    """Registrations that a check of person 1 finds: candidate C-1, subject S-1 (without portraits)."""

    client: TestClient
    headers: Headers
    app: FastAPI
    officer_key: OfficerKeys

    @property
    def database(self) -> Database:
        found: Database = self.app.state.database
        return found

    def registrations(self) -> None:
        fields = {"name": "李芳", "sex": "2", "division_code": "530302"}
        number = "11010519491231002X"
        assert put_person(
            self.client, self.headers, "C-1", portrait(1), **fields, citizen_id_number=number
        ).is_success
        assert put_person(
            self.client, self.headers, "S-1", level_code="10", portraits=[], **fields | {"name": "李秀英"}
        ).is_success

    def case(self, transaction_id: str = "T-1", *, person_id: str | None = "S-1") -> UUID:
        """Open a case by a check of person 1."""
        answer = post_check(
            self.client, self.headers, transaction_id, portrait(1, shot=1), person_id=person_id
        )
        assert answer.json()["outcome"] == "candidates", answer.text
        return UUID(answer.json()["case_id"])

    def unsearchable_case(self, transaction_id: str = "T-9") -> UUID:
        """Open a case by a check of somebody who is not known."""
        answer = post_check(self.client, self.headers, transaction_id, person_id="X-unknown")
        assert answer.json()["outcome"] == "not_searchable", answer.text
        return UUID(answer.json()["case_id"])

    def browser(self, login: str, *, role: str = "officer", division_code: str = "530100") -> TestClient:
        """A browser of its own, signed in, in English."""
        browser = TestClient(self.app, raise_server_exceptions=False)
        sign_in(browser, self.officer_key(login, role=role, division_code=division_code))
        use_language(browser, "en")
        return browser

    def read(self, browser: TestClient, address: str, status: int = 200) -> Page:
        answer = browser.get(address, headers=BROWSER)
        assert answer.status_code == status, answer.text
        return checked_page(answer, "en")

    def events(self, kind: str) -> list[AuditEvent]:
        with self.database.read() as session:
            return [e for e in session.query(AuditEvent).order_by(AuditEvent.id) if e.kind == kind]

    def state(self, case_id: UUID, key: str) -> dict[str, object]:
        """The case as the API shows it."""
        answer = self.client.get(f"/v1/cases/{case_id}", headers={"Authorization": f"Bearer {key}"})
        body: dict[str, object] = answer.json()
        return body


@pytest.fixture
def desk(client: TestClient, headers: Headers, app: FastAPI, officer_key: OfficerKeys) -> Desk:
    """The running application with two registrations."""
    made = Desk(client, headers, app, officer_key)
    made.registrations()
    return made
