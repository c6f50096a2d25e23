"""Unique words in every field of every address: none of them comes back in a log, an error or a figure.

What a page shows to the officer who has just typed it is not looked at; what others may read is.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.app import create_app
from service.auth.policy import POLICY, Proof, folder_of
from service.auth.service import Role, Scope, add_client, add_officer
from service.logs import configure_logging
from service.middleware import SECURITY_HEADERS
from tests.service.calls import portrait, post_check, put_person
from tests.service.conftest import make_settings
from tests.service.web.pages import BROWSER, Page, sign_in

MARK = "Zq7xMARK"
"""Begins every word that is sent; nothing of ours holds it."""

SIGN_OUT = {"POST /sign-out", "POST /account/sessions/end-all"}
"""Would end the session that the other requests need."""

EXAMPLES: dict[str, Any] = {"string": "x", "integer": 1, "number": 0.5, "boolean": True, "null": None}
TRACES = re.compile(r"Traceback|File \"|\.py\b|sqlalchemy|pydantic|starlette|uvicorn|onnx", re.IGNORECASE)


@dataclass
class House:
    """A running service, and who calls it.

    Attributes:
        client: Sends requests.
        keys: By kind: `client`, `officer`.
        browsers: A signed-in browser of each role, and its forms' token.
        names: Identifiers that exist.
        answers: Every answer, with what was asked.
    """

    client: TestClient
    keys: dict[str, str] = field(default_factory=dict)
    browsers: dict[Role, tuple[TestClient, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[str, Response]] = field(default_factory=list)
    sent: int = 0

    def mark(self) -> str:
        """Return a word that was never sent before."""
        self.sent += 1
        return f"{MARK}{self.sent:05}"

    def ask(self, row: str, sender: TestClient, path: str, **request: Any) -> None:
        """Send a request with marks in its query and headers, too, and keep the answer."""
        headers = {"user-agent": self.mark(), "x-request-id": self.mark(), "referer": self.mark()}
        request["headers"] = headers | request.pop("headers", {})
        request["params"] = {self.mark(): self.mark(), "month": self.mark(), "after": self.mark()}
        answer = sender.request(row.partition(" ")[0], path, follow_redirects=False, **request)
        self.answers.append((row, answer))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marked")


@pytest.fixture(scope="module")
def house(written: Path, synthetic_pack_dir: Path) -> Iterator[House]:
    address = f"sqlite:///{written / 'oneperson.db'}"
    app = create_app(make_settings(written / "var", address, synthetic_pack_dir).model_copy(update=LIMITS))
    with TestClient(app, raise_server_exceptions=False) as client:
        made = House(client)
        with app.state.database.write() as session:
            made.keys["client"] = add_client(session, "system", scopes=frozenset(Scope))[1]
            for role in Role:
                made.keys[role] = add_officer(session, role, name=role, role=role, division_code="530000")[1]
        headers = {"Authorization": f"Bearer {made.keys['client']}"}
        assert put_person(client, headers, "C-1", portrait(1), division_code="530102").is_success
        made.names = {"case_id": post_check(client, headers, "T-1", portrait(1, 1)).json()["case_id"]}
        for role in Role:
            browser = TestClient(app, raise_server_exceptions=False)
            sign_in(browser, made.keys[role])
            token = Page(browser.get("/account", headers=BROWSER).text).form("/sign-out").fields["csrf"]
            made.browsers[role] = (browser, token)
        yield made


LIMITS = {f"{who}_requests_per_s": 1e6 for who in ("client", "officer", "address")}


def filled(house: House, document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Fill every text of a shape with a mark of its own."""
    if "$ref" in schema:
        return filled(house, document, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "anyOf" in schema:
        return filled(house, document, schema["anyOf"][0])
    if schema.get("type") == "object":
        return {name: filled(house, document, part) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [filled(house, document, schema["items"])]
    return house.mark() if schema.get("type", "string") == "string" else EXAMPLES[schema["type"]]


def fitting(house: House, document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Fill a shape with what its fields accept, where they say so, and free texts with marks."""
    if "$ref" in schema:
        return fitting(house, document, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "anyOf" in schema:
        return fitting(house, document, schema["anyOf"][0])
    if schema.get("type") == "object":
        return {name: fitting(house, document, part) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [fitting(house, document, schema["items"])]
    if schema.get("type") == "string" and schema.get("format") in (None, "binary"):
        return house.mark()
    return {"date": "2026-03-01", "uuid": str(uuid4())}.get(schema.get("format", ""), EXAMPLES["integer"])


def variants(house: House, document: dict[str, Any], schema: dict[str, Any]) -> Iterator[Any]:
    """Give bodies with marks everywhere, in free texts only, and in each field by itself."""
    yield filled(house, document, schema)
    good = fitting(house, document, schema)
    yield good
    for name in good if isinstance(good, dict) else ():
        yield {**good, name: house.mark()}
        if isinstance(good[name], dict):
            yield from ({**good, name: {**good[name], inner: house.mark()}} for inner in good[name])
    yield {**good, house.mark(): house.mark()} if isinstance(good, dict) else house.mark()


def path_of(house: House, template: str, *, known: bool) -> str:
    """Fill the names of a path with marks, or with what exists."""
    parts = []
    for part in template.split("/"):
        name, _, kind = part.strip("{}").partition(":")
        other = {"uuid": str(uuid4()), "int": "987654"}.get(kind) or house.mark()
        parts.append((house.names.get(name, other) if known else other) if part.startswith("{") else part)
    return "/".join(parts)


def ask_api(house: House, document: dict[str, Any], row: str, template: str) -> None:
    method = row.partition(" ")[0].lower()
    kind = Role.SUPERVISOR if "/v1/cases" in template else "client"
    headers = {"Authorization": f"Bearer {house.keys[kind]}"}
    operation = document["paths"][template][method]
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    for known in (True, False):
        path = path_of(house, template, known=known)
        house.ask(row, house.client, path, headers={"Authorization": f"Bearer {house.mark()}"})
        for body in variants(house, document, schema) if schema else [None]:
            content = None if body is None else json.dumps(body).encode()
            house.ask(row, house.client, path, headers=headers | JSON, content=content)
        if schema:
            house.ask(row, house.client, path, headers=headers | JSON, content=house.mark().encode())


JSON = {"content-type": "application/json"}
FIELDS = [
    "login",
    "password",
    "code",
    "name",
    "note",
    "reason",
    "grounds",
    "appellant",
    "text",
    "on",
    "revision",
    "state",
    "kind",
    "division",
    "person",
    "q",
    "subject",
    "actor",
    "result",
    "from",
    "until",
    "month",
    "conclusion",
    "evidence_reference",
    "cancel_person_id",
    "next",
    "language",
    "file",
]
"""Names that forms of the pages have; each is sent to every page."""


def ask_page(house: House, row: str, template: str, role: Role) -> None:
    browser, token = house.browsers[role]
    for known in (True, False):
        path = path_of(house, template, known=known)
        form = {name: house.mark() for name in FIELDS}
        data = form | {"csrf": token} if row.startswith("POST") else None
        house.ask(row, browser, path, headers=BROWSER, data=data)
        if data is not None:
            house.ask(row, browser, path, headers=BROWSER, data=form | {"csrf": house.mark()})
            house.ask(row, browser, path, headers=BROWSER, files={"file": (house.mark(), house.mark())})


def test_nothing_that_was_sent_comes_back_in_logs_errors_or_figures(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("debug", "json")
    document = house.client.get("/openapi.json").json()
    for row, rule in POLICY.items():
        template = row.split()[1]
        if row in SIGN_OUT or row[0] == "*" or template == "/openapi.json":
            continue
        if template in document["paths"]:
            ask_api(house, document, row, template)
        elif rule.proof is Proof.SESSION:
            ask_page(house, row, template, sorted(rule.roles)[-1])
        else:
            ask_page(house, row, template, Role.OFFICER)
    log = capfd.readouterr().err
    assert house.sent > 3_000
    assert {folder_of(row.split()[1]) for row, _ in house.answers} >= {"/v1/checks", "/sign-in", "/audit"}
    assert log.count('"event": "request"') >= len(house.answers)
    assert MARK not in log, log[log.index(MARK) - 600 : log.index(MARK) + 100]
    assert "request-failed" not in log
    assert MARK not in house.client.get("/metrics").text
    for row, answer in house.answers:
        assert answer.status_code < 500, f"{row}: {answer.status_code} {answer.text[:300]}"
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            found = re.search(f"{MARK}[0-9]*", answer.text)
            named = found is not None and f'"field":"{found[0]}"' in answer.text.replace(" ", "")
            assert found is None or named, f"{row}: {answer.text[:400]}"


def test_every_answer_has_the_headers_and_no_trace_of_what_made_it(house: House) -> None:
    assert house.answers, "runs after the test that asks"
    for row, answer in house.answers:
        assert set(SECURITY_HEADERS) <= {
            name.title() if name[0].isupper() else name for name in names(answer)
        }, row
        assert "server" not in answer.headers
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy, row
        assert "frame-ancestors 'none'" in policy or "sandbox" in policy, row
        if answer.status_code >= 400:
            assert not TRACES.search(answer.text), f"{row}: {answer.text[:300]}"
        if "text/html" in answer.headers.get("content-type", ""):
            assert not re.search(
                r"<[^>]+\s(style|on\w+)=|<style|<script(?![^>]*\ssrc=)|javascript:", answer.text
            ), row


def names(answer: Response) -> set[str]:
    """Return the names of an answer's headers in the spelling of `SECURITY_HEADERS`."""
    spelt = {name.lower(): name for name in SECURITY_HEADERS}
    return {spelt.get(name, name) for name in answer.headers}
