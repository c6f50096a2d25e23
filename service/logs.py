"""Structured logs without personal data: one JSON object, or one line of text, per event."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.types import Processor

from service.request_context import current_request_id

OURS = ("service.", "index.", "scripts.")
"""Modules whose exceptions carry messages of ours, which are free of personal data by rule."""

QUIET = {
    "uvicorn.access": logging.CRITICAL,
    "aiobotocore": logging.WARNING,
    "alembic": logging.WARNING,
    "botocore": logging.WARNING,
    "fsspec": logging.WARNING,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
    "s3fs": logging.WARNING,
}
"""Libraries that would log more than they should: paths with identifiers, signatures, routine steps."""


def configure_logging(level: str, form: str) -> None:
    """Send all logs, ours and the libraries', to stderr in one form.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        form: `json` or `text`.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_request_id,
        describe_exception,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = _ToStandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(form)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at the moment, for it may have been replaced since."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # `StreamHandler` would keep the stream of now.

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute in the base
        """Where lines go."""
        return sys.stderr


def add_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the request that an event belongs to."""
    request_id = current_request_id()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def describe_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace an exception by its classes and where it was raised.

    Messages of foreign exceptions are left out: databases and parsers repeat the
    values that they were given, and those are names and document numbers.
    """
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = list(_chain(error))
    return event


def _chain(error: BaseException | None) -> list[dict[str, Any]]:
    described: list[dict[str, Any]] = []
    while error is not None and len(described) < 8:
        described.append(_describe(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return described


def _describe(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    facts: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    if kind.__module__.startswith(OURS):
        facts["message"] = str(error)
    frames = traceback.extract_tb(error.__traceback__)
    facts["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return facts


def _rendering(form: str) -> list[Processor]:
    if form == "json":
        return [structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [_exception_as_text, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False)]


def _exception_as_text(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    described = event.get("exception")
    if isinstance(described, list):
        event["exception"] = "\n".join(
            "\n  ".join([f"{one['type']}: {one.get('message', '(message left out)')}", *one["frames"]])
            for one in described
        )
    return event
