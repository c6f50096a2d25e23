"""`oneperson serve`: the API and the pages, in one process."""

import signal
import socket
from types import FrameType
from typing import Annotated, NoReturn

import structlog
import typer
import uvicorn
from fastapi import FastAPI

from scripts.failures import CommandError
from service.app import create_app
from service.connections import GuardedConnection
from service.core_dumps import forbid_core_dumps
from service.logs import configure_logging
from service.settings import load_settings
from service.startup import opened

KEEP_ALIVE_S = 30
"""Seconds that an idle connection is kept: longer than the pause between one caller's checks."""

SHUTDOWN_S = 30
"""Seconds that running requests have to finish: the longest check, see `ONEPERSON_SEARCH_TIMEOUT_S`."""

log = structlog.get_logger(__name__)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
) -> None:
    """Serve the API and the pages until SIGTERM or Ctrl-C; running requests are finished first.

    A fresh database is set up; a SQLite database of an earlier version is migrated.
    On PostgreSQL run `oneperson migrate` first. TLS belongs in a reverse proxy.
    """
    forbid_core_dumps()
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    signal.signal(signal.SIGTERM, _stop)
    with _bound(host, port) as listener:
        app = create_app(settings)
        with opened(app):
            log.info("listening", address=_address(listener))
            run(app, listener)


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve an application on a bound socket until a signal comes.

    Args:
        app: Whose lifespan opens what is not open yet.
        listener: Bound, not listening yet.
    """
    try:
        uvicorn.Server(server_config(app)).run(sockets=[listener])
    except (KeyboardInterrupt, SystemExit) as stopped:
        if isinstance(stopped, SystemExit) and stopped.code:
            raise


def server_config(app: FastAPI) -> uvicorn.Config:
    """Return how uvicorn runs the application: our logs, our limits, and no word about itself."""
    return uvicorn.Config(
        app,
        http=GuardedConnection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def _bound(host: str, port: int) -> socket.socket:
    """Take the address before anything is loaded, but accept nobody yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CommandError(
            f"cannot listen on {host} port {port} ({error.strerror}); choose another with --host or --port"
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Unwind on SIGTERM, also while loading, so that everything is closed."""
    raise SystemExit(0)
