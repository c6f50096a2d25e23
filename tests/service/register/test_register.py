"""The register: who is seen by whom, visits that only grow, files in which no name is a formula."""

import io
from datetime import timedelta

import openpyxl
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import update

from service.database import Database
from service.register import repository
from service.register.flags import FlagBook, Standing
from service.register.service import today
from service.tables import Case, RegisterEntry, Visit
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk, desk  # noqa: F401 - a fixture
from tests.service.web.pages import BROWSER, Page, checked_page, use_language

NUMBER = "11010519491231002X"


def entry(database: Database, person_id: str) -> RegisterEntry:
    with database.read() as session:
        found = repository.entry_of(session, person_id)
        assert found is not None
        return found


def events(database: Database, person_id: str) -> list[tuple[str, str]]:
    with database.read() as session:
        return [(event.kind, event.region) for event in repository.events_of(session, person_id)]


def put(desk: Desk, person_id: str, **fields: object) -> None:  # noqa: F811
    body = {"level_code": "30", "division_code": "530102", "name": "李芳"} | fields
    answer = desk.client.put(f"/v1/persons/{person_id}", json=body, headers=desk.headers)
    assert answer.is_success, answer.text


def send_visit(browser: TestClient, page: Page, **typed: str) -> Response:
    form = next(form for form in page.forms if form.action.endswith("/visits"))
    day = {"visited_on": str(today()), "place": "村委会", "visitors": "王警官", "found": "本人在家"}
    return browser.post(form.action, data=form.fields | day | typed, headers=BROWSER)


def test_every_change_of_a_flag_is_on_record_with_the_registration(desk: Desk) -> None:  # noqa: F811
    put(desk, "P-1", category="11")
    put(desk, "P-1", category="11", name="李方")
    put(desk, "P-1", category="11", division_code="530102003")
    put(desk, "P-1", category="11", division_code="530302")
    put(desk, "P-1", category="11", division_code="530302", level_code="10")
    put(desk, "P-1", category="11", division_code="530302")
    assert desk.client.delete("/v1/persons/P-1", headers=desk.headers).status_code == 204
    assert events(desk.database, "P-1") == [
        ("registered", "530102"),
        ("flagged", "530102"),
        ("moved_out", "530102"),
        ("moved_in", "530302"),
        ("established", "530302"),
        ("flagged", "530302"),
        ("cancelled", "530302"),
    ]
    assert entry(desk.database, "P-1").left_as == "cancelled"


@SQLITE_ONLY
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_list_and_file_show_what_is_recorded_and_no_portrait(desk: Desk, language: str) -> None:  # noqa: F811
    desk.registrations()
    desk.case()
    put(desk, "P-1", citizen_id_number=NUMBER, category="11")
    put(desk, "P-2", division_code="530302")
    browser = desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get("/register", headers=BROWSER), language)
    listed = [a.attributes["href"] for a in page.all("a") if a.attributes["href"].startswith("/register/")]
    assert listed == ["/register/P-1"], "C-1 and P-2 belong to another division"
    shown = checked_page(browser.get("/register/P-1", headers=BROWSER), language)
    assert NUMBER not in shown.text
    assert shown.all("img")[1:] == []
    opened = browser.post("/register/P-1/number", data=shown.form("/number").fields, headers=BROWSER)
    assert NUMBER in checked_page(opened, language).text
    assert [e.subject for e in desk.events("id-number-opened")] == ["person:P-1"]
    assert browser.get("/register/P-2", headers=BROWSER).status_code == 404
    assert len(desk.events("register-viewed")) == 1
    for address in ("/register?state=open_case", "/register?overdue=1", "/register?division=5303"):
        assert checked_page(browser.get(address, headers=BROWSER), language)


@SQLITE_ONLY
def test_open_cases_are_found_for_candidates_too(desk: Desk) -> None:  # noqa: F811
    desk.registrations()
    desk.case()
    browser = desk.browser("wang", division_code="530300")
    assert "/register/C-1" in desk_links(desk.read(browser, "/register?state=open_case"))
    assert "/register/C-1" not in desk_links(desk.read(browser, "/register?state=duplicate_confirmed"))


@SQLITE_ONLY
def test_a_state_lists_nobody_whom_the_page_shows_in_another(desk: Desk) -> None:  # noqa: F811
    desk.registrations()
    case_id = desk.case()
    put(desk, "P-1", division_code="530302")
    browser = desk.browser("wang", division_code="530300")

    def persons(state: str) -> list[str]:
        links = desk_links(desk.read(browser, f"/register?state={state}"))
        return [link for link in links if link.startswith("/register/")]

    assert (persons("flagged"), persons("open_case")) == (["/register/P-1"], ["/register/C-1"])
    with desk.database.write() as session:
        session.get_one(Case, case_id).state = "duplicate_confirmed"
    desk.case("T-2")
    assert persons("duplicate_confirmed") == ["/register/C-1"]
    assert (persons("flagged"), persons("open_case")) == (["/register/P-1"], [])


@SQLITE_ONLY
def test_cases_of_other_divisions_are_told_and_not_linked(desk: Desk) -> None:  # noqa: F811
    desk.registrations()
    address = f"/cases/{desk.case()}"
    with desk.database.write() as session:
        session.execute(update(Case).values(division_code="530102"))
    there = desk.read(desk.browser("wang", division_code="530300"), "/register/C-1")
    assert address not in desk_links(there)
    assert "530102" in there.text
    assert address in desk_links(desk.read(desk.browser("zhao", division_code="530000"), "/register/C-1"))


@SQLITE_ONLY
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_a_person_is_found_by_key_number_or_name_in_the_own_division(
    desk: Desk,  # noqa: F811
    language: str,
) -> None:
    put(desk, "P-1", citizen_id_number=NUMBER, name="刀明")
    put(desk, "P-2", division_code="530302", name="刀明")
    put(desk, "P-3", name="刀小明")
    put(desk, "P-3", name="刀小明", level_code="10")
    browser = desk.browser("zhang")
    use_language(browser, language)

    def found(sought: str) -> list[str]:
        form = checked_page(browser.get("/register", headers=BROWSER), language).form("/register")
        answer = browser.post(form.action, data=form.fields | {"sought": sought}, headers=BROWSER)
        links = desk_links(checked_page(answer, language))
        return [link for link in links if link.startswith("/register/")]

    for sought in ("P-1", NUMBER.lower(), " 刀明 "):
        assert found(sought) == ["/register/P-1"], sought
    assert found("刀") == ["/register/P-1", "/register/P-3"], "also who is no longer flagged"
    assert found("P-2") == found("%") == found("P") == []
    seen = desk.events("register-viewed")
    assert [e.subject for e in seen if e.details.get("sought")][:3] == ["person:P-1"] * 3
    assert not [e for e in seen if "刀" in str(e.details) or NUMBER in str(e.details)]


def desk_links(page: Page) -> list[str]:
    return [a.attributes["href"] for a in page.all("a")]


@SQLITE_ONLY
def test_visits_only_grow_and_a_correction_names_its_reason(desk: Desk) -> None:  # noqa: F811
    put(desk, "P-1")
    browser = desk.browser("zhang")
    page = desk.read(browser, "/register/P-1")
    due = today() + timedelta(days=30)
    assert send_visit(browser, page, next_visit_on=str(due)).status_code == 200
    assert entry(desk.database, "P-1").next_visit_on == due
    refused = send_visit(browser, page, visited_on=str(due), found="未见本人")
    assert refused.status_code == 422
    assert "未见本人" in checked_page(refused, "en").by_id("found").text
    with desk.database.read() as session:
        (first,) = session.query(Visit).all()
    correcting = desk.read(browser, f"/register/P-1?correct={first.id}")
    assert send_visit(browser, correcting).status_code == 422, "a correction needs its reason"
    past = str(today() - timedelta(days=40))
    late = str(today() - timedelta(days=1))
    corrected = send_visit(browser, correcting, visited_on=past, next_visit_on=late, reason="日期填错")
    assert corrected.status_code == 200
    assert send_visit(browser, correcting, reason="again").status_code == 409
    with desk.database.read() as session:
        visits = session.query(Visit).order_by(Visit.id).all()
    assert [(v.corrects_id, str(v.visited_on)) for v in visits] == [(None, str(today())), (first.id, past)]
    assert "Visit overdue" in desk.read(browser, "/register?overdue=1").text
    assert len(desk.events("visit-recorded")) == 2


@SQLITE_ONLY
def test_a_name_that_begins_like_a_formula_stays_a_name_in_the_workbook(desk: Desk) -> None:  # noqa: F811
    put(desk, "P-1", name='=HYPERLINK("http://x","y")', citizen_id_number=NUMBER, birth_date="1980-02-29")
    put(desk, "P-2", division_code="530302")
    browser = desk.browser("zhang")
    form = desk.read(browser, "/register").form("/export")
    answer = browser.post(form.action, data=form.fields, headers=BROWSER)
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    assert sheet is not None
    rows = list(sheet.iter_rows())
    assert [row[0].value for row in rows] == ["Registration", "P-1"]
    assert (rows[1][1].value, rows[1][1].data_type) == ('=HYPERLINK("http://x","y")', "s")
    assert NUMBER not in [cell.value for cell in rows[1]]
    assert (rows[1][3].is_date, str(rows[1][3].value)[:10]) == (True, "1980-02-29")
    assert str(rows[1][9].value)[:10] == str(today())
    assert (rows[1][10].value, rows[1][11].value) == (None, 0), "what is not known is empty, a number is one"
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("B2", "A1:R2")
    assert [e.details["lines"] for e in desk.events("register-exported")] == [1]
    assert not list((desk.app.state.settings.data_dir / "exports").iterdir())


@SQLITE_ONLY
def test_pages_of_the_register_follow_one_another(desk: Desk) -> None:  # noqa: F811
    with desk.database.write() as session:
        book = FlagBook()
        for number in range(120):
            book.note(f"P-{number:03d}", None, Standing(True, f"5301{number % 3 + 10}", None))
        book.record(session)
    browser, address, seen = desk.browser("zhang"), "/register", list[str]()
    while address:
        page = desk.read(browser, address)
        links = desk_links(page)
        seen += [link for link in links if link.startswith("/register/P")]
        address = next((link for link in links if "after=" in link), "")
    assert len(seen) == len(set(seen)) == 120


@SQLITE_ONLY
@pytest.mark.parametrize(("role", "status"), [("operator", 403), ("auditor", 403), ("supervisor", 200)])
def test_operators_and_auditors_do_not_see_the_register(desk: Desk, role: str, status: int) -> None:  # noqa: F811
    put(desk, "P-1")
    browser = desk.browser("someone", role=role)
    assert browser.get("/register", headers=BROWSER).status_code == status
    assert browser.get("/register/P-1", headers=BROWSER).status_code == status
    assert browser.get("/statistics", headers=BROWSER).status_code == 200


@SQLITE_ONLY
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_the_page_of_the_months_closes_restates_and_charts(desk: Desk, language: str) -> None:  # noqa: F811
    from tests.service.statistics.test_months import LAST, flag

    flag(desk.database, "P-1", "530102", LAST)
    browser = desk.browser("chief", role="supervisor", division_code="530000")
    use_language(browser, language)
    page = checked_page(browser.get(f"/statistics?month={LAST}", headers=BROWSER), language)
    for reason in ({}, {"reason": "迟报"}):
        form = page.form("/statistics/close").fields | reason
        page = checked_page(browser.post("/statistics/close", data=form, headers=BROWSER), language)
    assert (
        len(
            [
                a
                for a in page.all("a")
                if "version=" in a.attributes["href"] and "file" not in a.attributes["href"]
            ]
        )
        == 3
    )
    assert len(page.all("svg")) == len(page.all("desc")) == 5
    assert (
        browser.get(f"/statistics/file?month={LAST}&format=xlsx").headers["content-type"].endswith(".sheet")
    )
    for wrong in ("version=x", "version=99", "month=2026-13", "month=2999-01"):
        asked = wrong if "month" in wrong else f"month={LAST}&{wrong}"
        refused = browser.get(f"/statistics?{asked}", headers=BROWSER)
        assert refused.status_code == (404 if "99" in wrong else 422), wrong
        checked_page(refused, language)
    officer = desk.browser("zhang")
    assert not checked_page(officer.get("/statistics", headers=BROWSER), "en").has_form("/statistics/close")
