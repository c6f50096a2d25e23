"""The real service for the demo: its own folder, a free port, fresh keys, spoken to over HTTP."""

import fcntl
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from scripts.failures import CommandError
from scripts.serve import server_config
from service.app import create_app
from service.auth.one_time import make_code
from service.auth.passwords import hash_password
from service.auth.service import Role, Scope, add_account, add_client
from service.database import Database
from service.settings import Settings
from service.startup import opened
from service.tables import LocalAccount, now

HOST = "127.0.0.1"
USUAL_PORT = 8000
STARTING_S = 30.0
MARKER = ".oneperson-demo"
"""File that says that a folder is the demo's, so that no other is ever emptied."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Random credentials, made for this run.

    Attributes:
        client: The population system's key.
        first: Password of the first officer.
        second: Password of the second officer.
    """

    client: str = field(repr=False)
    first: str = field(repr=False)
    second: str = field(repr=False)


FIRST_OFFICER, SECOND_OFFICER = "demo-first", "demo-second"
OFFICERS = (
    (FIRST_OFFICER, "示例民警甲", Role.OFFICER),
    (SECOND_OFFICER, "示例民警乙", Role.SUPERVISOR),
)
AUTHORITY = "530102"
"""The authority that handles the demo's transactions; both officers work for it or above it."""


@contextmanager
def emptied_folder(directory: Path) -> Iterator[Path]:
    """Make the demo's folder afresh and keep others from doing so meanwhile.

    Raises:
        CommandError: It is not the demo's, or another demo is using it.
    """
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with directory.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"another demo is using {directory}; stop it first") from None
        if directory.exists():
            if not (directory / MARKER).is_file():
                raise CommandError(f"{directory} was not made by the demo; move it away first")
            shutil.rmtree(directory)
        directory.mkdir(mode=0o700)
        (directory / MARKER).touch()
        yield directory


def demo_settings(directory: Path, *, pack: str, address: str, threads: int) -> Settings:
    """Return settings of the demo alone: nothing of an installation's own leaks in.

    The second factor is offered, not asked for: nobody should need a telephone for a first look.
    """
    chosen: dict[str, Any] = {
        name: known.get_default(call_default_factory=True) for name, known in Settings.model_fields.items()
    }
    chosen |= {"data_dir": directory, "pack": pack, "public_url": address, "threads": threads}
    chosen["second_factor"] = "optional"
    return Settings(**chosen)


def bound(port: int | None) -> socket.socket:
    """Take a port: the one asked for, else the usual one, else any.

    Raises:
        CommandError: The port asked for is taken.
    """
    for candidate in (USUAL_PORT, 0) if port is None else (port,):
        listener = socket.socket(socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, candidate))
            listener.listen()  # Until then another could bind the port, too.
        except OSError as error:
            listener.close()
            failure = error.strerror
            continue
        return listener
    raise CommandError(f"cannot listen on port {port} ({failure}); choose another with --port")


@contextmanager
def running(app: FastAPI, listener: socket.socket) -> Iterator[None]:
    """Serve in a thread until the block ends.

    Raises:
        CommandError: The server did not come up.
    """
    server = uvicorn.Server(server_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="demo-server")
    thread.start()
    try:
        deadline = time.monotonic() + STARTING_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise CommandError("the service did not start; see the log lines above")
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def demo_service(settings: Settings, listener: socket.socket) -> Iterator[tuple[FastAPI, Keys]]:
    """Open the application, make keys, and serve."""
    app = create_app(settings)
    with opened(app):
        keys = make_keys(app.state.database)
        with running(app, listener):
            yield app, keys


def make_keys(database: Database) -> Keys:
    """Make the population system's key and two officers with random passwords."""
    passwords = [make_code() for _ in range(2)]
    hashes = [hash_password(password) for password in passwords]
    with database.write() as session:
        scopes = frozenset({Scope.PERSONS, Scope.CHECKS, Scope.NOTICES})
        _, client = add_client(session, "demo-population-system", scopes=scopes)
        for (login, name, role), hashed in zip(OFFICERS, hashes, strict=True):
            officer = add_account(session, login, name=name, role=role, division_code=AUTHORITY)
            session.add(LocalAccount(officer_id=officer.id, password_hash=hashed, password_set_at=now()))
    return Keys(client, *passwords)


class PopulationSystem:
    """Stands in for the population system: real requests with its key."""

    def __init__(self, address: str, key: str) -> None:
        """Connect when the first request is sent."""
        self._http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {key}", "Accept-Language": "en"},
            timeout=60.0,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def put_person(self, person_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store a registration.

        Raises:
            CommandError: The service refused it.
        """
        return _answer(self._http.put(f"/v1/persons/{person_id}", json=body))

    def post_check(self, body: dict[str, Any]) -> dict[str, Any]:
        """Have a transaction checked.

        Raises:
            CommandError: The service refused it.
        """
        return _answer(self._http.post("/v1/checks", json=body))


def _answer(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    if response.is_error:
        request = response.request
        raise CommandError(
            f"{request.method} {request.url.path} was answered with {response.status_code}, "
            f"{answer.get('title')}: {answer.get('detail')}"
        )
    return answer
