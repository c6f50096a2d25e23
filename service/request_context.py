"""The request id, carried beside the call so that logs, audit events and errors can name it."""

from contextvars import ContextVar
from uuid import uuid4

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """Return the running request's id, or None outside a request."""
    return _request_id.get()


def begin_request() -> str:
    """Give the running request an id of our own making and return it."""
    request_id = str(uuid4())
    _request_id.set(request_id)
    return request_id
