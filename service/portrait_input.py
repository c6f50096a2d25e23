"""Portraits as they come over the wire."""

import base64
import binascii

from service.errors import InvalidRequestError


def decode_base64(text: str, field: str) -> bytes:
    """Decode a portrait; line breaks, which many encoders insert, are allowed.

    Args:
        text: Standard base64 with padding.
        field: Name of the field, for the message.

    Raises:
        InvalidRequestError: Anything else; `errors` names the field and the remedy.
    """
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        message = "is not base64"
        remedy = (
            "send the picture file's bytes in standard base64 (RFC 4648, section 4), without a data: prefix"
        )
        raise InvalidRequestError(
            f"{field} {message}.", errors=[{"field": field, "message": message, "remedy": remedy}]
        ) from None
