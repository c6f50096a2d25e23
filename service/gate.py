"""Decides who may pass, by the head of a request alone: nothing of a body is read before. Plain ASGI."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.audit.service import AuditKind, record
from service.auth.cookies import session_cookie_name
from service.auth.failures import FailureThrottle
from service.auth.network import UNKNOWN, caller_address, is_trusted, networks
from service.auth.policy import Proof, Rule, rule_for
from service.auth.service import Actor, authenticate, client_by_certificate, key_id_of
from service.auth.sessions import UNKNOWN_VISITOR, SignedIn, find_session, note_use
from service.connections import CROWDED
from service.errors import (
    ForbiddenError,
    ForeignDivisionError,
    OverloadedError,
    ServiceError,
    UnauthenticatedError,
)
from service.problems import as_problem
from service.rate_limits import RateLimits
from service.settings import Settings
from service.turn_taking import announce

DROPPED_BYTES = 2**18
DROP_S = 1.0
"""How much of a refused request's body is thrown away unread, so that a sender who is still writing gets to
see the answer; after that the connection is closed."""

TOO_MANY = "There are too many connections; try again after the seconds in 'Retry-After'."

log = structlog.get_logger("service.access")


@dataclass(frozen=True, slots=True)
class _Route:
    """Which route a request will meet: its template, and what its path names."""

    path: str
    names: dict[str, Any]


class Gate:
    """Asks `service.auth.policy` about every request, and puts what was refused on record."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "http" and scope.get("state", {}).get(CROWDED):
            await _refuse(Request(scope), OverloadedError(TOO_MANY), receive, send)
            return
        route = _route(scope) if scope["type"] == "http" else None
        if route is None:  # The router answers what has no address (404) or no such method (405).
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request.state.address = address_of(request)
        try:
            rule = rule_for(scope["method"], route.path)
            if rule is None:
                raise ForbiddenError(
                    "The address has no row in service/auth/policy.py, so nobody may use it."
                )
            announce(scope, route.path)
            if rule.proof is not Proof.NONE:
                await run_in_threadpool(_admit, request, rule)
            _count(request, rule, route)
        except ServiceError as error:
            scope["route"] = route  # The router never sees the request, and the log names routes.
            await _put_on_record(request, route, error)
            await _refuse(request, error, receive, send)
            return
        await self._app(scope, receive, _recording(request, route, send))


def address_of(request: Request) -> str:
    """Return the network address of whoever calls, as far as trusted proxies tell."""
    settings: Settings = request.app.state.settings
    peer = request.client.host if request.client is not None else None
    return caller_address(peer, request.headers.get("x-forwarded-for"), networks(settings.trusted_proxies))


def leaves(routes: Iterable[BaseRoute]) -> Iterator[Route | Mount]:
    """Return every route, those of included routers too.

    Args:
        routes: Of an application or a router. FastAPI keeps an included router as one route; ours are
            included without a prefix, so the paths of its own routes are whole.
    """
    for route in routes:
        if isinstance(route, Route | Mount):
            yield route
        else:
            included = getattr(route, "original_router", None)
            yield from leaves(included.routes if included is not None else ())


def _route(scope: Scope) -> _Route | None:
    """Find the route that a request will meet; None if it will meet none."""
    routes = scope["app"].router.routes
    for route in leaves(routes):
        match, found = route.matches(scope)
        if match is Match.FULL:
            return _Route(route.path, found.get("path_params", {}))
    if any(route.matches(scope)[0] is Match.FULL for route in routes):
        return _Route("(unknown)", {})  # It would be served, so it must have a row: there is none for this.
    return None


def _admit(request: Request, rule: Rule) -> None:
    """Find who calls and let them pass, or raise.

    Raises:
        UnauthenticatedError: Nobody who is known.
        ForbiddenError: Somebody who may not.
        DatabaseUnavailableError: It cannot be told.
    """
    if rule.proof is Proof.KEY:
        actor = _caller(request)
    else:
        visitor = _visitor(request, rule)
        request.state.signed_in = visitor
        actor = visitor.actor
    request.state.actor = actor
    rule.admit(actor)


def _caller(request: Request) -> Actor:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    key = sent.strip()
    state = request.app.state
    if scheme.lower() != "bearer" or not key:
        certified = _certified(request)
        if certified is not None:
            return certified
        raise UnauthenticatedError("Send the key as 'Authorization: Bearer op_…'.")
    request.state.has_sent_key = True
    with state.database.read() as session:
        actor = authenticate(session, key)
    state.key_usage.note(key_id_of(key))
    return actor


def _certified(request: Request) -> Actor | None:
    """Find the client whose certificate a trusted proxy has verified; no other word counts."""
    settings: Settings = request.app.state.settings
    header = settings.client_certificate_header
    subject = request.headers.get(header, "") if header else ""
    peer = request.client.host if request.client is not None else UNKNOWN
    if not subject or not is_trusted(peer, networks(settings.trusted_proxies)):
        return None
    with request.app.state.database.read() as session:
        return client_by_certificate(session, subject)


def _visitor(request: Request, rule: Rule) -> SignedIn:
    state = request.app.state
    token = request.cookies.get(session_cookie_name(state.settings))
    if not token:
        raise UnauthenticatedError("Sign in first.")
    with state.database.read() as session:
        found = find_session(session, token, idle_minutes=state.settings.session_idle_minutes)
    if found.stage not in rule.stages:
        raise UnauthenticatedError("Finish signing in first.")
    if found.is_to_be_noted:
        with state.database.write() as session:
            note_use(session, found.session_id)
    return found


def _count(request: Request, rule: Rule, route: _Route) -> None:
    """Count the request against its caller's limit.

    Raises:
        TooManyRequestsError: There were too many.
    """
    limits: RateLimits = request.app.state.rate_limits
    actor = getattr(request.state, "actor", None)
    if actor is not None:
        limits.admit(actor)
    else:
        limits.admit_stranger(request.state.address, rule, route.path)


async def _refuse(request: Request, error: ServiceError, receive: Receive, send: Send) -> None:
    """Answer, and close the connection if there is a body that nobody will read, or it is one too many."""
    if error.status >= 500:
        log.warning("problem", code=error.code, detail=error.detail)
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if not has_body:
        crowded = request.scope.get("state", {}).get(CROWDED)
        headers = {"Connection": "close"} if crowded else None
        await as_problem(request, error, headers=headers)(request.scope, receive, send)
        return

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)
            return
        await send({**message, "more_body": True})
        await _drop(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    await as_problem(request, error)(request.scope, receive, send_and_close)


async def _drop(receive: Receive) -> None:
    dropped = 0
    try:
        async with asyncio.timeout(DROP_S):
            while dropped < DROPPED_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _recording(request: Request, route: _Route, send: Send) -> Send:
    """Return a `send` that puts a refusal by the service on record before the answer goes out."""

    async def send_recorded(message: Message) -> None:
        error = getattr(request.state, "refusal", None)
        if message["type"] == "http.response.start" and error is not None:
            await _put_on_record(request, route, error)
        await send(message)

    return send_recorded


async def _put_on_record(request: Request, route: _Route, error: ServiceError) -> None:
    if not isinstance(error, ForbiddenError | ForeignDivisionError | UnauthenticatedError):
        return
    actor: Actor = getattr(request.state, "actor", UNKNOWN_VISITOR)
    if isinstance(error, UnauthenticatedError) and not _is_news(request):
        return
    try:
        await run_in_threadpool(_record, request, route, actor, error)
    except ServiceError as away:
        log.warning("refusal-not-recorded", code=away.code)


def _is_news(request: Request) -> bool:
    """Tell whether a refused key goes on record: whoever keeps trying must not fill the audit trail."""
    if not getattr(request.state, "has_sent_key", False):
        return False
    throttle: FailureThrottle = request.app.state.key_throttle
    address = request.state.address
    if throttle.is_blocked(address):
        return throttle.note_refusal(address)
    throttle.note_failure(address)
    return True


def _record(request: Request, route: _Route, actor: Actor, error: ServiceError) -> None:
    subject = next((f"{name.removesuffix('_id')}:{value}"[:160] for name, value in route.names.items()), None)
    result = "foreign-division" if isinstance(error, ForeignDivisionError) else error.code
    with request.app.state.database.write() as session:
        record(
            session,
            AuditKind.ACCESS_REFUSED,
            actor=actor,
            subject=subject,
            result=result,
            method=request.method,
            route=route.path,
            address=request.state.address,
        )
