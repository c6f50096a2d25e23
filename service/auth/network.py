"""Where a request comes from, when reverse proxies stand before the service."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from service.errors import SettingsError

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"


@lru_cache(maxsize=8)
def networks(written: frozenset[str]) -> tuple[Network, ...]:
    """Read networks as they are written in the settings.

    Raises:
        SettingsError: One of them is no network.
    """
    try:
        return tuple(ip_network(text, strict=False) for text in sorted(written))
    except ValueError as error:
        raise SettingsError(f"ONEPERSON_TRUSTED_PROXIES: {error}; write 10.0.0.5/32") from None


def is_trusted(address: str, proxies: Iterable[Network]) -> bool:
    """Tell whether an address is a trusted proxy's."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in proxies)


def caller_address(peer: str | None, forwarded: str | None, proxies: tuple[Network, ...]) -> str:
    """Return the address of whoever calls.

    Read from the right, because everything left of the last trusted proxy's own entry may be invented.

    Args:
        peer: Address of the connection.
        forwarded: The `X-Forwarded-For` header.
        proxies: Whose header is believed.
    """
    found = peer or UNKNOWN
    hops = [hop.strip() for hop in (forwarded or "").split(",") if hop.strip()]
    while hops and is_trusted(found, proxies):
        hop = hops.pop()
        try:
            found = str(ip_address(hop))
        except ValueError:
            return found
    return found
