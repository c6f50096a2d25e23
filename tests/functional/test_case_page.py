"""Comparing portraits on the page of a case, in a real browser: zoom, blink, keys, first look, ID numbers."""

import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from service.settings import Settings
from tests.conftest import unavailable
from tests.functional.browsing import CHROMIUM, DESKTOP, LiveService, Watch, chromium, live_service, sign_in
from tests.service.calls import in_base64, portrait

pytestmark = pytest.mark.browser

NUMBER = "11010519491231002X"
names = itertools.count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Path) -> Iterator[LiveService]:
    """A real server whose candidate has three portraits and a number."""
    if not CHROMIUM.exists():
        unavailable("browser", f"there is no Chromium at {CHROMIUM}")
    data_dir = tmp_path_factory.mktemp("case-page") / "var"
    settings = Settings(data_dir=data_dir, pack=str(synthetic_pack_dir), threads=1, log_level="warning")
    with live_service(settings) as running:
        pictures = [
            {"image": in_base64(portrait(1, shot)), "taken_on": f"20{shot:02}-05-04"} for shot in (0, 3, 4)
        ]
        body = {"level_code": "30", "name": "李芳", "citizen_id_number": NUMBER, "portraits": pictures}
        running.http.put("/v1/persons/C-1", json=body).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser."""
    with chromium() as started:
        yield started


@pytest.fixture
def watch() -> Watch:
    """What the browser does in one test."""
    return Watch()


def context_of(browser: Browser, watch: Watch, *, script: bool = True, calm: bool = False) -> BrowserContext:
    context = browser.new_context(
        viewport={"width": DESKTOP["width"], "height": DESKTOP["height"]},
        java_script_enabled=script,
        reduced_motion="reduce" if calm else "no-preference",
    )
    context.set_default_timeout(20_000)
    watch.follow(context)
    return context


def opened_case(
    service: LiveService, context: BrowserContext, *, language: str = "zh-CN", path: str | None = None
) -> Page:
    """A window that shows a new case, signed in."""
    number = next(names)
    wanted = path or service.check(f"T-case-{number}")
    page = context.new_page()
    sign_in(page, service.address, service.officer(f"looker-{number}"))
    context.add_cookies([{"name": "oneperson_language", "value": language, "url": service.address}])
    page.goto(service.address + wanted)
    assert page.evaluate("document.documentElement.lang") == language
    page.wait_for_selector(".pair.is-live")
    return page


def settle(page: Page) -> None:
    """Let pictures come that are on their way, so that the page is judged whole."""
    shown = page.locator(".pair img, details[open] img")
    for image in shown.all():
        image.scroll_into_view_if_needed()
        deadline = time.monotonic() + 20
        while not image.evaluate("image => image.complete"):
            assert time.monotonic() < deadline, "a portrait does not come"
            page.wait_for_timeout(50)


def variables(page: Page) -> dict[str, float]:
    """How the pair is moved and toned."""
    wanted = ["zoom", "x", "y", "brightness", "grey"]
    found = page.locator(".pair").evaluate(
        "(pair, names) => names.map((name) => getComputedStyle(pair).getPropertyValue(`--${name}`))", wanted
    )
    return {name: float(value) for name, value in zip(wanted, found, strict=True)}


def transforms(page: Page) -> list[str]:
    shown = "images => images.map((image) => getComputedStyle(image).transform)"
    return list(page.locator(".pair .frame img").evaluate_all(shown))


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_portraits_are_zoomed_moved_and_toned_together(
    service: LiveService, browser: Browser, watch: Watch, language: str
) -> None:
    page = opened_case(service, context_of(browser, watch), language=language)
    frame = page.locator(".frame").nth(1)
    frame.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # The wheel zooms once the page has stopped scrolling.
    box = frame.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.wheel(0, -100)
    expect(page.locator("output.zoom")).to_have_text("115%")
    zoomed = variables(page)
    assert zoomed["zoom"] > 1
    assert zoomed["x"] > 0, "what lies under the pointer stays there"
    page.get_by_role("button", name={"zh-CN": "放大", "en": "Zoom in"}[language], exact=True).click()
    expect(page.locator("output.zoom")).to_have_text("144%")
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 100, steps=3)
    page.mouse.up()
    assert variables(page)["x"] < zoomed["x"] * 2
    one, other = transforms(page)
    assert one == other != "none"
    page.locator("[data-slider=brightness]").fill("150")
    page.locator("[data-slider=grey]").fill("100")
    assert variables(page)["brightness"] == 1.5
    assert "grayscale(1)" in page.locator(".frame img").first.evaluate("one => getComputedStyle(one).filter")
    page.locator("[data-do=reset]").click()
    assert variables(page) == {"zoom": 1, "x": 0, "y": 0, "brightness": 1, "grey": 0}
    watch.assert_clean(service.address)


def test_blinking_shows_both_in_one_place_by_turns(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    page = opened_case(service, context_of(browser, watch))
    page.keyboard.press("b")
    boxes = [frame.bounding_box() for frame in page.locator(".frame").all()]
    assert boxes[0] == boxes[1]
    pair = page.locator(".pair")
    expect(pair).to_have_class(re.compile("is-second"))
    expect(pair).not_to_have_class(re.compile("is-second"))
    page.locator("[data-do=pause]").click()
    page.keyboard.press("x")
    expect(page.locator(".frame").nth(1)).to_have_css("visibility", "visible")
    page.keyboard.press("o")
    expect(page.locator(".frame").nth(1)).to_have_css("opacity", "0.5")
    page.keyboard.press("s")
    expect(page.locator("[data-mode=side][aria-pressed=true]")).to_have_count(1)
    watch.assert_clean(service.address)


def test_nothing_blinks_by_itself_for_who_wants_less_motion(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    page = opened_case(service, context_of(browser, watch, calm=True))
    page.keyboard.press("b")
    page.wait_for_timeout(1200)
    expect(page.locator(".pair")).not_to_have_class(re.compile("is-second"))
    page.keyboard.press("x")
    expect(page.locator(".pair")).to_have_class(re.compile("is-second"))


def test_keys_work_are_listed_and_can_be_switched_off(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    page = opened_case(service, context_of(browser, watch))
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("快捷键")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("+")
    expect(page.locator("output.zoom")).to_have_text("125%")
    page.keyboard.press("ArrowRight")
    assert variables(page)["x"] == -8
    page.keyboard.press("0")
    page.keyboard.press("d")
    assert page.evaluate("document.activeElement.name") == "conclusion-1"
    page.locator("#reason-1").focus()
    page.keyboard.type("b+?")
    expect(page.locator("#reason-1")).to_have_value("b+?")
    expect(dialog).to_be_hidden()
    page.locator("#help-open").click()
    page.locator("#keys-on").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.wait_for_selector(".pair.is-live")
    page.keyboard.press("b")
    expect(page.locator(".pair")).to_have_attribute("data-mode", "side")
    watch.assert_clean(service.address)


def test_a_whole_case_is_worked_on_by_keys(service: LiveService, browser: Browser, watch: Watch) -> None:
    page = opened_case(service, context_of(browser, watch))
    case = page.url
    settle(page)
    for key, focused in (("i", "open"), ("2", "conclusion-1"), ("m", "")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.name") == focused
    expect(page.locator("#conclusion-1-different_person")).to_be_checked()
    page.keyboard.press("Shift+O")  # As under Caps Lock.
    page.keyboard.press(">")
    expect(page.locator("[data-slider=mix]")).to_have_value("60")
    page.keyboard.press(".")
    expect(page.locator("[data-slider=contrast]")).to_have_value("110")
    page.keyboard.press("+")
    page.keyboard.press("ArrowDown")
    assert page.locator(".pair").evaluate("one => one.style.getPropertyValue('--y')") == "-8"
    page.keyboard.press("c")
    page.wait_for_url(f"{case}?done=claimed")
    expect(page.locator("#conclusion-1-different_person")).to_be_checked()
    page.locator("#reason-1").fill("Typed at the last moment")
    page.locator("#reason-1").blur()
    page.keyboard.press("u")
    page.wait_for_url(f"{case}?done=released")
    expect(page.locator("#reason-1")).to_have_value("Typed at the last moment")
    settle(page)
    watch.assert_clean(service.address)


def test_queue_is_worked_on_by_keys_and_found_again(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    page = opened_case(service, context_of(browser, watch), path=service.check("T-of-the-queue"))
    settle(page)
    page.goto(f"{service.address}/?kind=transaction&overdue=")
    page.keyboard.press("f")
    assert page.evaluate("document.activeElement.id") == "state"
    page.locator("#state").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    chosen = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("c")
    page.wait_for_url(f"{service.address}{chosen}?done=claimed")
    page.wait_for_selector(".pair.is-live")
    settle(page)
    page.keyboard.press("q")
    page.wait_for_url(f"{service.address}/?kind=transaction*")
    page.keyboard.press("n")
    page.wait_for_url(f"{service.address}/cases/*")
    settle(page)
    watch.assert_clean(service.address)


def test_queue_says_when_the_session_has_ended(service: LiveService, browser: Browser, watch: Watch) -> None:
    context = context_of(browser, watch)
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } });"
    )
    page = opened_case(service, context)
    settle(page)
    page.goto(f"{service.address}/")
    context.clear_cookies(name="oneperson_session")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#live-state")).to_have_text("登录已结束，请重新登录。")
    expect(page.locator("#live")).not_to_be_checked()
    watch.assert_clean(service.address)


def test_paper_shows_both_portraits_as_they_are(service: LiveService, browser: Browser, watch: Watch) -> None:
    page = opened_case(service, context_of(browser, watch, calm=True))
    settle(page)
    for key in ("b", "+", "]", "g"):
        page.keyboard.press(key)
    changed = variables(page)
    assert min(changed["zoom"], changed["brightness"]) > 1
    page.emulate_media(media="print")
    left, right = (one.bounding_box() for one in page.locator(".frame").all())
    assert left is not None
    assert right is not None
    assert (left["y"], left["width"]) == (right["y"], right["width"])
    assert left["x"] + left["width"] <= right["x"]
    expect(page.locator(".frame").nth(1)).to_be_visible()
    assert variables(page) == {"zoom": 1, "x": 0, "y": 0, "brightness": 1, "grey": 0}
    watch.assert_clean(service.address)


def test_another_portrait_of_the_candidate_is_put_into_the_comparison(
    service: LiveService, browser: Browser, watch: Watch
) -> None:
    page = opened_case(service, context_of(browser, watch))
    shown = page.locator(".pair img").nth(1)
    first = shown.get_attribute("src")
    page.locator(".references summary").click()
    settle(page)
    page.locator("[data-choose]").nth(1).click()
    chosen = page.locator("[data-choose]").nth(1).get_attribute("data-choose")
    assert shown.get_attribute("src") == chosen != first
    expect(page.locator("[data-choose][aria-pressed=true]")).to_have_count(1)
    settle(page)
    page.keyboard.press("v")
    assert shown.get_attribute("src") == f"{chosen}?view=original"
    page.wait_for_function("() => document.querySelectorAll('.pair img')[1].naturalWidth === 358")
    settle(page)
    page.keyboard.press("v")
    settle(page)
    page.keyboard.press("r")
    assert shown.get_attribute("src") not in (first, chosen)
    settle(page)
    watch.assert_clean(service.address)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_opened_number_leaves_what_was_typed(
    service: LiveService, browser: Browser, watch: Watch, script: bool
) -> None:
    context = context_of(browser, watch, script=script)
    page = context.new_page()
    number = next(names)
    path = service.check(f"T-case-{number}")
    sign_in(page, service.address, service.officer(f"opener-{number}"))
    page.goto(service.address + path)
    settle(page)
    page.locator("#reason-1").fill("Half a reason")
    expect(page.locator("main")).not_to_contain_text(NUMBER)
    page.locator("button[name=open]").click()
    expect(page.locator("table.registrations")).to_contain_text(NUMBER)
    expect(page.locator("#reason-1")).to_have_value("Half a reason")
    if script:
        assert page.url == service.address + path
        expect(page.locator("#live")).to_contain_text("审计日志")
    settle(page)
    page.goto(service.address + path)
    expect(page.locator("main")).not_to_contain_text(NUMBER)
    watch.assert_clean(service.address)


def test_first_look_comes_before_the_figures(service: LiveService, browser: Browser, watch: Watch) -> None:
    settings = service.app.state.settings
    service.app.state.settings = settings.model_copy(update={"blind_first_look": True})
    try:
        page = opened_case(service, context_of(browser, watch))
        expect(page.locator("svg.bar")).to_have_count(0)
        expect(page.locator("form.opinion")).to_have_count(0)
        expect(page.locator("#candidate-A")).to_be_visible()
        page.keyboard.press("b")
        expect(page.locator(".pair")).to_have_attribute("data-mode", "blink")
        settle(page)
        page.locator('form[action$="/look"] button').click()
        expect(page.locator("svg.bar")).to_have_count(1)
        expect(page.locator("#conclusion-1-same_person")).to_be_visible()
    finally:
        service.app.state.settings = settings
    watch.assert_clean(service.address)
