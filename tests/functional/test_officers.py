"""Whole journeys of supervisors, auditors and officers, and what happens when two get in each other's way."""

import itertools
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from service.auth.accounts import register_officer
from service.auth.service import Role
from service.months import BEIJING
from service.settings import Settings
from service.tables import now
from tests.conftest import unavailable
from tests.functional.browsing import (
    CHROMIUM,
    Colleague,
    LiveService,
    Watch,
    chromium,
    live_service,
    opened_window,
    settle,
)

pytestmark = pytest.mark.browser

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Path) -> Iterator[LiveService]:
    """A real server on the loopback address."""
    if not CHROMIUM.exists():
        unavailable("browser", f"there is no Chromium at {CHROMIUM}")
    data_dir = tmp_path_factory.mktemp("officers") / "var"
    settings = Settings(data_dir=data_dir, pack=str(synthetic_pack_dir), threads=1, log_level="warning")
    with live_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def browser(service: LiveService) -> Iterator[Browser]:
    """A real browser."""
    with chromium() as started:
        yield started


@pytest.fixture
def watch() -> Watch:
    """What the browsers do in one test."""
    return Watch()


def officer(service: LiveService, role: str = "officer") -> Colleague:
    return service.colleague(f"{role}-{next(numbers)}", role=role)


def transaction() -> str:
    return f"T-{next(numbers):04d}"


def conclude(page: Page, conclusion: str, *, reason: str) -> None:
    """Type an opinion on candidate 1 and send it; the same person must have evidence."""
    type_opinion(page, conclusion, reason=reason)
    page.locator("form.opinion .submit button.primary").click()


def type_opinion(page: Page, conclusion: str, *, reason: str) -> None:
    page.locator(f"#conclusion-1-{conclusion}").check()
    page.locator("#reason-1").fill(reason)
    if conclusion == "same_person":
        page.locator("#evidence-kind-1-1").select_option("document")
        page.locator("#evidence-reference-1-1").fill("1987/214")
        page.locator('input[name^="registration-"][value="C-1"]').check()


def state(page: Page, wanted: str) -> None:
    expect(page.locator(f".page-head .badge.state-{wanted}")).to_be_visible()


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_supervisor_settles_a_disagreement_answers_an_appeal_and_reopens(
    service: LiveService, browser: Browser, watch: Watch, language: str
) -> None:
    dismissed, disagreed = {"zh-CN": ("不予采纳", "意见不一致"), "en": ("dismissed", "disagreed")}[language]
    number = transaction()
    path = service.check(number)
    first, second = officer(service), officer(service)
    for who, opinion in ((first, "same_person"), (second, "different_person")):
        page = opened_window(browser, service, watch, who=who, language=language)
        page.goto(service.address + path)
        settle(page)
        conclude(page, opinion, reason=f"{number} {opinion}")
        expect(page.get_by_role("status").first).to_be_visible()
        settle(page)
    expect(page.locator("main")).to_contain_text(disagreed)
    expect(page.locator("form.opinion")).to_have_count(0)

    page = opened_window(browser, service, watch, who=officer(service, "supervisor"), language=language)
    page.goto(f"{service.address}/")
    page.locator('.counts a[href="/?escalated=1"]').click()
    page.get_by_role("link", name=number, exact=True).click()
    settle(page)
    for said in ("same_person", "different_person"):
        expect(page.locator(".timeline")).to_contain_text(f"{number} {said}")
    conclude(page, "different_person", reason="The fingerprints differ.")
    state(page, "cleared")
    assert service.status(number) == "cleared"

    page.locator("#appeals summary").click()
    page.locator("#appeal-appellant").fill("李秀英")
    page.locator("#appeal-appealed_on").fill(now().astimezone(BEIJING).date().isoformat())
    page.locator("#appeal-grounds").fill("两条登记都是我的。")
    page.locator("#appeal button").click()
    expect(page.locator("article.appeal")).to_contain_text("两条登记都是我的。")
    page.locator('article.appeal textarea[name="answer"]').fill("未提交证明材料。")
    page.locator("article.appeal button").click()
    expect(page.locator("article.appeal")).to_contain_text(dismissed, ignore_case=True)

    page.locator("#reopen").fill("A birth record was found.")
    page.locator('form[action$="/reopen"] button').click()
    state(page, "under_review")
    settle(page)
    assert service.status(number) == "under_review"
    watch.assert_clean(service.address)


def test_auditor_finds_who_looked_at_a_person_and_sees_neither_cases_nor_portraits(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    path = service.check(transaction())
    looker = officer(service)
    page = opened_window(browser, service, watch, who=looker)
    page.goto(service.address + path)
    settle(page)
    page.get_by_role("navigation", name="页面").get_by_role("link", name="通报").click()

    page = opened_window(browser, service, watch, who=officer(service, "auditor"))
    page.goto(f"{service.address}/")
    assert page.url == f"{service.address}/audit"
    expect(page.locator(".shell-nav a")).to_have_text(["月报统计", "审计日志"])
    page.locator("#person").fill("C-1")
    page.locator("form.filters button").click()
    expect(page.locator("h1")).to_contain_text("C-1")
    shown = page.locator("table.audit tbody tr", has_text=looker.actor.name)
    expect(shown.first).to_be_visible()
    shown.first.get_by_role("link").click()
    expect(page.locator(".message.good")).to_be_visible()
    assert page.locator("main img").count() == 0
    page.go_back()
    with page.expect_download() as download:
        page.locator("form.export button").click()
    with zipfile.ZipFile(download.value.path()) as packed:
        exported = next(name for name in packed.namelist() if name.endswith(".csv"))
        assert looker.actor.name in packed.read(exported).decode("utf-8-sig")
    watch.assert_clean(service.address)
    refused = page.request.get(service.address + path, headers={"accept": "text/html"})
    assert refused.status == 403


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_typed_opinion_is_kept_when_the_case_is_withdrawn_meanwhile(
    service: LiveService, browser: Browser, watch: Watch, script: bool
) -> None:
    number = transaction()
    path = service.check(number)
    page = opened_window(browser, service, watch, who=officer(service), script=script)
    page.goto(service.address + path)
    settle(page)
    type_opinion(page, "same_person", reason="My long and careful reason.")
    check = service.http.get("/v1/checks", params={"transaction_id": number}).json()["check_id"]
    service.http.post(f"/v1/checks/{check}/withdraw").raise_for_status()
    page.locator("form.opinion .submit button.primary").click()
    expect(page.get_by_role("alert")).to_contain_text("撤回")
    expect(page.locator(".unsent")).to_contain_text("My long and careful reason.")
    expect(page.locator(".unsent")).to_contain_text("1987/214")
    state(page, "withdrawn")
    settle(page)
    assert watch.faults == [] or all("409" in fault for fault in watch.faults)


def test_typed_opinion_is_kept_when_the_candidate_is_erased_meanwhile(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    service.put("C-2", {"level_code": "30", "name": "普秀兰", "portraits": [service.image(2, 0)]})
    service.put("S-2", {"level_code": "10", "name": "普小兰"})
    number = transaction()
    path = service.check(number, person=2, subject="S-2")
    page = opened_window(browser, service, watch, who=officer(service))
    page.goto(service.address + path)
    settle(page)
    page.locator("#conclusion-1-same_person").check()
    page.locator("#reason-1").fill("My long and careful reason.")
    page.locator("#evidence-kind-1-1").select_option("document")
    page.locator("#evidence-reference-1-1").fill("1987/214")
    page.locator('input[name^="registration-"][value="C-2"]').check()
    service.http.delete("/v1/persons/C-2").raise_for_status()
    page.locator("form.opinion .submit button.primary").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#reason-1")).to_have_value("My long and careful reason.")
    expect(page.locator("#evidence-reference-1-1")).to_have_value("1987/214")
    expect(page.locator("#candidate-1")).to_contain_text("注销或删除")
    assert service.status(number) == "under_review"


def test_draft_and_file_wait_for_their_officer_alone(
    service: LiveService, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    paper = tmp_path / "出生证明.pdf"
    paper.write_bytes(b"%PDF-1.4\n%%EOF\n")
    number = transaction()
    path = service.check(number)
    author = officer(service)
    page = opened_window(browser, service, watch, who=author)
    page.goto(service.address + path)
    settle(page)
    type_opinion(page, "same_person", reason="Half a reason")
    page.locator("#evidence-upload-1-1").set_input_files(paper)
    expect(page.locator("#draft-state")).to_have_text("草稿已保存。")
    expect(page.locator(".evidence-file").first).to_contain_text("出生证明.pdf")
    page.locator("#reason-1").fill("Half a reason, and more")
    page.get_by_role("button", name="保存草稿").click()
    expect(page.get_by_role("status").first).to_have_text("草稿已保存。")
    settle(page)

    other = opened_window(browser, service, watch, who=officer(service))
    other.goto(service.address + path)
    settle(other)
    expect(other.locator("#reason-1")).to_have_value("")
    assert "出生证明" not in other.content()

    page.goto(f"{service.address}/")
    page.get_by_role("link", name=number, exact=True).click()
    settle(page)
    expect(page.locator("#reason-1")).to_have_value("Half a reason, and more")
    page.locator("form.opinion .submit button.primary").click()
    state(page, "awaiting_second_officer")
    settle(page)
    watch.assert_clean(service.address)


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_officer_answers_a_notice_and_records_a_visit(
    service: LiveService, browser: Browser, watch: Watch, language: str
) -> None:
    names = {
        "zh-CN": ("通报", "存疑台账", "月报统计", "终止业务", "已回执"),
        "en": ("Notices", "Register", "Statistics", "Stop the transaction", "Acknowledged"),
    }
    notices, register, statistics, terminate, acknowledged = names[language]
    today = now().astimezone(BEIJING).date().isoformat()
    person, number = f"F-{next(numbers)}", transaction()
    flagged = {"level_code": "30", "name": "马丽", "division_code": "530102", "portraits": []}
    service.put(person, flagged)
    path = service.check(number)
    opinion = {
        "conclusions": [
            {
                "person_id": "C-1",
                "conclusion": "same_person",
                "reason": "x",
                "evidence": [{"kind": "visit", "reference": "1"}],
            }
        ],
        "registration_to_cancel": "C-1",
    }
    service.call(officer(service), f"/v1{path}/decisions", opinion)
    service.call(officer(service), f"/v1{path}/confirmation", opinion)

    page = opened_window(browser, service, watch, who=officer(service), language=language)
    page.goto(f"{service.address}/")
    page.locator(".shell-nav").get_by_role("link", name=notices).click()
    row = page.locator("table.notices tbody tr", has_text=number).filter(has_text=terminate)
    row.get_by_role("link").click()
    page.locator("#on").fill(today)
    page.locator("#note").fill("已终止")
    page.locator("form.acknowledge button").click()
    expect(page.locator(".page-head .badge")).to_have_text(acknowledged)
    page.locator(".shell-nav").get_by_role("link", name=register).click()
    page.locator(f'a[href="/register/{person}"]').click()
    for name, value in (
        ("visited_on", today),
        ("place", "东华街道"),
        ("visitors", "张敏"),
        ("found", "在家"),
    ):
        page.locator(f"#{name}").fill(value)
    page.locator("#visit-form button").click()
    expect(page.get_by_role("status")).to_be_visible()
    expect(page.locator("article.visit")).to_contain_text("东华街道")
    page.locator(".shell-nav").get_by_role("link", name=statistics).click()
    with page.expect_download() as download:
        page.locator('a[href*="format=xlsx"]').click()
    assert download.value.path().read_bytes().startswith(b"PK")
    watch.assert_clean(service.address)


def test_second_factor_is_set_up_at_the_first_sign_in_and_asked_for_at_the_next(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    settings = service.app.state.settings
    service.app.state.settings = settings.model_copy(update={"second_factor": "required"})
    try:
        _first_sign_in(service, browser, watch)
    finally:
        service.app.state.settings = settings
    watch.assert_clean(service.address)


def _first_sign_in(service: LiveService, browser: Browser, watch: Watch) -> None:
    with service.database.write() as session:
        code = register_officer(
            session, "newcomer", name="新人", role=Role.OFFICER, division_code="530100", hours=1
        )
    page = opened_window(browser, service, watch)
    page.goto(f"{service.address}/")
    page.locator('a[href="/sign-in/first"]').click()
    password = "three green horses walk home"
    for name, value in (("login", "newcomer"), ("code", code), ("new", password), ("again", password)):
        page.locator(f"#{name}").fill(value)
    page.locator("main button.primary").click()
    expect(page.locator("img.qr")).to_be_visible()
    assert page.locator("img.qr").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    secret = page.locator("code.secret").inner_text().replace(" ", "")
    page.locator("#code").fill(pyotp.TOTP(secret).now())
    page.locator("main button.primary").click()
    recovery = page.locator("ol.codes code").all_inner_texts()
    assert len(recovery) == 10
    page.locator("main a.primary").click()
    expect(page.locator("h1")).to_have_text("待办案件")
    page.locator('form[action="/sign-out"] button').click()
    page.wait_for_load_state("networkidle")  # What is on its way when one leaves a page has failed.

    for code in (pyotp.TOTP(secret).at(now() + timedelta(seconds=30)), recovery[0]):
        page.goto(f"{service.address}/sign-in?next=/account")
        page.locator("#login").fill("newcomer")
        page.locator("#password").fill(password)
        page.locator("main button.primary").click()
        page.locator("#code").fill(code)
        page.locator("main button.primary").click()
        page.wait_for_url(f"{service.address}/account")
        page.wait_for_load_state("networkidle")
        page.locator('form[action="/sign-out"] button').click()
        page.wait_for_url(f"{service.address}/sign-in")
