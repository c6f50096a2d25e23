"""Who is called with notices: read from the operator's file, and held against the allow-list."""

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from service.errors import SettingsError

LEAST_SECRET = 32
"""Characters of a secret: RFC 2104 advises a key of at least the hash's 32 bytes."""

MOST_SECRETS = 2
"""The present one, and the one before it while the receiver changes over."""

PORTS = {"https": 443, "http": 80}


class TargetEntry(BaseModel):
    """One `[[target]]` of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    url: Annotated[str, StringConstraints(max_length=500)]
    secrets: list[SecretStr] = Field(min_length=1, max_length=MOST_SECRETS)
    recipients: list[Annotated[str, StringConstraints(pattern=r"^(population-system|[0-9]{2,12})$")]] = Field(
        default_factory=list
    )
    ca_file: Path | None = None


class TargetFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: list[TargetEntry] = Field(default_factory=list, max_length=100)


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver of notices.

    Attributes:
        name: As pages, figures and the log call it.
        url: Where notices are posted.
        secrets: One or two; each signs, so that a receiver may change over at its own time.
        recipients: Only notices to these: `population-system` or the beginning of a division code; none: all.
        ca_file: Certificates that are trusted instead of the system's.
    """

    name: str
    url: str
    secrets: tuple[SecretStr, ...]
    recipients: tuple[str, ...] = ()
    ca_file: Path | None = None


Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AllowList:
    """Where notices may go at all.

    Attributes:
        origins: Scheme, host and port, as `origin_of` writes them.
        private: Networks that are not public and may be called nevertheless.
    """

    origins: frozenset[str] = frozenset()
    private: tuple[Network, ...] = ()


def allow_list(origins: Collection[str], private: Collection[str]) -> AllowList:
    """Read the two settings.

    Raises:
        SettingsError: One is not an origin, or not a network.
    """
    networks = []
    for text in sorted(private):
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise SettingsError(f"ONEPERSON_WEBHOOK_PRIVATE: {text} is not a network ({error})") from None
    found = set()
    for text in origins:
        parts = _split(text)
        if parts is None or parts.path not in ("", "/") or parts.query:
            raise SettingsError(
                f"ONEPERSON_WEBHOOK_ALLOWED: {text} is not an origin; write https://HOST or https://HOST:PORT"
            )
        found.add(origin_of(text))
    return AllowList(frozenset(found), tuple(networks))


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, in one spelling (RFC 6454, section 6.2).

    Raises:
        ValueError: It has none.
    """
    parts = _split(url)
    if parts is None:
        raise ValueError("not an address that can be called")
    host = str(parts.hostname)
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{parts.port or PORTS[parts.scheme]}"


def load_targets(path: Path | None, allowed: AllowList) -> tuple[Target, ...]:
    """Read the targets; without a file there are none.

    Raises:
        SettingsError: The file cannot be read, has another form, or names a target that is not allowed.
    """
    if path is None:
        return ()
    try:
        entries = TargetFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).target
    except OSError as error:
        raise SettingsError(f"ONEPERSON_WEBHOOKS_FILE: {path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"ONEPERSON_WEBHOOKS_FILE: {path} is not TOML ({error})") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"ONEPERSON_WEBHOOKS_FILE: {path}: {faults}") from None
    targets = tuple(_target(entry, allowed) for entry in entries)
    if len({target.name for target in targets}) < len(targets):
        raise SettingsError("ONEPERSON_WEBHOOKS_FILE: two targets have one name")
    return targets


def _target(entry: TargetEntry, allowed: AllowList) -> Target:
    def refuse(why: str) -> SettingsError:
        return SettingsError(f"ONEPERSON_WEBHOOKS_FILE: target {entry.name}: {why}")

    if _split(entry.url) is None:
        raise refuse("url must be https://HOST/PATH or http://HOST/PATH, without a user name or fragment")
    if origin_of(entry.url) not in allowed.origins:
        raise refuse(f"{origin_of(entry.url)} is not in ONEPERSON_WEBHOOK_ALLOWED")
    if any(len(secret.get_secret_value()) < LEAST_SECRET for secret in entry.secrets):
        raise refuse(
            f"a secret needs at least {LEAST_SECRET} characters, such as 'openssl rand -hex 32' gives"
        )
    if entry.ca_file is not None and not entry.ca_file.is_file():
        raise refuse(f"ca_file {entry.ca_file} is not a file")
    return Target(entry.name, entry.url, tuple(entry.secrets), tuple(entry.recipients), entry.ca_file)


def _split(url: str) -> SplitResult | None:
    """Take an address apart, unless it is one that different readers would read differently."""
    if re.search(r"[\x00-\x20\x7f\\]", url) or not url.isascii():
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    plain = parts.username is None and parts.password is None and not parts.fragment
    usable = parts.scheme in PORTS and bool(parts.hostname) and port != 0
    return parts if plain and usable else None
