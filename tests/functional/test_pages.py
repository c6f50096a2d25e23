"""Officers' whole journeys through the pages, in a real browser against a real server."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from service.settings import Settings
from tests.conftest import unavailable
from tests.functional.browsing import (
    CHROMIUM,
    DESKTOP,
    LiveService,
    Watch,
    chromium,
    enter,
    live_service,
    sign_in,
)

pytestmark = pytest.mark.browser

TABLET = {"width": 820, "height": 1180}
SMALL_TABLET = {"width": 768, "height": 1024}
numbers = itertools.count(1)

CONTRAST = """
() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const v = c / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [one, other] = [luminance(numbers(style.color)), luminance(behind(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) poor.push(`${contrast.toFixed(2)} ${element.textContent.trim().slice(0, 40)}`);
  }
  return poor;
}
"""
"""Texts whose contrast is below 4.5:1, computed as WCAG 2.2 defines it (success criterion 1.4.3)."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Path) -> Iterator[LiveService]:
    """A real server on the loopback address."""
    if not CHROMIUM.exists():
        unavailable("browser", f"there is no Chromium at {CHROMIUM}")
    data_dir = tmp_path_factory.mktemp("pages") / "var"
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
    """What the browser does in one test."""
    return Watch()


def opened(
    browser: Browser, watch: Watch, *, viewport: dict[str, int] | None = None, script: bool = True
) -> Page:
    """A window of a browser that has no cookies."""
    size = viewport or DESKTOP
    context = browser.new_context(
        viewport={"width": size["width"], "height": size["height"]}, java_script_enabled=script
    )
    context.set_default_timeout(20_000)
    watch.follow(context)
    return context.new_page()


def transaction() -> str:
    return f"T-{next(numbers):03d}"


def give_opinion(page: Page, *, reason: str) -> None:
    """Conclude that candidate 1 is the subject, with evidence, and that C-1 must go."""
    page.locator("#conclusion-1-same_person").check()
    page.locator("#reason-1").fill(reason)
    page.locator("#evidence-kind-1-1").select_option("document")
    page.locator("#evidence-reference-1-1").fill("1987/214")
    page.locator('input[name^="registration-"][value="C-1"]').check()
    page.locator("form.opinion button.primary").click()


@pytest.mark.parametrize(
    ("language", "script"),
    [("zh-CN", True), ("en", True), ("zh-CN", False)],
    ids=["zh-CN", "en", "no-script"],
)
def test_two_officers_confirm_a_duplicate(
    service: LiveService, browser: Browser, watch: Watch, language: str, script: bool
) -> None:
    words = {
        "zh-CN": ("待办案件", "待复核", "确认重户", "疑似同一人", "English"),
        "en": ("Open cases", "Awaiting second officer", "Duplicate confirmed", "Suspected", "中文"),
    }
    title, awaiting, confirmed, suspected, other_language = words[language]
    number = transaction()
    path = service.check(number)
    reason = f"Scar on the left hand {number}"
    first = opened(browser, watch, script=script)
    sign_in(first, service.address, service.officer(f"first-{number}"))
    if language == "en":
        first.get_by_role("button", name="English").click()
    expect(first.get_by_role("heading", level=1)).to_have_text(title)
    expect(first.get_by_role("button", name=other_language)).to_be_visible()
    first.get_by_role("link", name=number, exact=True).click()
    assert first.url == service.address + path
    expect(first.locator("main")).to_contain_text(suspected)
    first.locator('form[action$="/claim"] button').click()
    assert_portraits_are_drawn(first, script=script)
    give_opinion(first, reason=reason)
    expect(first.locator(".badge.state-awaiting_second_officer")).to_have_text(awaiting)
    expect(first.locator("form.opinion")).to_have_count(0)
    assert service.status(number) == "awaiting_second_officer"

    second = opened(browser, watch, script=script)
    sign_in(second, service.address, service.officer(f"second-{number}"))
    if language == "en":
        second.get_by_role("button", name="English").click()
    second.get_by_role("link", name=number, exact=True).click()
    assert reason not in second.content()
    give_opinion(second, reason="The mother and two neighbours confirm it.")
    expect(second.locator(".badge.state-duplicate_confirmed")).to_have_text(confirmed)
    expect(second.locator("#history ~ ol")).to_contain_text(reason)
    assert service.status(number) == "duplicate_confirmed"
    second.locator('form[action="/sign-out"] button').click()
    second.wait_for_url(f"{service.address}/sign-in")
    watch.assert_clean(service.address)


def assert_portraits_are_drawn(page: Page, *, script: bool) -> None:
    portraits = page.locator("figure.portrait img")
    expect(portraits).to_have_count(2)
    boxes = []
    for image in portraits.all():
        image.scroll_into_view_if_needed()
        boxes.append(image.bounding_box())
        if script:
            page.wait_for_function("image => image.complete", arg=image.element_handle())
            assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [480, 600]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    assert (boxes[0]["width"], boxes[0]["height"]) == (boxes[1]["width"], boxes[1]["height"])
    assert boxes[0]["width"] >= 200


def test_opinion_that_comes_too_late_is_told_and_kept(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    number = transaction()
    path = service.check(number)
    late, quick = opened(browser, watch), opened(browser, Watch())
    sign_in(late, service.address, service.officer(f"late-{number}"))
    sign_in(quick, service.address, service.officer(f"quick-{number}"))
    late.goto(service.address + path)
    quick.goto(service.address + path)
    give_opinion(quick, reason="First.")
    give_opinion(late, reason="My long and careful reason.")
    expect(late.get_by_role("alert")).to_contain_text("未记录")
    expect(late.locator("#reason-1")).to_have_value("My long and careful reason.")
    expect(late.locator("#conclusion-1-same_person")).to_be_checked()
    assert service.status(number) == "awaiting_second_officer"


@pytest.mark.parametrize("viewport", [DESKTOP, TABLET, SMALL_TABLET], ids=lambda size: str(size["width"]))
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_pages_fit_the_screen_and_every_text_can_be_read(
    service: LiveService, browser: Browser, watch: Watch, viewport: dict[str, int], language: str
) -> None:
    number = transaction()
    path = service.check(f"{number}-with-a-number-as-long-as-some-offices-make-them-0001")
    page = opened(browser, watch, viewport=viewport)
    page.context.add_cookies([{"name": "oneperson_language", "value": language, "url": service.address}])

    def judge(where: str) -> None:
        page.goto(service.address + where)
        assert page.evaluate("document.documentElement.lang") == language
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{where} must be scrolled sideways"
        tables = "tables => tables.every((one) => one.scrollWidth <= one.clientWidth)"
        assert page.locator(".scroll").evaluate_all(tables), f"tables of {where} must be scrolled sideways"
        assert page.evaluate(CONTRAST) == []

    judge("/sign-in")
    sign_in(page, service.address, service.officer(f"reader-{number}"))
    for where in ("/", "/?mine=1", path):
        judge(where)
    page.locator("form.opinion button.primary").click()
    assert page.evaluate(CONTRAST) == []


def test_keyboard_reaches_everything_and_shows_where_it_is(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    number = transaction()
    path = service.check(number)
    page = opened(browser, watch)
    page.goto(f"{service.address}{path}")
    account = service.officer(f"keys-{number}")
    page.locator("#login").focus()
    page.keyboard.type(account.login)
    page.keyboard.press("Tab")
    page.keyboard.type(account.password)
    page.keyboard.press("Enter")
    page.wait_for_url(service.address + path)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.id || document.activeElement.textContent.trim(),"
            " parseFloat(getComputedStyle(document.activeElement).outlineWidth)]"
        )
        reached.add(name)
        assert outline >= 2, f"{name} does not show that it has the focus"
        if name == "提交认定":
            break
        if name == "conclusion-1-same_person":
            page.keyboard.press("ArrowDown")
            assert page.locator("#conclusion-1-different_person").is_checked()
    assert {"认领", "reason-1", "evidence-kind-1-1", "evidence-reference-1-3", "提交认定"} <= reached
    page.locator("#reason-1").fill("Met both.")
    page.get_by_role("button", name="提交认定").press("Enter")
    expect(page.locator(".badge.state-cleared")).to_be_visible()
    watch.assert_clean(service.address)


def test_signed_out_browser_returns_to_the_page_that_it_wanted(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    path = service.check(transaction())
    page = opened(browser, watch)
    page.goto(service.address + path)
    assert page.url.startswith(f"{service.address}/sign-in?next=")
    enter(page, service.officer(f"return-{path[-8:]}"))
    page.wait_for_url(service.address + path)
    cookie = next(one for one in page.context.cookies() if one["name"] == "oneperson_session")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    watch.assert_clean(service.address)
