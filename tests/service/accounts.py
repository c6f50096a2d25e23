"""Officers who sign in with a password, for tests."""

from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from service.auth.passwords import hash_password
from service.auth.service import Role, add_account
from service.database import Database
from service.tables import LocalAccount, Officer, now
from tests.service.web.pages import BROWSER

PASSWORD = "seventeen grey herons"


@cache
def password_hash() -> str:
    """The hash of the password of all tests; made once, because it is slow on purpose."""
    return hash_password(PASSWORD)


def add_local(
    database: Database, login: str = "zhang", *, role: str = "officer", division: str = "530100"
) -> Officer:
    """Add an officer who signs in with `PASSWORD`."""
    with database.write() as session:
        officer = add_account(session, login, name=login, role=Role(role), division_code=division)
        session.add(LocalAccount(officer_id=officer.id, password_hash=password_hash(), password_set_at=now()))
    return officer


def choose(app: FastAPI, **settings: Any) -> None:
    """Run the application with other settings from now on."""
    app.state.settings = app.state.settings.model_copy(update=settings)


def enter(client: TestClient, login: str, password: str = PASSWORD, **fields: str) -> Response:
    """Send the form for signing in."""
    data = {"login": login, "password": password, **fields}
    return client.post("/sign-in", data=data, headers=BROWSER, follow_redirects=False)
