"""Every address × every role × own and foreign division, on real requests.

The table is `service.auth.policy.POLICY`. An address without a row, and a row without an address, fail here.
A new row usually needs nothing more; where its request needs a body to get as far as its division, give it in
`BODIES`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import select
from starlette.routing import Mount, Route

from service.app import create_app
from service.auth.policy import CASE_ROLES, POLICY, Proof, Rule, folder_of
from service.auth.service import Role, Scope, add_client, add_officer
from service.database import Database
from service.gate import leaves
from service.tables import AuditEvent, CaseCandidate, Portrait
from tests.service.calls import portrait, post_check, put_person
from tests.service.conftest import make_settings
from tests.service.web.pages import BROWSER, Page, sign_in

OWN, FOREIGN = "530102", "530300"

DECISION = {"conclusions": [{"person_id": "C-1", "conclusion": "different_person", "reason": "Met both."}]}
BODIES: dict[str, Any] = {
    "POST /v1/cases/{case_id}/decisions": DECISION,
    "POST /v1/cases/{case_id}/confirmation": DECISION,
    "POST /v1/cases/{case_id}/reopen": {"reason": "New facts."},
    "POST /v1/cases/{case_id}/appeals": {
        "appellant": "The subject",
        "appealed_on": "2026-03-01",
        "grounds": "A record.",
    },
    "POST /v1/cases/{case_id}/appeals/{appeal_id}/dismissal": {"reason": "New facts."},
    "POST /v1/cases/{case_id}/attachments": {"name": "a.pdf", "content": "JVBERi0xLjcK"},
}
"""Bodies of requests that are looked at before the division is."""

FORMS: dict[str, dict[str, str]] = {
    "POST /notices/{notice_id:uuid}/acknowledgement": {"note": "By telephone.", "on": "2026-03-01"},
}
"""The same for forms of pages; the session's token is added."""

LEFT_OUT = {"GET /openapi.json", "HEAD /openapi.json", "GET /metrics"}
"""Answered to anybody, and slow; `test_documentation.py` and `test_metrics.py` ask for them."""

STRICTER = {"POST /statistics/close"}
"""Addresses where the service refuses some whom the row names: closing months needs a province's division."""


@dataclass
class Office:
    """A running service with a case of `OWN`, and one caller of every kind."""

    app: FastAPI
    client: TestClient
    names: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    browsers: dict[str, tuple[TestClient, str]] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        found: Database = self.app.state.database
        return found

    def prepare(self) -> None:
        with self.database.write() as session:
            for scope in Scope:
                self.keys[f"client:{scope}"] = add_client(session, f"c-{scope}", scopes=frozenset({scope}))[1]
            for role in Role:
                for where in (OWN, FOREIGN):
                    self.keys[f"{role}:{where}"] = add_officer(
                        session, f"{role}-{where}", name=role, role=role, division_code=where
                    )[1]
            every = add_client(session, "all", scopes=frozenset(Scope))[1]
        headers = {"Authorization": f"Bearer {every}"}
        assert put_person(self.client, headers, "C-1", portrait(1), division_code=OWN).is_success
        answer = post_check(self.client, headers, "T-1", portrait(1, shot=1), authority=OWN).json()
        with self.database.read() as session:
            reference = session.scalars(select(Portrait.reference_id)).one()
            assert session.scalars(select(CaseCandidate)).all()
        self.names = {
            "case_id": answer["case_id"],
            "check_id": answer["check_id"],
            "person_id": "C-1",
            "reference_id": str(reference),
            "code": "not-found",
        }
        for who in self.keys:
            if not who.startswith("client"):
                self.browsers[who] = self.signed_in(who)

    def signed_in(self, who: str) -> tuple[TestClient, str]:
        """A browser of somebody's, and the token that its forms send."""
        browser = TestClient(self.app, raise_server_exceptions=False)
        sign_in(browser, self.keys[who])
        page = Page(browser.get("/account", headers=BROWSER).text)
        return browser, page.form("/sign-out").fields["csrf"]

    def ask(self, row: str, rule: Rule, who: str) -> Response:
        """Send the request of a row, as somebody."""
        method, template = row.split(" ")
        path = self._path(template)
        if rule.proof is Proof.SESSION and who in self.browsers:
            browser, csrf = self.signed_in(who) if row == "POST /sign-out" else self.browsers[who]
            data = FORMS.get(row, {}) | {"csrf": csrf} if method == "POST" else None
            return browser.request(method, path, data=data, headers=BROWSER, follow_redirects=False)
        headers = {"Authorization": f"Bearer {self.keys[who]}"} if who in self.keys else {}
        body = BODIES.get(row, {}) if method in ("POST", "PUT") else None
        if rule.proof is not Proof.KEY:
            return self.client.request(method, path, headers=BROWSER | headers, follow_redirects=False)
        return self.client.request(method, path, json=body, headers=headers)

    def _path(self, template: str) -> str:
        parts = []
        for part in template.split("/"):
            name, _, kind = part.strip("{}").partition(":")
            default = "1" if kind == "int" else str(uuid4())
            parts.append(self.names.get(name, default) if part.startswith("{") else part)
        return "/".join(parts)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Any) -> Iterator[Office]:
    """The whole application on SQLite."""
    folder = tmp_path_factory.mktemp("roles")
    settings = make_settings(folder / "var", f"sqlite:///{folder / 'oneperson.db'}", synthetic_pack_dir)
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as client:
        made = Office(app, client)
        made.prepare()
        yield made


def addresses(app: FastAPI) -> set[str]:
    found = set()
    for route in leaves(app.router.routes):
        if isinstance(route, Mount):
            found.add(f"* {folder_of(route.path)}")
        elif isinstance(route, Route):
            found |= {f"{method} {route.path}" for method in route.methods or ()}
    return found


def test_every_address_has_its_row_and_every_row_its_address(office: Office) -> None:
    missing, stale = addresses(office.app) - set(POLICY), set(POLICY) - addresses(office.app)
    assert (sorted(missing), sorted(stale)) == ([], []), "see the top of service/auth/policy.py"


def test_operators_and_auditors_reach_nothing_that_shows_portraits_or_cases() -> None:
    cases = {row: rule for row, rule in POLICY.items() if "/cases" in row or "portraits" in row}
    assert [row for row, rule in cases.items() if not rule.roles <= set(CASE_ROLES) or rule.scopes] == []


@pytest.mark.parametrize("row", sorted(row for row in POLICY if row not in LEFT_OUT and row[0] != "*"))
def test_row_lets_in_whom_it_names_and_nobody_else(office: Office, row: str) -> None:
    rule = POLICY[row]
    for who in ("nobody", "stranger", *office.keys):
        answer = office.ask(row, rule, who)
        told = f"{who}: {answer.status_code} {answer.text[:200]}"
        if rule.proof is Proof.NONE:
            assert answer.status_code not in (401, 403), told
        elif not is_known(rule, who):
            assert is_turned_away(row, rule, answer), told
        elif not is_named(rule, who):
            assert answer.status_code == 403, told
        elif rule.is_divided and who.endswith(FOREIGN):
            assert answer.status_code == 404, told
        else:
            refused = (401, 405, 500) if row in STRICTER else (401, 403, 405, 500)
            assert answer.status_code not in refused, told


def is_known(rule: Rule, who: str) -> bool:
    """Whether somebody comes with the proof that an address asks for."""
    if who in ("nobody", "stranger"):
        return False
    return rule.proof is Proof.KEY or not who.startswith("client")


def is_named(rule: Rule, who: str) -> bool:
    kind, name = who.split(":")
    return Scope(name) in rule.scopes if kind == "client" else Role(kind) in rule.roles


def is_turned_away(row: str, rule: Rule, answer: Response) -> bool:
    """Whether an answer is that to somebody who is not known; browsers that read are sent to sign in."""
    if rule.proof is Proof.SESSION and row.startswith("GET"):
        return answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?next=")
    return answer.status_code == 401


def test_refused_access_is_on_record(office: Office) -> None:
    def refusals() -> list[tuple[str, str | None, str]]:
        with office.database.read() as session:
            query = select(AuditEvent).where(AuditEvent.kind == "access-refused").order_by(AuditEvent.id)
            return [(event.actor, event.subject, event.result) for event in session.scalars(query)]

    before, case = len(refusals()), office.names["case_id"]
    office.ask("GET /v1/cases/{case_id}", POLICY["GET /v1/cases/{case_id}"], f"officer:{FOREIGN}")
    office.ask("GET /cases/{case_id:uuid}", POLICY["GET /cases/{case_id:uuid}"], f"auditor:{OWN}")
    office.ask("GET /v1/persons/{person_id}", POLICY["GET /v1/persons/{person_id}"], "client:checks")
    assert refusals()[before:] == [
        (f"officer-{FOREIGN}", f"case:{case}", "foreign-division"),
        (f"auditor-{OWN}", f"case:{case}", "forbidden"),
        ("c-checks", "person:C-1", "forbidden"),
    ]
