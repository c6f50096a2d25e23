"""Two officers' journey with the demo's real photographs, found by a real model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from service.settings import Settings
from tests.conftest import unavailable
from tests.functional.browsing import (
    CHROMIUM,
    LiveService,
    Watch,
    chromium,
    live_service,
    opened_window,
    settle,
)
from tests.functional.screenshots import demo_portraits

pytestmark = [pytest.mark.faces, pytest.mark.browser, pytest.mark.enable_socket]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, dev_pack_dir: Path) -> Iterator[LiveService]:
    """A real server with a real pack and the demo's photographs."""
    if not CHROMIUM.exists():
        unavailable("browser", f"there is no Chromium at {CHROMIUM}")
    data_dir = tmp_path_factory.mktemp("real") / "var"
    settings = Settings(data_dir=data_dir, pack=str(dev_pack_dir), threads=1, log_level="warning")
    with live_service(settings, portraits=demo_portraits) as running:
        for person in (2, 4, 6):
            running.put(f"C-{person}", {"level_code": "30", "portraits": [running.image(person, 0)]})
        yield running


@pytest.fixture(scope="module")
def browser(service: LiveService) -> Iterator[Browser]:
    """A real browser."""
    with chromium() as started:
        yield started


def test_two_officers_confirm_what_real_portraits_suggest(service: LiveService, browser: Browser) -> None:
    watch = Watch()
    path = service.check("T-real")
    for login, wanted in (("first", "awaiting_second_officer"), ("second", "duplicate_confirmed")):
        page = opened_window(browser, service, watch, who=service.colleague(login))
        page.goto(f"{service.address}/")
        page.get_by_role("link", name="T-real").click()
        assert page.url == service.address + path
        settle(page)
        expect(page.locator("section.candidate .id").first).to_have_text("C-1")
        assert _colours(page) > 1000, "a photograph has many colours"
        page.locator("#conclusion-1-same_person").check()
        page.locator("#reason-1").fill("The scar on the left hand.")
        page.locator("#evidence-kind-1-1").select_option("visit")
        page.locator("#evidence-reference-1-1").fill("2026-17")
        page.locator('input[name^="registration-"][value="C-1"]').check()
        page.locator("form.opinion .submit button.primary").click()
        expect(page.locator(f".page-head .badge.state-{wanted}")).to_be_visible()
        settle(page)
    assert service.status("T-real") == "duplicate_confirmed"
    page.get_by_role("link", name="通报").click()
    expect(page.locator("table.notices tbody tr")).to_have_count(2)
    page.get_by_role("row", name="注销函").get_by_role("link").click()
    address = page.locator('a[href$="/letter.pdf"]').get_attribute("href")
    letter = page.request.get(f"{service.address}{address}")
    assert letter.body().startswith(b"%PDF-")
    watch.assert_clean(service.address)


def _colours(page: Page) -> int:
    """Count the colours of the candidate's portrait as the browser draws it."""
    counted: int = (
        page.locator(".pair img")
        .nth(1)
        .evaluate(
            """image => {
          const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext("2d");
          canvas.drawImage(image, 0, 0);
          const { data } = canvas.getImageData(0, 0, image.naturalWidth, image.naturalHeight);
          return new Set(new Uint32Array(data.buffer)).size;
        }"""
        )
    )
    return counted
