"""Code tables: data, not code, because provinces differ and standards are revised."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import SettingsError

DELIVERED = Path(__file__).parent / "codes.toml"


class Term(BaseModel):
    """One code's words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zh: str
    en: str

    def word(self, language: str) -> str:
        """Return the word in `zh-CN` or `en`."""
        return self.zh if language.startswith("zh") else self.en


class TransactionType(Term):
    """A kind of transaction, and whose must be checked; `nobody` also means that none may be."""

    check: Literal["flagged", "everyone", "nobody"]


class Codes(BaseModel):
    """All code tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transaction_types: dict[str, TransactionType] = Field(min_length=1)
    evidence_kinds: dict[str, Term] = Field(min_length=1)
    sexes: dict[str, Term]
    ethnicities: dict[str, Term]
    divisions: dict[str, Term]
    categories: dict[str, Term]


def load_codes(path: Path | None = None) -> Codes:
    """Read the code tables.

    Args:
        path: A file of the delivered form; None for the delivered one.

    Raises:
        SettingsError: The file cannot be read or has another form.
    """
    source = path or DELIVERED
    try:
        return Codes.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"ONEPERSON_CODES_FILE: {source} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise SettingsError(f"ONEPERSON_CODES_FILE: {source} is not a table of codes: {error}") from None
