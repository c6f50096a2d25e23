"""A real server and a real browser for tests of pages."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from service.app import create_app
from service.auth.cookies import session_cookie_name
from service.auth.passwords import hash_password
from service.auth.service import Actor, Role, Scope, actor_of, add_account, add_client, add_officer
from service.auth.sessions import Opening, SignInStage, start_session
from service.database import Database
from service.settings import Settings
from service.tables import LocalAccount
from service.web.access import LANGUAGE_COOKIE
from tests.synthetic import synthetic_portrait

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESKTOP = {"width": 1280, "height": 800}

Portraits = Callable[[int, int], bytes]
"""Draws or finds a portrait: whose, from 1, and which of that person's; shot 0 is the first."""


@dataclass
class LiveService:
    """A running service with registrations, and the means to add more.

    Person 1 is flagged as C-1; S-1 is the same person's other registration, without a portrait.
    """

    app: FastAPI
    address: str
    portraits: Portraits = synthetic_portrait

    @property
    def database(self) -> Database:
        found: Database = self.app.state.database
        return found

    def prepare(self) -> None:
        with self.database.write() as session:
            _client, key = add_client(session, "population", scopes=frozenset(Scope))
        self.http = httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
        )
        shared = {"sex": "2", "ethnicity": "07"}
        self.put("C-1", shared | {"level_code": "30", "name": "李芳", "portraits": [self.image(1, 0)]})
        self.put("S-1", shared | {"level_code": "10", "name": "李秀英", "division_code": "530302"})

    def image(self, person: int, shot: int, **fields: str) -> dict[str, str]:
        """A portrait as the API takes it."""
        return {"image": base64.b64encode(self.portraits(person, shot)).decode(), **fields}

    def put(self, person_id: str, body: Mapping[str, object]) -> None:
        """Store a registration."""
        self.http.put(f"/v1/persons/{person_id}", json=body).raise_for_status()

    def check(
        self,
        transaction_id: str,
        *,
        person: int | None = 1,
        subject: str = "S-1",
        kind: str = "household-transfer-in",
    ) -> str:
        """Check a person, or a registration without a portrait, and return the path of the case."""
        transaction = {"id": transaction_id, "type": kind, "authority": "530102"}
        body: dict[str, object] = {"transaction": transaction, "person_id": subject}
        if person is not None:
            body["portrait"] = self.image(person, 1)["image"]
        answer = self.http.post("/v1/checks", json=body).raise_for_status().json()
        assert answer["outcome"] == ("candidates" if person is not None else "not_searchable"), answer
        return f"/cases/{answer['case_id']}"

    def status(self, transaction_id: str) -> str:
        """How far a transaction's check has come, as the population system sees it."""
        answer = self.http.get("/v1/checks", params={"transaction_id": transaction_id})
        return str(answer.raise_for_status().json()["status"])

    def officer(self, login: str, *, role: str = "officer") -> "Account":
        """Add an officer who signs in with a password."""
        password = f"{login}: a long sentence"[::-1]
        with self.database.write() as session:
            officer = add_account(session, login, name=login, role=Role(role), division_code="530100")
            session.add(LocalAccount(officer_id=officer.id, password_hash=hash_password(password)))
        return Account(login, password)

    def colleague(
        self,
        login: str,
        *,
        role: str = "officer",
        name: str = "",
        division_code: str = "530100",
        stage: SignInStage = SignInStage.FULL,
    ) -> "Colleague":
        """Add an officer who is signed in, or on the way, and whose tools have a key: hashing takes long."""
        with self.database.write() as session:
            officer, key = add_officer(
                session, login, name=name or login, role=Role(role), division_code=division_code
            )
            opening = Opening(stage=stage, address="10.53.1.20")
            token = start_session(session, officer, hours=8, opening=opening)
            return Colleague(actor_of(officer), key, token)

    def call(self, who: "Colleague", path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Have an officer's tool send something that must be taken, and return the answer."""
        answer = self.http.post(path, json=body, headers={"Authorization": f"Bearer {who.key}"})
        assert answer.is_success, answer.text
        said: dict[str, Any] = answer.json()
        return said


class Account(NamedTuple):
    """What an officer signs in with."""

    login: str
    password: str


class Colleague(NamedTuple):
    """An officer with a page session and an access key."""

    actor: Actor
    key: str
    token: str


@dataclass
class Watch:
    """Everything that a browser did that a test wants to judge."""

    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def follow(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("requestfailed", self._failed)
        context.on(
            "response", lambda r: self.faults.append(f"{r.status}: {r.url}") if r.status >= 400 else None
        )
        context.on(
            "console", lambda m: self.faults.append(m.text) if m.type in ("error", "warning") else None
        )
        context.on("weberror", lambda error: self.faults.append(str(error.error)))

    def _failed(self, request: Request) -> None:
        """Note a failure, but not what a window leaves behind: an address that turns out to be a file, or a
        refresh or an icon that was on its way when the next page was asked for."""
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.url}")

    def assert_clean(self, address: str) -> None:
        """Nothing failed, nothing was complained of, and no request left for another server."""
        assert self.faults == []
        assert self.requests
        assert [url for url in self.requests if not url.startswith(f"{address}/")] == []


@contextmanager
def live_service(
    settings: Settings, *, portraits: Callable[[FastAPI], Portraits] | None = None
) -> Iterator[LiveService]:
    """Serve on a free port of the loopback address; a password alone signs officers in.

    Args:
        settings: Of the installation.
        portraits: Finds portraits with the application's own detector; default: synthetic ones.
    """
    app = create_app(settings.model_copy(update={"second_factor": "optional"}))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.02)
        service = LiveService(app, f"http://127.0.0.1:{listening.getsockname()[1]}")
        if portraits is not None:
            service.portraits = portraits(app)
        try:
            service.prepare()
            yield service
        finally:
            service.http.close()
            server.should_exit = True
            thread.join(timeout=30)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser that the machine has."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


def opened_window(
    browser: Browser,
    service: LiveService,
    watch: Watch,
    *,
    who: Colleague | None = None,
    language: str = "zh-CN",
    viewport: Mapping[str, int] = DESKTOP,
    script: bool = True,
) -> Page:
    """A window of a browser that knows a language and, if somebody is named, a session."""
    context = browser.new_context(
        viewport={"width": viewport["width"], "height": viewport["height"]}, java_script_enabled=script
    )
    context.set_default_timeout(30_000)
    cookies = {LANGUAGE_COOKIE: language}
    if who is not None:
        cookies[session_cookie_name(service.app.state.settings)] = who.token
    for name, value in cookies.items():
        context.add_cookies([{"name": name, "value": value, "url": service.address}])
    watch.follow(context)
    return context.new_page()


class Windows:
    """One window for each officer and language: a fresh one for each page would cost most of the time."""

    def __init__(
        self,
        browser: Browser,
        service: LiveService,
        *,
        viewport: Mapping[str, int] = DESKTOP,
        prepare: Callable[[BrowserContext], None] | None = None,
    ) -> None:
        """Open nothing yet; `prepare` is called with each new context."""
        self._browser, self._service = browser, service
        self._viewport, self._prepare = viewport, prepare
        self._open: dict[tuple[str, str], tuple[Page, Watch]] = {}

    def of(self, login: str, who: Colleague | None, language: str) -> tuple[Page, Watch]:
        """Return an officer's window, and a watch over what happens in it from now on."""
        if (login, language) not in self._open:
            watch = Watch()
            page = opened_window(
                self._browser, self._service, watch, who=who, language=language, viewport=self._viewport
            )
            if self._prepare is not None:
                self._prepare(page.context)
            self._open[login, language] = page, watch
        page, watch = self._open[login, language]
        watch.requests.clear()
        watch.faults.clear()
        return page, watch

    def close(self) -> None:
        """Close all."""
        for page, _watch in self._open.values():
            page.context.close()


def settle(page: Page, shown: str = "main img") -> None:
    """Let pictures come that are on their way, so that the page is judged whole."""
    for image in page.locator(shown).all():
        if not image.is_visible():
            continue
        image.scroll_into_view_if_needed()
        deadline = time.monotonic() + 30
        while not image.evaluate("image => image.complete"):
            assert time.monotonic() < deadline, "a picture does not come"
            page.wait_for_timeout(20)


def enter(page: Page, account: Account) -> None:
    """Fill in the form for signing in and send it."""
    page.locator("#login").fill(account.login)
    page.locator("#password").fill(account.password)
    page.locator("main button.primary").click()


def sign_in(page: Page, address: str, account: Account) -> None:
    """Sign in as an officer does."""
    page.goto(f"{address}/")
    enter(page, account)
    page.wait_for_url(f"{address}/")
