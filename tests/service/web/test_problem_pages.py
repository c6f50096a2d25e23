"""Problems as browsers see them."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.errors import DatabaseUnavailableError, ServiceError
from service.language import LANGUAGES
from service.problems import problem_classes
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.pages import BROWSER, checked_page, use_language

pytestmark = SQLITE_ONLY

CLASSES = sorted(problem_classes().values(), key=lambda cls: cls.code)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_problem_has_a_page_in_both_languages(app: FastAPI, client: TestClient, language: str) -> None:
    failing: list[type[ServiceError]] = []

    @app.get("/failing")
    def fail() -> None:
        raise failing[0]("The database cannot be used now.")

    use_language(client, language)
    for cls in CLASSES:
        failing[:] = [cls]
        answer = client.get("/failing", headers=BROWSER, follow_redirects=False)
        if cls.status == 401:
            assert answer.headers["location"] == "/sign-in?next=/failing"
            continue
        assert answer.status_code == cls.status, cls.code
        page = checked_page(answer, language)
        assert answer.headers["x-request-id"] in page.text
        assert "retry-after" in answer.headers or cls.status != 503


def test_fault_of_ours_is_a_page_without_details(app: FastAPI, client: TestClient) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret of the inside")

    answer = client.get("/broken", headers=BROWSER)
    assert answer.status_code == 500
    checked_page(answer, "en")
    assert "secret" not in answer.text


def test_api_and_other_callers_get_problem_documents(client: TestClient) -> None:
    for address, headers in [
        ("/v1/cases", BROWSER),
        ("/v1/nothing", BROWSER),
        ("/problems/nothing", BROWSER),
        ("/cases/x", {"accept": "application/json"}),
        ("/", {}),
        ("/", {"accept": "image/*"}),
    ]:
        answer = client.get(address, headers=headers, follow_redirects=False)
        assert answer.headers["content-type"] == "application/problem+json", address


def test_unknown_page_and_wrong_method_are_pages(client: TestClient) -> None:
    missing = client.get("/nothing", headers=BROWSER)
    assert (missing.status_code, missing.history) == (404, [])
    checked_page(missing, "en")
    wrong = client.get("/sign-out", headers=BROWSER)
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["allow"]
    checked_page(wrong, "en")


def test_address_of_a_visitor_without_a_session_is_kept(client: TestClient) -> None:
    answer = client.get("/?state=cleared&mine=1", headers=BROWSER, follow_redirects=False)
    assert answer.headers["location"] == "/sign-in?next=/%3Fstate%3Dcleared%26mine%3D1"
    page = checked_page(client.get(answer.headers["location"], headers=BROWSER), "en")
    assert page.form("/sign-in").fields["next"] == "/?state=cleared&mine=1"


def test_database_that_is_away_is_told_with_a_page(
    app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseUnavailableError("The database cannot be used now.")

    monkeypatch.setattr(app.state.database, "write", away)
    answer = client.post("/sign-in", data={"key": "op_a_b"}, headers=BROWSER)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    checked_page(answer, "en")
