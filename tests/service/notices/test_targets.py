"""Which targets are taken from the file, which are refused at the start, and where they may lead."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.notices.sending import AddressRefusedError, checked_address
from service.notices.targets import allow_list, load_targets, origin_of

SECRET = "0123456789abcdef0123456789abcdef"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def made(url: str = "https://population.example/notices", **fields: str) -> Path:
        path = tmp_path / "webhooks.toml"
        told = {"name": '"population"', "secrets": f'["{SECRET}"]', "url": f'"{url}"'} | fields
        path.write_text("[[target]]\n" + "".join(f"{name} = {value}\n" for name, value in told.items()))
        return path

    return made


ALLOWED = allow_list({"https://population.example"}, {"10.1.0.0/16"})


def test_a_target_on_the_list_is_taken(write: Write) -> None:
    (target,) = load_targets(write(recipients='["population-system", "5303"]'), ALLOWED)
    assert (target.name, target.recipients) == ("population", ("population-system", "5303"))
    assert SECRET not in repr(target)
    assert load_targets(None, ALLOWED) == ()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://elsewhere.example/notices", "not in ONEPERSON_WEBHOOK_ALLOWED"),
        ("https://population.example.evil.example/", "not in ONEPERSON_WEBHOOK_ALLOWED"),
        ("https://population.example:444/", "not in ONEPERSON_WEBHOOK_ALLOWED"),
        ("http://population.example/", "not in ONEPERSON_WEBHOOK_ALLOWED"),
        ("https://population.example@evil.example/", "url must be"),
        ("https://population.example\\\\@evil.example/", "url must be"),
        ("file:///etc/passwd", "url must be"),
        ("https://population.example:99999/", "url must be"),
        ("https:///notices", "url must be"),
    ],
)
def test_addresses_that_are_not_allowed_stop_the_start(write: Write, url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        load_targets(write(url), ALLOWED)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"secrets": '["short"]'}, "at least 32"),
        ({"secrets": "[]"}, "secrets"),
        ({"secrets": f'["{SECRET}", "{SECRET}", "{SECRET}"]'}, "secrets"),
        ({"name": '"Population!"'}, "name"),
        ({"recipients": '["everybody"]'}, "recipients"),
        ({"ca_file": '"/nowhere.pem"'}, "not a file"),
        ({"retries": "3"}, "retries"),
    ],
)
def test_malformed_targets_are_named_without_their_secrets(
    write: Write, fields: dict[str, str], why: str
) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        load_targets(write(**fields), ALLOWED)
    assert SECRET not in str(refused.value)


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_targets(tmp_path / "missing.toml", ALLOWED)
    broken = tmp_path / "broken.toml"
    broken.write_text("[[target")
    with pytest.raises(SettingsError, match="not TOML"):
        load_targets(broken, ALLOWED)


def test_origins_have_one_spelling() -> None:
    assert origin_of("HTTPS://Population.Example/x?y") == "https://population.example:443"
    assert origin_of("http://[::1]:8080/") == "http://[::1]:8080"
    with pytest.raises(SettingsError, match="not an origin"):
        allow_list({"https://population.example/path"}, set())
    with pytest.raises(SettingsError, match="not a network"):
        allow_list(set(), {"10.0.0.1/8"})


@pytest.mark.parametrize(
    ("address", "called"),
    [
        *(
            ("8.8.8.8", True),
            ("2001:4860:4860::8888", True),
            ("::ffff:8.8.8.8", True),
            ("64:ff9b::808:808", True),
        ),
        *(("127.0.0.1", False), ("10.0.0.1", False), ("169.254.169.254", False), ("0.0.0.0", False)),
        *(("::1", False), ("::", False), ("fe80::1", False), ("fc00::1", False), ("fec0::1", False)),
        *(
            ("::ffff:10.0.0.1", False),
            ("64:ff9b::a00:1", False),
            ("2002:a00:1::", False),
            ("::10.0.0.1", False),
        ),
        *(
            ("10.20.30.4", True),
            ("::ffff:10.20.30.4", True),
            ("64:ff9b::a14:1e04", True),
            ("fd00:5::1", True),
        ),
        *(("224.0.0.1", False), ("ff02::1", False), ("10.20.31.4", False), ("fd00:6::1", False)),
    ],
)
def test_an_address_is_called_only_if_it_leads_to_the_public_or_to_a_listed_network(
    address: str, called: bool
) -> None:
    listed = allow_list((), ("10.20.30.0/24", "fd00:5::/32")).private
    asked = checked_address(address, 443, listed)
    if called:
        assert str(asyncio.run(asked)) == str(ip_address(address))
    else:
        with pytest.raises(AddressRefusedError):
            asyncio.run(asked)
