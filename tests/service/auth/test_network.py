"""Where a request comes from."""

import pytest

from service.auth.network import caller_address, networks
from service.errors import SettingsError


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.5", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.5", "203.0.113.9, 198.51.100.7, 10.0.0.6", "198.51.100.7"),
        ("10.0.0.5", "nonsense", "10.0.0.5"),
        ("10.0.0.5", None, "10.0.0.5"),
        (None, "198.51.100.7", "unknown"),
    ],
)
def test_address_is_the_last_that_no_trusted_proxy_has(
    peer: str | None, forwarded: str | None, found: str
) -> None:
    assert caller_address(peer, forwarded, networks(frozenset({"10.0.0.0/24"}))) == found


def test_networks_that_are_none_are_told() -> None:
    with pytest.raises(SettingsError, match="ONEPERSON_TRUSTED_PROXIES"):
        networks(frozenset({"everybody"}))
