"""Logs: one form for all, and no personal data."""

import json
import logging
from collections.abc import Callable, Iterator
from contextvars import copy_context

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service.database import Database
from service.errors import CaseStateError
from service.logs import configure_logging
from service.request_context import begin_request

SECRET = "530102199003071234"


Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Gives what was written to stderr since it was last asked."""
    yield lambda: capsys.readouterr().err
    configure_logging("info", "json")


def lines(written: Written) -> list[dict[str, object]]:
    return [json.loads(line) for line in written().splitlines()]


def test_our_events_and_the_libraries_become_one_json_object_each(written: Written) -> None:
    configure_logging("info", "json")
    structlog.get_logger("service.x").info("gallery-loaded", gallery="flagged", persons=3)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request %s", "received")
    ours, theirs = lines(written)
    assert ours["event"] == "gallery-loaded"
    assert ours["persons"] == 3
    assert ours["level"] == "info"
    assert ours["logger"] == "service.x"
    assert str(ours["timestamp"]).endswith("Z")
    assert theirs["event"] == "Invalid HTTP request received"
    assert theirs["level"] == "warning"


def test_text_is_one_line_per_event(written: Written) -> None:
    configure_logging("info", "text")
    structlog.get_logger("service.x").info("gallery-loaded", gallery="flagged")
    (line,) = written().splitlines()
    assert "gallery-loaded" in line
    assert "gallery=flagged" in line
    assert "\x1b" not in line


def test_lower_levels_are_left_out(written: Written) -> None:
    configure_logging("warning", "json")
    structlog.get_logger("service.x").info("quiet")
    structlog.get_logger("service.x").warning("loud")
    assert [event["event"] for event in lines(written)] == ["loud"]


def test_what_would_name_paths_stays_quiet(written: Written) -> None:
    configure_logging("debug", "json")
    logging.getLogger("uvicorn.access").info(f"GET /v1/persons/{SECRET}")
    logging.getLogger("httpx").info(f"HTTP Request: GET /v1/persons/{SECRET}")
    assert written() == ""


def test_an_event_names_its_request(written: Written) -> None:
    configure_logging("info", "json")

    def within() -> str:
        request_id = begin_request()
        structlog.get_logger("service.x").info("something")
        return request_id

    request_id = copy_context().run(within)
    structlog.get_logger("service.x").info("something")
    assert [event.get("request_id") for event in lines(written)] == [request_id, None]


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_foreign_exception_is_logged_with_its_place_and_without_its_message(
    written: Written, form: str
) -> None:
    configure_logging("info", form)
    try:
        try:
            int(f"{SECRET}x")
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError:
        structlog.get_logger("service.x").exception("request-failed")
        logging.getLogger("uvicorn.error").exception("library failed")
    output = written()
    assert SECRET not in output
    assert "builtins.KeyError" in output
    assert "builtins.ValueError" in output
    assert "test_logs.py" in output


def test_the_message_of_an_exception_of_ours_is_kept(written: Written) -> None:
    configure_logging("info", "json")
    try:
        raise CaseStateError("The case moved on.")
    except CaseStateError:
        structlog.get_logger("service.x").exception("request-failed")
    (event,) = lines(written)
    assert "'message': 'The case moved on.'" in str(event["exception"])


def test_a_failed_statement_does_not_show_what_was_stored(database: Database, written: Written) -> None:
    configure_logging("info", "json")
    try:
        with database.write() as session:
            session.execute(text("INSERT INTO clients (name) VALUES (:name)"), {"name": SECRET})
    except SQLAlchemyError:
        structlog.get_logger("service.x").exception("request-failed")
    (event,) = lines(written)
    assert "IntegrityError" in str(event["exception"])
    assert SECRET not in str(event)
