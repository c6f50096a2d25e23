"""Signing in and out: what a browser gets, what is stored, what is on record."""

from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from service.auth.failures import LIMIT
from service.auth.service import hash_secret
from service.database import Database
from service.tables import LocalAccount, Officer, PageSession, now
from tests.service.accounts import PASSWORD, add_local, choose, enter
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk
from tests.service.web.pages import BROWSER, checked_page, sign_in, submit, use_language

pytestmark = SQLITE_ONLY

COOKIE = "oneperson_session"


def sessions(database: Database) -> list[PageSession]:
    with database.read() as session:
        return list(session.scalars(select(PageSession)))


@pytest.fixture(autouse=True)
def _password_alone(app: FastAPI) -> None:
    """Ask for no second factor; it has tests of its own."""
    choose(app, second_factor="optional")


@pytest.mark.parametrize("language", ["zh-CN", "en"])
@pytest.mark.parametrize("address", ["/sign-in", "/sign-in/first", "/signed-out"])
def test_pages_for_signing_in_are_whole_in_both_languages(
    client: TestClient, address: str, language: str
) -> None:
    use_language(client, language)
    checked_page(client.get(address, headers=BROWSER), language)


def test_pages_are_chinese_unless_the_settings_or_the_browser_say_otherwise(
    app: FastAPI, client: TestClient
) -> None:
    app.state.settings = app.state.settings.model_copy(update={"language": "zh-CN"})
    answer = client.get("/sign-in", headers=BROWSER | {"accept-language": "en"})
    checked_page(answer, "zh-CN")


def test_officer_signs_in_and_only_the_hash_of_the_token_is_stored(
    client: TestClient, database: Database
) -> None:
    add_local(database)
    answer = enter(client, " zhang ", next="/?mine=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?mine=1")
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{COOKIE}="))
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=28800"))
    assert "Secure" not in cookie
    token = client.cookies[COOKIE]
    (stored,) = sessions(database)
    assert stored.token_hash == hash_secret(token)
    assert token not in (stored.token_hash, stored.csrf_token)
    assert len(token) >= 43, "256 bits"


def test_cookies_are_bound_to_the_host_when_the_pages_are_reached_by_https(
    app: FastAPI, client: TestClient, database: Database
) -> None:
    choose(app, public_url="https://oneperson.example")
    add_local(database)
    cookies = enter(client, "zhang").headers.get_list("set-cookie")
    assert {cookie.split("=")[0] for cookie in cookies} == {
        "__Host-oneperson_session",
        "__Host-oneperson_browser",
    }
    assert all("Secure" in cookie and "Domain" not in cookie for cookie in cookies)


def test_signing_in_and_out_is_on_record(desk: Desk) -> None:
    browser = desk.browser("zhang")
    assert submit(browser, desk.read(browser, "/"), "/sign-out").url.path == "/sign-in"
    assert [event.actor for event in desk.events("signed-in")] == ["zhang"]
    assert [event.actor for event in desk.events("signed-out")] == ["zhang"]
    assert browser.get("/", headers=BROWSER, follow_redirects=False).status_code == 303


def test_signed_out_token_is_worthless(desk: Desk) -> None:
    browser = desk.browser("zhang")
    token = browser.cookies[COOKIE]
    submit(browser, desk.read(browser, "/"), "/sign-out")
    assert sessions(desk.database) == []
    browser.cookies.set(COOKIE, token, domain="testserver.local", path="/")
    assert browser.get("/", headers=BROWSER, follow_redirects=False).status_code == 303


@pytest.mark.parametrize("flaw", ["unknown", "wrong", "empty", "disabled", "no password", "access key"])
def test_every_failed_sign_in_looks_alike_and_is_on_record(desk: Desk, database: Database, flaw: str) -> None:
    officer = add_local(database)
    with database.write() as session:
        if flaw == "disabled":
            session.get_one(Officer, officer.id).disabled_at = now()
        if flaw == "no password":
            session.get_one(LocalAccount, officer.id).password_hash = None
    sent = {"wrong": PASSWORD + "x", "empty": ""}.get(flaw, PASSWORD)
    if flaw == "access key":
        sent = desk.officer_key("wang")
    answer = enter(desk.client, "nobody" if flaw == "unknown" else "zhang", sent)
    page = checked_page(answer, "en")
    assert answer.status_code == 401
    assert "You could not be signed in" in page.text
    assert PASSWORD not in answer.text
    assert "set-cookie" not in answer.headers
    (event,) = desk.events("sign-in-failed")
    assert (event.result, event.details) == ("refused", {"address": "testclient"})
    assert event.subject == (None if flaw == "unknown" else "officer:zhang")
    assert sessions(database) == []


def test_address_that_fails_too_often_has_to_wait_but_not_a_browser_that_is_known(
    desk: Desk, database: Database
) -> None:
    add_local(database)
    known = TestClient(desk.app, raise_server_exceptions=False)
    assert enter(known, "zhang").status_code == 303
    known.cookies.delete(COOKIE)
    throttle = desk.app.state.sign_in_throttle
    for _ in range(LIMIT):
        throttle.note_failure("testclient")
    for _ in range(2):
        answer = enter(desk.client, "zhang")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
    checked_page(answer, "en")
    assert [event.result for event in desk.events("sign-in-failed")] == ["throttled"], "on record once"
    assert enter(known, "zhang").status_code == 303


def test_session_ends_by_itself_and_is_swept_by_the_next_sign_in(desk: Desk, database: Database) -> None:
    browser = desk.browser("zhang")
    with database.write() as session:
        session.scalars(select(PageSession)).one().expires_at = now() - timedelta(seconds=1)
    answer = browser.get("/?mine=1", headers=BROWSER, follow_redirects=False)
    assert answer.headers["location"] == "/sign-in?next=/%3Fmine%3D1"
    assert browser.get(answer.headers["location"], headers=BROWSER).status_code == 200
    sign_in(browser, desk.officer_key("wang"))
    assert len(sessions(database)) == 1


def test_disabled_account_is_out_at_once(desk: Desk, database: Database) -> None:
    browser = desk.browser("zhang")
    with database.write() as session:
        session.scalars(select(Officer).where(Officer.login == "zhang")).one().disabled_at = now()
    assert browser.get("/", headers=BROWSER, follow_redirects=False).status_code == 303


def test_signed_in_browser_is_not_asked_again(desk: Desk) -> None:
    answer = desk.browser("zhang").get("/sign-in?next=/%3Fmine%3D1", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?mine=1")


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "/\tx", "x", "", "/a\nb"]
)
def test_sign_in_never_sends_a_browser_elsewhere(client: TestClient, database: Database, wanted: str) -> None:
    add_local(database)
    answer = enter(client, "zhang", next=wanted)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_form_of_another_site_is_refused(
    client: TestClient, database: Database, sent: dict[str, str]
) -> None:
    add_local(database)
    answer = client.post("/sign-in", data={"login": "zhang", "password": PASSWORD}, headers=BROWSER | sent)
    assert answer.status_code == 403
    assert COOKIE not in client.cookies
    checked_page(answer, "en")


@pytest.mark.parametrize("sent", [{"origin": "http://testserver"}, {"sec-fetch-site": "same-origin"}])
def test_form_of_our_own_page_is_taken(client: TestClient, database: Database, sent: dict[str, str]) -> None:
    add_local(database)
    answer = client.post(
        "/sign-in", data={"login": "zhang", "password": PASSWORD}, headers=sent, follow_redirects=False
    )
    assert answer.status_code == 303


@pytest.mark.parametrize("token", ["", "x", "ungültig"])
def test_form_without_the_token_of_its_session_is_refused(desk: Desk, token: str) -> None:
    browser = desk.browser("zhang")
    answer = browser.post("/sign-out", data={"csrf": token}, headers=BROWSER)
    assert answer.status_code == 403
    checked_page(answer, "en")
    assert desk.read(browser, "/")


def test_token_of_another_session_is_refused(desk: Desk) -> None:
    one, other = desk.browser("zhang"), desk.browser("wang")
    token = desk.read(one, "/").form("/sign-out").fields["csrf"]
    assert other.post("/sign-out", data={"csrf": token}, headers=BROWSER).status_code == 403


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 400),
        (b"&".join(b"a%d=" % i for i in range(5000)), "application/x-www-form-urlencoded", 400),
        (b"key=" + b"x" * (4 * 2**20 + 1), "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form_of_ours_is_refused(
    client: TestClient, content: bytes, kind: str, status: int
) -> None:
    answer = client.post("/sign-in", content=content, headers=BROWSER | {"content-type": kind})
    assert answer.status_code == status
    checked_page(answer, "en")


def test_language_is_kept_in_a_cookie_and_nonsense_changes_nothing(client: TestClient) -> None:
    use_language(client, "zh-CN")
    checked_page(client.get("/sign-in", headers=BROWSER), "zh-CN")
    client.post("/language", data={"language": "tlh", "next": "/sign-in"})
    checked_page(client.get("/sign-in", headers=BROWSER), "zh-CN")
    client.cookies.set("oneperson_language", "../x", domain="testserver.local", path="/")
    assert client.get("/sign-in", headers=BROWSER).status_code == 200


@pytest.mark.parametrize(("role", "place"), [("operator", "/notices"), ("auditor", "/audit")])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_operators_and_auditors_begin_where_there_are_no_cases(
    desk: Desk, role: str, place: str, language: str
) -> None:
    browser = desk.browser("liu", role=role)
    use_language(browser, language)
    answer = browser.get("/", headers=BROWSER)
    assert answer.url.path == place
    assert checked_page(answer, language).has_form("/sign-out")
    case_id = desk.case()
    assert browser.get(f"/cases/{case_id}", headers=BROWSER).status_code == 403
    assert browser.get(f"/cases/{case_id}/portraits/probe").status_code == 403
    assert desk.events("portrait-viewed") == []
