"""What surrounds every request: an id, a log line, figures, headers and limits. Plain ASGI."""

import asyncio
import time
from collections.abc import Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLargeError, OverloadedError
from service.metrics import Metrics
from service.part_times import begin_parts
from service.problems import as_problem, unexpected_problem
from service.request_context import begin_request

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent unless the endpoint set the header itself."""

BODY_TIMEOUT_S = 60.0
"""Seconds in which a whole body must arrive: 32 MiB at 5 Mbit/s."""

DRAIN_S = 5.0
"""Seconds that a refused body is still read and dropped, so that the sender gets to read the answer."""

DRAIN_BODIES = 4
"""Times the longest body that is dropped so; what is left unread beyond resets the connection."""

log = structlog.get_logger("service.access")


class RequestBoundary:
    """The outermost layer: gives the request an id, and sees how every answer ends."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = begin_request()
        scope.setdefault("state", {})["request_id"] = request_id
        parts = begin_parts()
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            log.exception("request-failed", route=route_of(scope))
            if status:
                raise  # Half an answer is out: the server must break the connection.
            await unexpected_problem(Request(scope))(scope, receive, send_with_headers)
        finally:
            _note(scope, status, time.perf_counter() - started, parts)


class BodyLimit:
    """Refuses bodies that are too large or too slow, whatever they declare, and too many at one time."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_total_bytes: int) -> None:
        """Wrap the application.

        Args:
            app: What is protected.
            max_bytes: Longest body accepted.
            max_total_bytes: Of all bodies that are held at one time.
        """
        self._app = app
        self._max_bytes = max_bytes
        self._held = _Held(max_total_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what arrives."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._held, max_bytes=self._max_bytes, timeout_s=BODY_TIMEOUT_S)
        if _declared_length(scope) > self._max_bytes:
            body.refused = True
            too_large = BodyTooLargeError(f"The body is over {self._max_bytes} bytes.")
            await as_problem(Request(scope), too_large)(scope, receive, body.sending(send))
            return
        try:
            if not self._held.take(body, _declared_length(scope)):
                body.refused = True
                too_many = OverloadedError("Too many large requests at once; try again in a moment.")
                await as_problem(Request(scope), too_many)(scope, receive, body.sending(send))
                return
            await self._app(scope, body.receive, body.sending(send))
        finally:
            self._held.give_back(body)


class _Held:
    """Counts the bytes of all bodies that are in memory, from what they declare or, if more, what came.

    Only the event loop uses it, so nothing needs a lock.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._sizes: dict[_Body, int] = {}
        self._total = 0

    def take(self, body: "_Body", size: int) -> bool:
        """Make room for a body of so many bytes; False if there is none. A lone body always has room."""
        more = size - self._sizes.get(body, 0)
        if more <= 0:
            return True
        others = self._total - self._sizes.get(body, 0)
        if others and self._total + more > self._most:
            return False
        self._sizes[body] = size
        self._total += more
        return True

    def give_back(self, body: "_Body") -> None:
        """Forget a body."""
        self._total -= self._sizes.pop(body, 0)


class _Body:
    """One request's body on its way in."""

    def __init__(self, receive: Receive, held: _Held, *, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._held = held
        self._max_bytes = max_bytes
        self._deadline = time.monotonic() + timeout_s
        self._size = 0
        self._complete = False
        self.refused = False

    async def receive(self) -> Message:
        """Hand on the next piece.

        Raises:
            HTTPException: 413 or 408; this class, because FastAPI would take any other
                that is raised while a body is read for a body that cannot be parsed.
        """
        if self._complete:
            return await self._receive()  # Only the end of the connection is left to come.
        message = await self._next(self._deadline)
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._size > self._max_bytes:
                self.refused = True
                raise HTTPException(413)
            if not self._held.take(self, self._size):
                self.refused = True
                raise HTTPException(503)
        return message

    async def _next(self, deadline: float) -> Message:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._receive()
        except TimeoutError:
            self.refused = self._complete = True
            raise HTTPException(408) from None

    def sending(self, send: Send) -> Send:
        """Return a `send` that ends the connection after a refusal, but lets the sender read it first."""

        async def send_and_close(message: Message) -> None:
            if not self.refused:
                await send(message)
            elif message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            else:
                await send({**message, "more_body": True})
                if not message.get("more_body", False):
                    await self._drain()
                    await send({"type": "http.response.body", "body": b"", "more_body": False})

        return send_and_close

    async def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN_S
        dropped = 0
        while not self._complete and dropped <= DRAIN_BODIES * self._max_bytes:
            try:
                message = await self._next(deadline)
            except HTTPException:
                return
            dropped += len(message.get("body", b""))
            self._complete = message["type"] != "http.request" or not message.get("more_body", False)


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request met, free of the identifiers in its path."""
    path = getattr(scope.get("route"), "path", None)
    if path is not None:
        return str(path)
    return f"{scope['root_path']}/…" if scope.get("root_path") else "(none)"


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


def _note(scope: Scope, status: int, seconds: float, parts: Mapping[str, float]) -> None:
    route, method = route_of(scope), scope["method"]
    metrics: Metrics = scope["app"].state.metrics
    metrics.answered(method, route, status=status, seconds=seconds)
    facts: dict[str, object] = {"duration_ms": round(seconds * 1000, 1)}
    if scope["state"].get("check_made"):
        whole = {**parts, "rest": max(0.0, seconds - sum(parts.values()))}
        metrics.took(whole)
        facts["parts_ms"] = {part: round(taken * 1000, 1) for part, taken in sorted(whole.items())}
    log.info("request", method=method, route=route, status=status, **facts)
