"""Every page in both languages: whole, translated, accessible and quiet; with and without a browser."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pyotp
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from service.auth.cookies import session_cookie_name
from service.auth.policy import POLICY
from service.language import LANGUAGES
from service.settings import Settings
from service.web.access import LANGUAGE_COOKIE
from tests.conftest import unavailable
from tests.functional.browsing import CHROMIUM, DESKTOP, Windows, chromium, live_service, settle
from tests.functional.tour import Tour, make_tour
from tests.functional.tour_stops import COVERED, NO_PAGES, STOPS, Stop
from tests.service.web.pages import BROWSER, check_page

pytestmark = pytest.mark.enable_socket

AXE = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
}
A4_ACROSS: ViewportSize = {"width": 1046, "height": 718}
"""CSS pixels of A4 landscape within margins of 10 mm, at 96 to the inch."""

GRAVE = frozenset({"serious", "critical"})


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Path) -> Iterator[Tour]:
    """A real server with one of everything."""
    data_dir = tmp_path_factory.mktemp("tour") / "var"
    settings = Settings(
        data_dir=data_dir,
        pack=str(synthetic_pack_dir),
        threads=1,
        log_level="warning",
        officer_requests_per_s=1000,
        address_requests_per_s=1000,
    )
    with live_service(settings) as running:
        yield make_tour(running)


@pytest.fixture(scope="module")
def windows(tour: Tour) -> Iterator[Windows]:
    """A real browser with a window for each officer."""
    if not CHROMIUM.exists():
        unavailable("browser", f"there is no Chromium at {CHROMIUM}")
    with chromium() as started:
        yield Windows(started, tour.service)


def test_every_address_is_a_stop_of_the_tour_or_says_why_not() -> None:
    read = {row for row in POLICY if row.startswith("GET ") and not row.startswith("GET /v1/")}
    assert read - COVERED == set(), "add them to STOPS, or to NO_PAGES with the reason"
    assert COVERED - read == set(), "no such address"
    assert {stop.row for stop in STOPS} & set(NO_PAGES) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_has_title_heading_labels_and_no_missing_word(tour: Tour, language: str) -> None:
    cookie = session_cookie_name(tour.service.app.state.settings)
    for stop in STOPS:
        cookies = {LANGUAGE_COOKIE: language}
        if stop.who:
            cookies[cookie] = tour.people[stop.who].token
        with httpx.Client(cookies=cookies, trust_env=False, timeout=30) as client:
            answer = client.get(stop.address(tour), headers=BROWSER)
        assert answer.status_code == stop.status, stop.name
        assert answer.headers["content-type"] == "text/html; charset=utf-8", stop.name
        assert answer.headers["content-language"] == language, stop.name
        assert answer.headers["cache-control"] == "no-store", stop.name
        assert "default-src 'self'" in answer.headers["content-security-policy"], stop.name
        check_page(answer.text, language, name=stop.name)


@pytest.mark.browser
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_accessible_and_quiet(tour: Tour, windows: Windows, language: str) -> None:
    told = [fault for stop in STOPS for fault in _faults_at(tour, windows, stop, language)]
    assert told == []


@pytest.mark.browser
@pytest.mark.parametrize("language", LANGUAGES)
def test_recovery_codes_which_are_shown_once_are_accessible(
    tour: Tour, windows: Windows, language: str
) -> None:
    login = f"codes-{language}"
    page, watch = windows.of(login, tour.people[login], language)
    page.goto(f"{tour.service.address}/account/second-factor")
    secret = page.locator("code.secret").inner_text().replace(" ", "")
    page.locator("#code").fill(pyotp.TOTP(secret).now())
    page.locator("#code").press("Enter")
    page.locator("ol.codes").wait_for()
    assert [*_axe(page), *_shape(page, language), *watch.faults] == []
    check_page(page.content(), language)


@pytest.mark.browser
@pytest.mark.parametrize("language", LANGUAGES)
def test_all_columns_of_the_month_are_on_the_printed_sheet(
    tour: Tour, windows: Windows, language: str
) -> None:
    page, _watch = windows.of("province", tour.people["province"], language)
    page.goto(f"{tour.service.address}/statistics")
    page.set_viewport_size(A4_ACROSS)
    page.emulate_media(media="print")
    widths = page.evaluate("[document.querySelector('.monthly').scrollWidth, document.body.clientWidth]")
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": DESKTOP["width"], "height": DESKTOP["height"]})
    assert widths[0] <= widths[1]


def _faults_at(tour: Tour, windows: Windows, stop: Stop, language: str) -> list[str]:
    """Go to a stop and return what is wrong with it."""
    page, watch = windows.of(stop.who, tour.people.get(stop.who), language)
    page.goto(stop.address(tour))
    if stop.act is not None:
        stop.act(page)
    settle(page)
    expected = {stop.status, *stop.faults} - {200}
    told = [fault for fault in watch.faults if not any(str(status) in fault for status in expected)]
    away = [url for url in watch.requests if not url.startswith(f"{tour.service.address}/")]
    return [f"{stop.name}: {fault}" for fault in (*_axe(page), *_shape(page, language), *told, *away)]


def _axe(page: Page) -> list[str]:
    found = Axe().run(page, options=AXE).response["violations"]
    return [
        f"{one['impact']} {one['id']} at {node['target']}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


def _shape(page: Page, language: str) -> list[str]:
    """Tell whether a page speaks its language and fits the window."""
    lang, whole, window = page.evaluate(
        "[document.documentElement.lang, document.documentElement.scrollWidth, innerWidth]"
    )
    faults = [] if lang == language else [f"is in {lang}"]
    return faults + ([] if whole <= window else [f"is {whole} pixels wide"])
