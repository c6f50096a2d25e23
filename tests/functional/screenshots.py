"""`make screenshots`: every page in both languages as pictures, from an installation made for it.

    python -m tests.functional.screenshots              to build/screenshots, for looking at
    python -m tests.functional.screenshots --guide      also those of docs/officers.md, faces pixelated

The portraits are the demo's, or synthetic ones where no model pack is installed.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route

from index.portrait import decode_portrait
from scripts.demo_pack import demo_pack
from scripts.demo_portraits import second_photograph
from scripts.demo_registry import build_registry
from scripts.demo_service import demo_settings
from scripts.failures import CommandError
from service.language import LANGUAGES
from service.logs import configure_logging
from service.settings import load_settings
from tests.functional.browsing import (
    DESKTOP,
    Portraits,
    Windows,
    chromium,
    live_service,
    settle,
)
from tests.functional.tour import Tour, make_tour
from tests.functional.tour_stops import STOPS, Stop
from tests.synthetic import make_synthetic_pack

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
PICTURES = ROOT / "docs" / "pictures"

TABLET = {"width": 820, "height": 1180}
ON_TABLET = ("case-open", "queue", "statistics")

GUIDE = {
    "queue": ("queue", "main"),
    "case": ("case", "main"),
    "decision": ("case-draft", ".opinion-fields"),
    "notice": ("notice-letter", "main"),
}
"""Pictures of the officers' guide: the page, and the part that is shown."""

BLOCKS = 8
"""Squares across a pixelated portrait: eight leave neither eyes nor mouth nor hair to be told apart."""

GUIDE_COLOURS = 64
TALLEST_PX = 1000
"""Of a picture in the guide."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description="Make pictures of every page in both languages.")
    parser.add_argument("--guide", action="store_true", help="also write the pictures of docs/officers.md")
    parser.add_argument("--pixelate", action="store_true", help="pixelate faces in all pictures")
    parser.add_argument("--only", default="", help="beginning of the names of the pages wanted")
    chosen = parser.parse_args(arguments)
    configure_logging("error", "text")
    wanted = [stop for stop in STOPS if stop.name.startswith(chosen.only)]
    with toured() as tour, chromium() as browser:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for language in LANGUAGES:
            _walk(browser, tour, wanted, language, hidden=chosen.pixelate)
        if chosen.guide:
            _guide(browser, tour)


@contextmanager
def toured() -> Iterator[Tour]:
    """An installation with one of everything, with the demo's portraits where a pack finds faces in them."""
    with tempfile.TemporaryDirectory(prefix="oneperson-screenshots-") as scratch:
        folder = Path(scratch)
        try:
            pack, portraits = demo_pack(load_settings(), folder / "packs"), demo_portraits
        except CommandError:
            pack, portraits = make_synthetic_pack(folder / "packs" / "synthetic"), None
        settings = demo_settings(folder / "var", pack=str(pack), address="http://127.0.0.1", threads=1)
        with live_service(settings, portraits=portraits) as service:
            yield make_tour(service)


def demo_portraits(app: FastAPI) -> Portraits:
    """Find the demo's photographs with the application's own detector."""
    detect = app.state.engine.pack.detector.detect
    *people, _again = build_registry(detect).registrations

    def portrait(person: int, shot: int) -> bytes:
        first = people[person - 1].portraits[0].image
        if shot == 0:
            return first
        pixels = decode_portrait(first).pixels
        return second_photograph(pixels, detect(pixels)[0], seed=100 * person + shot)

    return portrait


def _walk(browser: Browser, tour: Tour, stops: Sequence[Stop], language: str, *, hidden: bool) -> None:
    prepare = _pixelate if hidden else None
    for viewport, ending in ((DESKTOP, ""), (TABLET, "-tablet")):
        windows = Windows(browser, tour.service, viewport=viewport, prepare=prepare)
        for stop in stops:
            if ending and stop.name not in ON_TABLET:
                continue
            path = SCREENSHOTS / f"{stop.name}{ending}.{language}.png"
            _opened(windows, tour, stop, language).screenshot(path=path, full_page=True)
            print(path.relative_to(ROOT), flush=True)
        windows.close()


def _guide(browser: Browser, tour: Tour) -> None:
    """Write the pictures of the officers' guide, small and with pixelated faces."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    by_name = {stop.name: stop for stop in STOPS}
    windows = Windows(browser, tour.service, prepare=_pixelate)
    for language in LANGUAGES:
        for name, (stop, part) in GUIDE.items():
            shown = _opened(windows, tour, by_name[stop], language).locator(part).first.screenshot()
            path = PICTURES / f"{name}.{language}.png"
            _write_small(shown, path)
            print(path.relative_to(ROOT), path.stat().st_size, flush=True)
    windows.close()


def _opened(windows: Windows, tour: Tour, stop: Stop, language: str) -> Page:
    """Go to a stop, do what is done there, and wait for its pictures."""
    page, _watch = windows.of(stop.who, tour.people.get(stop.who), language)
    page.goto(stop.address(tour))
    if stop.act is not None:
        stop.act(page)
    settle(page)
    page.evaluate("scrollTo(0, 0)")
    return page


def _pixelate(context: BrowserContext) -> None:
    """Put squares in place of every portrait before the browser draws it."""

    def squares(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=pixelated(answer.body()), content_type="image/png")

    context.route("**/portraits/**", squares)


def pixelated(picture: bytes) -> bytes:
    """Reduce a picture to a few squares."""
    with Image.open(io.BytesIO(picture)) as opened:
        whole = opened.convert("RGB")
    height = round(BLOCKS * whole.height / whole.width)
    few = whole.resize((BLOCKS, height), Image.Resampling.BOX)
    file = io.BytesIO()
    few.resize(whole.size, Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def _write_small(picture: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(picture)) as opened:
        whole = opened.convert("RGB")
    shown = whole.crop((0, 0, whole.width, min(whole.height, TALLEST_PX)))
    shown.quantize(GUIDE_COLOURS, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)


if __name__ == "__main__":
    main()
