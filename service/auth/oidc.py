"""Signing in at an OpenID Connect provider: authorization code flow with PKCE, state and nonce.

Sources: OpenID Connect Core 1.0 sections 3.1.2 and 3.1.3.7, Discovery 1.0, RP-Initiated Logout 1.0; RFC 7636
(PKCE); RFC 9700 (security of OAuth 2.0).
"""

import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from service.errors import SettingsError
from service.settings import Settings

TIMEOUT_S = 5.0
"""Seconds for each request to the provider: an officer is waiting."""

KNOWN_FOR_S = 3600.0
"""Seconds that the provider's metadata and keys are kept; keys are read again at once when one is unknown."""

LEEWAY_S = 60
"""Seconds that the two clocks may differ."""

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Signatures that are taken: asymmetric ones only, and never one that the token itself chooses."""

CALLBACK = "/sign-in/oidc/callback"

HTTP_ERROR: type[Exception] = import_module(
    next(base for base in OAuth2Client.__mro__ if base.__name__ == "Client").__module__.partition(".")[0]
).HTTPError
"""What Authlib's client raises: it builds on httpx2 where that is installed, and on httpx elsewhere."""

log = structlog.get_logger(__name__)


class ProviderAwayError(Exception):
    """The provider does not answer, or not as a provider does; local accounts still sign in."""


class ProviderRefusedError(Exception):
    """What came back is not a valid proof of identity; `reason` is for the record."""

    def __init__(self, reason: str) -> None:
        """Keep the reason, free of personal data."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a browser has to bring back, kept in a cookie of its own.

    Attributes:
        state: Binds the answer to the browser that asked.
        nonce: Binds the identity token to this attempt.
        verifier: Proves to the provider that whoever asked redeems the code (RFC 7636).
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @classmethod
    def fresh(cls) -> "Attempt":
        """Make one of random values: 256 bits and more; the verifier has RFC 7636's 43 to 128 characters."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))

    def as_text(self) -> str:
        """Return the form for the cookie."""
        return ".".join((self.state, self.nonce, self.verifier))

    @classmethod
    def from_text(cls, text: str | None) -> "Attempt | None":
        """Read the cookie; None if it is none of ours."""
        parts = (text or "").split(".")
        return cls(*parts) if len(parts) == 3 and all(parts) else None


class Provider:
    """One provider; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; nothing is asked yet.

        Raises:
            SettingsError: The settings do not go together.
        """
        self._settings = settings
        self._issuer = (settings.oidc_issuer or "").rstrip("/")
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any], KeySet] | None = None
        if settings.oidc_issuer is not None:
            _require_complete(settings)

    def address_of(self, attempt: Attempt) -> str:
        """Return where a browser goes to sign in.

        Raises:
            ProviderAwayError: The provider does not answer.
        """
        with self._client() as client:
            address, _state = client.create_authorization_url(
                self._metadata()["authorization_endpoint"],
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        return str(address)

    def identity(self, attempt: Attempt | None, query: Mapping[str, str]) -> dict[str, Any]:
        """Redeem what a browser brought back, and return the verified claims.

        Args:
            attempt: From the browser's cookie.
            query: Of the callback.

        Raises:
            ProviderRefusedError: Any part of the proof does not hold.
            ProviderAwayError: The provider does not answer.
        """
        if attempt is None or not hmac.compare_digest(
            query.get("state", "").encode(), attempt.state.encode()
        ):
            raise ProviderRefusedError("state")
        if query.get("iss") not in (None, self._settings.oidc_issuer, self._issuer):
            raise ProviderRefusedError("issuer")  # RFC 9207: another provider's answer.
        if not query.get("code"):
            raise ProviderRefusedError("provider-refused")
        token = self._redeemed(query["code"], attempt)
        return self._verified(str(token.get("id_token", "")), attempt)

    def logout_address(self) -> str | None:
        """Return where a browser signs out of the provider, None if it offers no such place or is away."""
        try:
            place = self._metadata().get("end_session_endpoint")
        except ProviderAwayError:
            return None
        if not place:
            return None
        back = f"{self._settings.public_url.rstrip('/')}/sign-in"
        asked = urlencode({"client_id": self._settings.oidc_client_id, "post_logout_redirect_uri": back})
        return f"{place}{'&' if urlsplit(place).query else '?'}{asked}"

    def _redeemed(self, code: str, attempt: Attempt) -> dict[str, Any]:
        endpoint = self._metadata()["token_endpoint"]
        try:
            with self._client() as client:
                token: dict[str, Any] = client.fetch_token(
                    endpoint, code=code, code_verifier=attempt.verifier
                )
        except OAuthError:
            raise ProviderRefusedError("code") from None
        except (httpx.HTTPError, HTTP_ERROR, ValueError) as error:
            raise _away(error) from None
        return token

    def _verified(self, text: str, attempt: Attempt) -> dict[str, Any]:
        try:
            token = self._decoded(text)
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self._metadata()["issuer"]},
                    "aud": {"essential": True, "value": self._settings.oidc_client_id},
                },
                params={"nonce": attempt.nonce, "client_id": self._settings.oidc_client_id},
            )
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError) as error:
            log.warning(
                "oidc-token-refused", reason=type(error).__name__, claim=getattr(error, "claim", None)
            )
            raise ProviderRefusedError("token") from None
        return dict(claims)

    def _decoded(self, text: str) -> jwt.Token:
        try:
            return jwt.decode(text, self._keys(), algorithms=list(ALGORITHMS))
        except (JoseError, ValueError):
            self._forget()  # The provider may have changed its keys since they were read.
            return jwt.decode(text, self._keys(), algorithms=list(ALGORITHMS))

    def _client(self) -> OAuth2Client:
        secret = self._settings.oidc_client_secret
        return OAuth2Client(
            client_id=self._settings.oidc_client_id,
            client_secret=secret.get_secret_value() if secret is not None else None,
            token_endpoint_auth_method="client_secret_basic" if secret is not None else "none",
            scope=self._settings.oidc_scopes,
            redirect_uri=self._settings.public_url.rstrip("/") + CALLBACK,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def _metadata(self) -> dict[str, Any]:
        return self._read()[1]

    def _keys(self) -> KeySet:
        return self._read()[2]

    def _forget(self) -> None:
        with self._lock:
            self._known = None

    def _read(self) -> tuple[float, dict[str, Any], KeySet]:
        with self._lock:
            known = self._known
            if known is None or time.monotonic() - known[0] > KNOWN_FOR_S:
                known = self._known = self._discovered()
            return known

    def _discovered(self) -> tuple[float, dict[str, Any], KeySet]:
        try:
            with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as http:
                found = http.get(f"{self._issuer}/.well-known/openid-configuration").raise_for_status().json()
                if str(found["issuer"]).rstrip("/") != self._issuer:
                    raise ValueError("another issuer")
                for place in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    _require_safe(str(found[place]))
                keys = KeySet.import_key_set(http.get(found["jwks_uri"]).raise_for_status().json())
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
            raise _away(error) from None
        return time.monotonic(), found, keys


def _away(error: Exception) -> ProviderAwayError:
    log.warning("oidc-provider-away", reason=type(error).__name__)
    return ProviderAwayError(type(error).__name__)


def _require_safe(address: str) -> None:
    """Refuse addresses over which a stranger could read or answer.

    Raises:
        ValueError: Neither https nor this very machine.
    """
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"{parts.scheme}://{parts.hostname} is not https")


def _require_complete(settings: Settings) -> None:
    try:
        _require_safe(settings.oidc_issuer or "")
    except ValueError as error:
        raise SettingsError(f"ONEPERSON_OIDC_ISSUER: {error}") from None
    if not settings.oidc_client_id:
        raise SettingsError(
            "ONEPERSON_OIDC_CLIENT_ID is missing: the provider's client id for this installation"
        )
    if settings.oidc_provision and not (settings.oidc_role_claim and settings.oidc_division_claim):
        raise SettingsError(
            "ONEPERSON_OIDC_PROVISION needs ONEPERSON_OIDC_ROLE_CLAIM and ONEPERSON_OIDC_DIVISION_CLAIM"
        )
    if settings.oidc_role_claim and not settings.oidc_roles:
        raise SettingsError("ONEPERSON_OIDC_ROLES is missing: which role each value of the role claim gives")
