"""Words in both languages, from the catalogues under `web/locale`."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

CATALOGUES = Path(__file__).parent / "web" / "locale"
LANGUAGES = ("zh-CN", "en")


class MissingTranslationError(LookupError):
    """A catalogue lacks a key, or its text lacks a value; a fault of ours, found by the tests."""


def translate(language: str, key: str, **values: object) -> str:
    """Return a text in a language.

    Args:
        language: One of `LANGUAGES`.
        key: Dotted path into the catalogue, such as `problem.not-found.title`.
        values: Fill the `{names}` in the text.

    Raises:
        MissingTranslationError: No such language, key or value.
    """
    try:
        text = catalogue(language)[key]
        return text.format(**values) if values else text
    except KeyError as error:
        raise MissingTranslationError(f"{language} lacks {error} for '{key}'") from None


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return all texts of a language by dotted key, gathered from its TOML files.

    Raises:
        MissingTranslationError: There is no such language.
        ValueError: Two files give the same key.
    """
    if language not in LANGUAGES:
        raise MissingTranslationError(f"there is no catalogue '{language}'")
    texts: dict[str, str] = {}
    for path in sorted((CATALOGUES / language).glob("*.toml")):
        for key, text in _flat(tomllib.loads(path.read_text(encoding="utf-8"))):
            if key in texts:
                raise ValueError(f"{path} repeats '{key}'")
            texts[key] = text
    return texts


def choose_language(accepted: str | None, default: str) -> str:
    """Choose among our languages what an `Accept-Language` header prefers.

    Every kind of Chinese counts as zh-CN and every kind of English as en; a
    header that names neither, or that cannot be read, gives the default.

    Args:
        accepted: The header's value, RFC 9110 section 12.5.4.
        default: One of `LANGUAGES`.
    """
    best, weight = default, 0.0
    for part in (accepted or "")[:500].split(","):
        tag, _, parameter = part.strip().partition(";")
        language = _ours(tag.strip().lower(), default)
        wanted = _weight(parameter)
        if language is not None and wanted > weight:
            best, weight = language, wanted
    return best


def _ours(tag: str, default: str) -> str | None:
    if tag == "*":
        return default
    return {"zh": "zh-CN", "en": "en"}.get(tag.split("-", maxsplit=1)[0])


def _weight(parameter: str) -> float:
    name, _, value = parameter.replace(" ", "").partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.lower() == "q" and float(value) <= 1 else 0.0
    except ValueError:
        return 0.0


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
