"""HTTP connections that cannot be held open or flooded before a request has begun."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS = 1000
"""Requests on further ones are marked, and refused by `service.gate`: far more than can be served."""

CROWDED = "connection_is_one_too_many"
"""The mark, in the request's state. uvicorn's own limit would answer without a word when to try again."""

HEAD_BYTES = 64 * 1024
"""Longest head of a request; the usual limit of servers is 8 to 64 KiB."""

HEAD_TIMEOUT_S = 15.0
"""Seconds in which the head of a request must arrive once the connection stands or the first byte came."""


class GuardedConnection(HttpToolsProtocol):
    """uvicorn's protocol with the limits that it lacks: length and time of a head, and a word on too many."""

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._head_has_ended()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and close when a head goes on for too long."""
        super().data_received(data)
        if self._deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._give_up()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Stop waiting: from here on the application limits the body."""
        self._head_has_ended()
        if len(self.connections) > MAX_CONNECTIONS:
            self.scope["state"][CROWDED] = True
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._deadline is None:
            self._head_bytes = 0
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _head_has_ended(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._head_has_ended()
        if not self.transport.is_closing():
            self.logger.warning(
                "A connection was closed: its request's head came too slowly or was too long."
            )
            self.transport.close()
