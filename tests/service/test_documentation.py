"""`/docs` without a network, and an OpenAPI document that keeps its promises."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Error, Page, Request, sync_playwright

from service.problems import MEDIA_TYPE
from tests.conftest import unavailable
from tests.service.conftest import SQLITE_ONLY


@pytest.fixture(scope="session")
def document(lasting_client: TestClient) -> dict[str, Any]:
    answer: dict[str, Any] = lasting_client.get("/openapi.json").json()
    return answer


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_page_and_all_its_files_come_from_here(lasting_client: TestClient) -> None:
    page = lasting_client.get("/docs")
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) == 4
    for address in addresses:
        assert address.startswith("/")
        assert lasting_client.get(address).status_code == 200
    assert "<script>" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_files_beside_those_served_cannot_be_reached(lasting_client: TestClient) -> None:
    for path in ("/static/../health.py", "/static/%2e%2e/health.py", "/docs/ui/..%2f__init__.py", "/static/"):
        assert lasting_client.get(path).status_code == 404


def test_every_operation_has_words_and_every_field_a_description(document: dict[str, Any]) -> None:
    assert document["info"]["title"] == "OnePerson"
    assert document["info"]["description"]
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
    undescribed = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, described in schema.get("properties", {}).items()
        if "description" not in described
    ]
    assert undescribed == []


def test_calls_under_v1_need_the_key_and_the_others_do_not(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for name, operation in operations(document):
        secured = operation.get("security") == [{"key": []}]
        assert secured is (" /v1/" in name), name


def test_every_error_answer_is_described_as_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        if " /v1/" not in name:
            continue
        assert {"401", "413", "422", "500", "503"} <= operation["responses"].keys(), name
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == [MEDIA_TYPE], f"{name} {status}"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(document):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in document["components"][kind], reference


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        except Error as error:
            unavailable("browser", f"Chromium does not start: {str(error).splitlines()[0]}")
        yield browser.new_page()
        browser.close()


@SQLITE_ONLY
@pytest.mark.browser
@pytest.mark.enable_socket
def test_a_browser_shows_the_operations_and_asks_nobody_else(live: str, page: Page) -> None:
    asked: list[str] = []
    complaints: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(f"{live}/docs")
    page.get_by_text("/v1/checks", exact=True).first.wait_for(timeout=20_000)
    assert page.get_by_role("button", name="Authorize").count() == 1
    page.get_by_text("Check a transaction").first.click()
    page.get_by_text("idempotent on", exact=False).first.wait_for(timeout=10_000)
    assert all(address.startswith((live, "data:", "blob:")) for address in asked)
    assert complaints == []
