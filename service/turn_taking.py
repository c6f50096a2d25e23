"""Has requests that need the engine wait for their turn, between their body and the work. Plain ASGI."""

import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import OverloadedError
from service.part_times import timed
from service.turnstile import ADDRESSES, Turnstile

COMING = "came_to_turnstile"
"""Marks in a request's state that it has to take its turn: when it came, in monotonic seconds."""


def announce(scope: Scope, route: str) -> None:
    """Refuse a request early that would not get its turn in time, else note when it came.

    Args:
        scope: The request's.
        route: Template of the route that it will meet.

    Raises:
        OverloadedError: Too many are waiting.
    """
    if (scope["method"], route) in ADDRESSES:
        turnstile: Turnstile = scope["app"].state.turnstile
        turnstile.judge()
        scope.setdefault("state", {})[COMING] = time.monotonic()


class TurnTaking:
    """Hands the end of a body on only when the request has its turn, which ends when its answer begins.

    So a slow sender takes nobody's turn, nor does a slow reader; and whoever goes away while waiting is not
    worked for.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        came = scope.get("state", {}).get(COMING)
        if scope["type"] != "http" or came is None:
            await self._app(scope, receive, send)
            return
        turn = _Turn(scope["app"].state.turnstile, receive, send, admitted_s=time.monotonic() - came)
        try:
            await self._app(scope, turn.receive, turn.send)
        finally:
            turn.end()


class _Turn:
    """One request on its way to its turn and through it."""

    def __init__(self, turnstile: Turnstile, receive: Receive, send: Send, *, admitted_s: float) -> None:
        self._turnstile = turnstile
        self._receive = receive
        self._send = send
        self._admitted_s = admitted_s
        self._has_come = False
        self._is_held = False

    async def receive(self) -> Message:
        """Hand on the next piece of the body, the last one when the turn has come.

        Raises:
            HTTPException: 503; this class, because FastAPI would take any other for a fault of the body.
        """
        message = await self._receive()
        if message["type"] != "http.request" or message.get("more_body", False) or self._has_come:
            return message
        self._has_come = True
        try:
            with timed("wait"):
                self._is_held = await self._turnstile.enter(self._gone, waited_s=self._admitted_s)
        except OverloadedError as error:
            raise HTTPException(503, headers={"Retry-After": str(error.retry_after_s)}) from error
        return message if self._is_held else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.end()
        await self._send(message)

    def end(self) -> None:
        """End the turn, if there is one."""
        if self._is_held:
            self._is_held = False
            self._turnstile.leave()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
