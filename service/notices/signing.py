"""Signs what is sent, so that a receiver can tell who sent it, when, and that nothing was changed."""

import hashlib
import hmac
from collections.abc import Iterable

from pydantic import SecretStr

EVENT_HEADER = "OnePerson-Event-Id"
"""The notice's id: the same however often it is delivered."""

TIMESTAMP_HEADER = "OnePerson-Timestamp"
"""Seconds since 1970 at which this attempt was signed."""

SIGNATURE_HEADER = "OnePerson-Signature"
"""`v1=` and a signature in hex, for each valid secret, joined by commas."""

TOLERANCE_S = 300
"""Seconds by which a receiver lets the time stamp differ from its clock, as docs/integration.md advises.
Five minutes are what Stripe's and Slack's webhooks and the Standard Webhooks specification use."""


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return HMAC-SHA256 (RFC 2104) over the time stamp in decimals, a full stop, and the body; in hex."""
    return hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def signed_headers(
    event_id: str, body: bytes, *, secrets: Iterable[SecretStr], timestamp: int
) -> dict[str, str]:
    """Return the headers that go with a body."""
    signatures = [
        f"v1={signature(secret.get_secret_value().encode(), timestamp, body)}" for secret in secrets
    ]
    return {
        EVENT_HEADER: event_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: ",".join(signatures),
        "Content-Type": "application/json",
        "User-Agent": "OnePerson",
    }
