"""Every page of the application: where it is, and whose browser sees it.

A new page needs an entry in `STOPS`, or in `NO_PAGES` with the reason why nobody looks at it;
`test_every_page.py` fails for an address of `service.auth.policy` that is in neither.
"""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page

from tests.functional.tour import Tour

Act = Callable[[Page], None]


@dataclass(frozen=True, slots=True)
class Stop:
    """One page in one state.

    Attributes:
        name: Of its picture.
        row: Its address as `service.auth.policy` writes it.
        who: Whose browser, by the tour's name; empty for nobody's.
        path: Where, or the tour's name of it.
        act: What is done on the page before it is looked at.
        status: With which it is answered at first.
        faults: Statuses of answers that `act` brings about.
    """

    name: str
    row: str
    who: str = ""
    path: str = ""
    act: Act | None = None
    status: int = 200
    faults: tuple[int, ...] = ()

    def address(self, tour: Tour) -> str:
        """Where it is in an installation."""
        return tour.service.address + tour.paths.get(self.path, self.path)


QUEUE, CASE = "GET /", "GET /cases/{case_id:uuid}"
NOTICE, PERSON, EVENT = (
    "GET /notices/{notice_id:uuid}",
    "GET /register/{person_id}",
    "GET /audit/events/{number:int}",
)


def _send_blank(page: Page) -> None:
    """Send an opinion in which nothing was typed."""
    page.locator("form.opinion .submit button.primary").click()
    page.get_by_role("alert").wait_for()


def _show_keys(page: Page) -> None:
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()


def _blink(page: Page) -> None:
    page.wait_for_selector(".pair.is-live")
    page.locator("[data-mode=blink]").first.click()
    page.locator("[data-do=pause]").click()


def _open_number(page: Page) -> None:
    page.locator("button[name=open]").first.click()
    page.get_by_text("19890412").first.wait_for()


def _open_all(page: Page) -> None:
    """Open everything that is folded up."""
    page.evaluate("document.querySelectorAll('main details').forEach((one) => { one.open = true; })")


def _refused_sign_in(page: Page) -> None:
    page.locator("#login").fill("zhang")
    page.locator("#password").fill("not the password")
    page.locator("main button.primary").click()
    page.get_by_role("alert").wait_for()


def _blank_visit(page: Page) -> None:
    page.locator("#visited_on").fill("2099-01-01")
    for name in ("place", "visitors", "found"):
        page.locator(f"#{name}").fill("x")
    page.locator("#visit-form button").last.click()
    page.get_by_role("alert").wait_for()


def _find(page: Page) -> None:
    page.locator("#sought").fill("刀")
    page.locator("#sought").press("Enter")
    page.get_by_text("S-6", exact=True).wait_for()


def _find_nobody(page: Page) -> None:
    page.locator("#sought").fill("P-0")
    page.locator("#sought").press("Enter")
    page.locator(".empty").wait_for()


STOPS = (
    Stop("queue", QUEUE, "first", "/"),
    Stop("queue-supervisor", QUEUE, "supervisor", "/?escalated=1"),
    Stop("queue-decided", QUEUE, "second", "/?state=cleared"),
    Stop("queue-empty", QUEUE, "elsewhere", "/"),
    Stop("case", CASE, "second", "open"),
    Stop("case-open", CASE, "second", "open", _open_all),
    Stop("case-faults", CASE, "second", "open", _send_blank, faults=(422,)),
    Stop("case-blink", CASE, "second", "open", _blink),
    Stop("case-number", CASE, "second", "open", _open_number),
    Stop("case-keys", CASE, "second", "open", _show_keys),
    Stop("case-draft", CASE, "first", "draft", _open_all),
    Stop("case-claimed", CASE, "second", "draft"),
    Stop("case-second", CASE, "second", "awaiting"),
    Stop("case-own-first", CASE, "first", "awaiting"),
    Stop("case-escalated", CASE, "supervisor", "escalated"),
    Stop("case-manual", CASE, "first", "manual"),
    Stop("case-erased", CASE, "first", "erased"),
    Stop("case-confirmed", CASE, "supervisor", "confirmed"),
    Stop("case-reopened", CASE, "supervisor", "reopened"),
    Stop("case-appealed", CASE, "supervisor", "appealed", _open_all),
    Stop("case-withdrawn", CASE, "first", "withdrawn"),
    Stop("case-foreign", CASE, "elsewhere", "open", status=404),
    Stop("notices", "GET /notices", "supervisor", "/notices"),
    Stop("notices-operator", "GET /notices", "operator", "/notices?progress=failed"),
    Stop("notice-letter", NOTICE, "first", "letter"),
    Stop("notice-undelivered", NOTICE, "supervisor", "terminate"),
    Stop("register", "GET /register", "first", "/register"),
    Stop("register-found", "GET /register", "first", "/register", _find),
    Stop("register-nobody", "GET /register", "first", "/register", _find_nobody),
    Stop("register-person", PERSON, "first", "/register/C-1", _open_all),
    Stop("register-decided", PERSON, "first", "/register/S-6"),
    Stop("register-visit-refused", PERSON, "first", "/register/C-6", _blank_visit, faults=(422,)),
    Stop("statistics", "GET /statistics", "province", "/statistics", _open_all),
    Stop("statistics-own", "GET /statistics", "first", "/statistics"),
    Stop("statistics-present", "GET /statistics", "province", "present"),
    Stop("statistics-wrong", "GET /statistics", "first", "/statistics?month=2026-13", status=422),
    Stop("account", "GET /account", "first", "/account"),
    Stop("second-factor", "GET /account/second-factor", "first", "/account/second-factor"),
    Stop("audit", "GET /audit", "auditor", "/audit"),
    Stop("audit-person", "GET /audit", "auditor", "/audit?person=C-1"),
    Stop("audit-event", EVENT, "auditor", "event"),
    Stop("audit-forbidden", "GET /audit", "first", "/audit", status=403),
    Stop("sign-in", "GET /sign-in", "", "/sign-in"),
    Stop("sign-in-refused", "GET /sign-in", "", "/sign-in", _refused_sign_in, faults=(401,)),
    Stop("sign-in-first", "GET /sign-in/first", "", "/sign-in/first"),
    Stop("sign-in-code", "GET /sign-in/code", "half-way", "/sign-in/code"),
    Stop("signed-out", "GET /signed-out", "", "/signed-out"),
)

NO_PAGES = {
    "GET /queue/lines": "part of the queue's page, which a script puts there",
    "GET /notices/{notice_id:uuid}/letter.pdf": "a PDF",
    "GET /statistics/file": "a file",
    "GET /cases/{case_id:uuid}/attachments/{attachment_id:uuid}": "a file",
    "GET /cases/{case_id:uuid}/portraits/probe": "a picture",
    "GET /cases/{case_id:uuid}/portraits/{reference_id:int}": "a picture",
    "GET /account/second-factor/picture.svg": "a picture",
    "GET /sign-in/oidc": "sends the browser to the provider",
    "GET /sign-in/oidc/callback": "sends the browser on; its page for a moment has a test of its own",
    "GET /sign-out/oidc": "sends the browser to the provider",
    "GET /healthz": "for machines",
    "GET /readyz": "for machines",
    "GET /metrics": "for machines",
    "GET /openapi.json": "for machines",
    "GET /problems/{code}": "for machines",
    "GET /docs": "the API's description for developers, by Swagger UI",
}
"""Addresses that are answered with something else than a page of ours, and with what."""

COVERED = frozenset(stop.row for stop in STOPS) | frozenset(NO_PAGES)
