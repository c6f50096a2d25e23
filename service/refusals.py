"""Refusals told in the caller's language: which text of the catalogue, and what fills it.

A rule that refuses knows neither request nor language. It names a text `refusal.<key>`; `service.problems`
and the pages say it to whoever asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.language import translate


@dataclass(frozen=True, slots=True)
class Word:
    """A value that is itself a text of the catalogue, such as `state.cleared`."""

    key: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was refused.

    Attributes:
        key: Names the text `refusal.<key>`; for a fault of a field, `.message` and `.remedy` of it.
        values: Fill the `{names}` in the text.
        field: The field of the request at fault, if one is.
    """

    key: str
    values: Mapping[str, object] = field(default_factory=dict)
    field: str | None = None

    def detail(self, language: str) -> str:
        """Return the whole as one sentence, free of personal data."""
        if self.field is None:
            return translate(language, f"refusal.{self.key}", **self._filled(language))
        told = self.fault(language)
        return translate(language, "refusal.fault", **told)

    def fault(self, language: str) -> dict[str, str]:
        """Return field, message and remedy, as problem documents list them."""
        values = self._filled(language)
        parts = {
            part: translate(language, f"refusal.{self.key}.{part}", **values)
            for part in ("message", "remedy")
        }
        return {"field": self.field or "", **parts}

    def _filled(self, language: str) -> dict[str, object]:
        return {
            name: translate(language, value.key) if isinstance(value, Word) else value
            for name, value in self.values.items()
        }
