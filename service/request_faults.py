"""What is wrong with a request's fields, in the caller's language and without repeating their values."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.language import translate

KINDS = {
    "missing": "missing",
    "extra_forbidden": "unknown-field",
    "json_invalid": "not-json",
    "enum": "choice",
    "literal_error": "choice",
    "string_too_short": "too-short",
    "too_short": "too-short",
    "bytes_too_short": "too-short",
    "string_too_long": "too-long",
    "too_long": "too-long",
    "bytes_too_long": "too-long",
    "string_pattern_mismatch": "pattern",
    "greater_than": "too-small",
    "greater_than_equal": "too-small",
    "less_than": "too-large",
    "less_than_equal": "too-large",
}
"""Pydantic's error types that have words of their own; further ones go by `FAMILIES`.

Source: the error list of pydantic-core (`pydantic_core.core_schema.ErrorType`).
"""

FAMILIES = {
    "string_": "text",
    "int_": "integer",
    "float_": "number",
    "finite_": "number",
    "decimal_": "number",
    "bool_": "boolean",
    "datetime_": "time",
    "timezone_": "time",
    "date_": "date",
    "uuid_": "uuid",
    "list_": "list",
    "model_": "object",
    "dict_": "object",
    "mapping_": "object",
    "dataclass_": "object",
}

LOCATIONS = frozenset({"body", "query", "path", "header", "cookie"})

LONGEST_NAME = 64
"""Characters of an unknown field's name that are repeated: enough to find it."""


def field_faults(errors: Sequence[Mapping[str, Any]], language: str) -> list[dict[str, str]]:
    """Turn validation errors into field, message and remedy.

    Args:
        errors: As pydantic lists them.
        language: Of the message and the remedy.
    """
    return [_fault(error, language) for error in errors]


def unstorable(language: str) -> list[dict[str, str]]:
    """Return the fault of a value that no check foresaw and the database refused."""
    return [{"field": "body", **_words("unstorable", language, {})}]


def _fault(error: Mapping[str, Any], language: str) -> dict[str, str]:
    context = error.get("ctx") or {}
    words = _words(_kind(str(error["type"])), language, context)
    if error["type"] == "value_error":  # Raised by a validator of ours: its words are safe to show.
        words["message"] = str(context.get("error", words["message"]))
    return {"field": field_name(error["loc"], json_invalid=error["type"] == "json_invalid"), **words}


def field_name(location: Sequence[str | int], *, json_invalid: bool = False) -> str:
    """Return where a fault lies, as `portraits[0].image`, or `body` for the whole.

    Args:
        location: Pydantic's `loc`.
        json_invalid: Whether the location is an offset in a body that is no JSON.
    """
    parts = location[1:] if location and location[0] in LOCATIONS else location
    if json_invalid or not parts:
        return str(location[0]) if location else "body"
    name = ""
    for part in parts:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            shown = part if len(part) <= LONGEST_NAME else f"{part[:LONGEST_NAME]}…"
            name += f".{shown}" if name else shown
    return name


def _kind(error_type: str) -> str:
    if error_type in KINDS:
        return KINDS[error_type]
    return next((kind for start, kind in FAMILIES.items() if error_type.startswith(start)), "other")


def _words(kind: str, language: str, context: Mapping[str, Any]) -> dict[str, str]:
    bound = next((context[name] for name in ("ge", "gt", "le", "lt") if name in context), "")
    values = {"expected": "", "min_length": "", "max_length": "", "pattern": "", "bound": bound}
    values |= {name: context[name] for name in values if name in context}
    return {part: translate(language, f"invalid.{kind}.{part}", **values) for part in ("message", "remedy")}
