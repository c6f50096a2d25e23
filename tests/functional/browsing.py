"""A real server and a real browser for tests of pages."""

import base64
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from service.app import create_app
from service.auth.passwords import hash_password
from service.auth.service import Role, Scope, add_account, add_client
from service.database import Database
from service.settings import Settings
from service.tables import LocalAccount
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


@dataclass
class LiveService:
    """A running service with registrations, and the means to add more.

    Person 1 is flagged as C-1; S-1 is the same person's other registration, without a portrait.
    """

    app: FastAPI
    address: str

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
        self._put("C-1", shared | {"level_code": "30", "name": "李芳", "portraits": [_image(1, 0)]})
        self._put("S-1", shared | {"level_code": "10", "name": "李秀英", "division_code": "530302"})

    def _put(self, person_id: str, body: Mapping[str, object]) -> None:
        self.http.put(f"/v1/persons/{person_id}", json=body).raise_for_status()

    def check(self, transaction_id: str) -> str:
        """Check person 1 and return the path of the case."""
        transaction = {"id": transaction_id, "type": "household-transfer-in", "authority": "530102"}
        body = {"transaction": transaction, "person_id": "S-1", "portrait": _image(1, 1)["image"]}
        answer = self.http.post("/v1/checks", json=body).raise_for_status().json()
        assert answer["outcome"] == "candidates", answer
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


class Account(NamedTuple):
    """What an officer signs in with."""

    login: str
    password: str


@dataclass
class Watch:
    """Everything that a browser did that a test wants to judge."""

    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def follow(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        context.on(
            "response", lambda r: self.faults.append(f"{r.status}: {r.url}") if r.status >= 400 else None
        )
        context.on(
            "console", lambda m: self.faults.append(m.text) if m.type in ("error", "warning") else None
        )
        context.on("weberror", lambda error: self.faults.append(str(error.error)))

    def assert_clean(self, address: str) -> None:
        """Nothing failed, nothing was complained of, and no request left for another server."""
        assert self.faults == []
        assert self.requests
        assert [url for url in self.requests if not url.startswith(f"{address}/")] == []


def _image(person: int, shot: int) -> dict[str, str]:
    return {"image": base64.b64encode(synthetic_portrait(person, shot)).decode()}


@contextmanager
def live_service(settings: Settings) -> Iterator[LiveService]:
    """Serve on a free port of the loopback address; a password alone signs officers in."""
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
