"""Sends one notice to one target: to an address that was checked, and to nobody who it is passed on to."""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Self
from uuid import UUID

import httpx

from service.notices.signing import signed_headers
from service.notices.targets import AllowList, Network, Target, origin_of

MOST_ANSWER_BYTES = 64 * 1024
"""Bytes of an answer's body that are read, and dropped: the status says all, and reading on lets a
connection be used again. What is longer is cut off."""

OUTCOMES = ("redirect", "timeout", "connection", "tls", "name", "address", "not-allowed")
"""Codes of outcomes other than `http-<status>`."""

Address = IPv4Address | IPv6Address

EMBEDDING = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
"""Networks whose addresses end with one of version 4, to which they lead: through a translator, and as it was
written once. Source: RFC 6052, section 2.1; RFC 4291, section 2.5.5.1."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One notice ready for one target.

    Attributes:
        delivery_id: Names the delivery.
        event_id: The notice's id.
        body: JSON.
    """

    delivery_id: int
    event_id: UUID
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended.

    Attributes:
        delivered: Whether the target took the notice.
        code: `http-<status>`, or one of `OUTCOMES`.
        wait_s: Seconds that the target asks to be left alone, if it does.
    """

    delivered: bool
    code: str
    wait_s: float | None = None


class AddressRefusedError(Exception):
    """The host's name leads to an address that may not be called."""


class Sender:
    """Sends to one target; used within one event loop, and closed with it."""

    def __init__(self, target: Target, allowed: AllowList, *, timeout_s: float) -> None:
        """Connect to nothing yet.

        Args:
            target: Who is called.
            allowed: Where notices may go.
            timeout_s: Seconds for one attempt, from the look-up of the name to the end of the answer.
        """
        self._target = target
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            verify=_trust(target.ca_file) if target.url.startswith("https:") else False,
            follow_redirects=False,
            trust_env=False,  # A proxy or .netrc of the machine has no business here.
            timeout=timeout_s,
        )

    async def __aenter__(self) -> Self:
        """Give itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, parcel: Parcel) -> Outcome:
        """Post one notice; whatever happens is an outcome."""
        if origin_of(self._target.url) not in self._allowed.origins:
            return Outcome(delivered=False, code="not-allowed")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(parcel)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(delivered=False, code="timeout")
        except socket.gaierror:
            return Outcome(delivered=False, code="name")
        except AddressRefusedError:
            return Outcome(delivered=False, code="address")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Outcome(delivered=False, code="tls" if _is_tls(error) else "connection")

    async def _post(self, parcel: Parcel) -> Outcome:
        url = httpx.URL(self._target.url)
        address = await checked_address(
            url.host, url.port or (443 if url.scheme == "https" else 80), self._allowed.private
        )
        headers = signed_headers(
            str(parcel.event_id), parcel.body, secrets=self._target.secrets, timestamp=int(time.time())
        )
        # The request goes to the address that was checked: looking the name up again could give another.
        request = self._client.build_request(
            "POST",
            url.copy_with(host=str(address)),
            content=parcel.body,
            headers=headers | {"Host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.host},
        )
        answer = await self._client.send(request, stream=True)
        try:
            outcome = _judged(answer)
            await _drain(answer)
        except (httpx.HTTPError, TimeoutError):
            return outcome  # The status had come; what follows it does not matter.
        finally:
            await answer.aclose()
        return outcome


async def checked_address(host: str, port: int, private: Sequence[Network]) -> Address:
    """Look a name up once, and return an address that may be called.

    Raises:
        AddressRefusedError: One of its addresses is neither public nor in a network that was listed; a name
            that leads to both is somebody's attempt to have us call inside.
        socket.gaierror: The name is not known.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ip_address(str(entry[4][0]).split("%", 1)[0]) for entry in found]
    if not addresses or not all(_may_be_called(address, private) for address in addresses):
        raise AddressRefusedError
    return addresses[0]


def _may_be_called(address: Address, private: Sequence[Network]) -> bool:
    plain = _reached(address)
    if any(
        one in network for network in private for one in (address, plain) if one.version == network.version
    ):
        return True
    return _is_public(plain)


def _reached(address: Address) -> Address:
    """Return the address of version 4 to which one of version 6 leads, or the address itself."""
    if not isinstance(address, IPv6Address) or address.is_loopback or address.is_unspecified:
        return address
    if any(address in network for network in EMBEDDING):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    site = isinstance(address, IPv6Address) and address.is_site_local
    return address.is_global and not address.is_multicast and not site


def _judged(answer: httpx.Response) -> Outcome:
    if answer.is_success:
        return Outcome(delivered=True, code=f"http-{answer.status_code}")
    if answer.is_redirect or 300 <= answer.status_code < 400:
        return Outcome(delivered=False, code="redirect")
    return Outcome(delivered=False, code=f"http-{answer.status_code}", wait_s=_retry_after(answer))


def _retry_after(answer: httpx.Response) -> float | None:
    """Read the header `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date."""
    told = answer.headers.get("retry-after", "").strip()
    if not told:
        return None
    if told.isascii() and told.isdigit():
        return float(told[:9])
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


async def _drain(answer: httpx.Response) -> None:
    seen = 0
    async for chunk in answer.aiter_raw():
        seen += len(chunk)
        if seen > MOST_ANSWER_BYTES:
            return


def _is_tls(error: BaseException) -> bool:
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ssl.SSLError):
            return True
        at = at.__cause__ or at.__context__
    return False


@cache
def _trust(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
