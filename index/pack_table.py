"""One table of a pack's manifest, read strictly: every value is checked and every key must be known."""

import math
import re
from collections.abc import Mapping
from typing import cast

from index.errors import PackError

_LARGEST = 1e15
"""Larger numbers are refused before they are compared: no constant of a model is nearly as large."""


class Table:
    """One table of the document, from which keys are taken until none is left.

    Whatever is wrong is a `PackError` that names the place, the key and the remedy.
    """

    def __init__(self, values: object, place: str) -> None:
        """Keep a copy of the table.

        Args:
            values: What TOML has there; anything but a table is refused.
            place: File and table, for messages.
        """
        if not isinstance(values, dict):
            raise PackError(f"{place}: must be a table")
        self._values = dict(cast(Mapping[str, object], values))
        self.place = place

    def wrong(self, key: str, remedy: str) -> PackError:
        """Make the error of a key, for the caller to raise."""
        return PackError(f"{self.place}: '{key}' {remedy}")

    def take(self, key: str, default: object = None) -> object:
        """Take a value of any kind; a key without a default must be there."""
        if key in self._values:
            return self._values.pop(key)
        if default is None:
            raise self.wrong(key, "is missing; add it")
        return default

    def text(self, key: str, default: str | None = None, *, pattern: re.Pattern[str] | None = None) -> str:
        """Take one line of text; it may only be empty where there is a default."""
        value = self.take(key, default)
        if not isinstance(value, str) or any(not c.isprintable() for c in value):
            raise self.wrong(key, "must be one line of text")
        if default is None and not value.strip():
            raise self.wrong(key, "must not be empty")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, f"is '{value}', but must match {pattern.pattern}")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Take one of a few words."""
        value = self.text(key, default)
        if value not in choices:
            raise self.wrong(key, f"is '{value}', but must be one of: {', '.join(choices)}")
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """Take a number from `low` to `high`, both included."""
        return number_between(self.take(key, default), low, high, place=f"{self.place}: '{key}'")

    def integer(self, key: str, low: int, high: int, default: int | None = None, *, step: int = 1) -> int:
        """Take a whole number from `low` to `high`, both included, and a multiple of `step`."""
        value = self.number(key, low, high, default)
        if value != int(value):
            raise self.wrong(key, "must be a whole number")
        if int(value) % step:
            raise self.wrong(key, f"must be a multiple of {step}")
        return int(value)

    def triple(self, key: str, low: float, high: float) -> tuple[float, float, float]:
        """Take three numbers, one per channel, or one for all."""
        value = self.take(key)
        values = value if isinstance(value, list) else [value] * 3
        if len(values) != 3:
            raise self.wrong(key, "must be one number, or three: one per channel")
        first, second, third = (number_between(v, low, high, place=f"{self.place}: '{key}'") for v in values)
        return first, second, third

    def flag(self, key: str, *, default: bool) -> bool:
        """Take true or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def table(self, key: str) -> "Table":
        """Take a table that must be there."""
        return Table(self.take(key), f"{self.place} [{key}]")

    def table_or_none(self, key: str) -> "Table | None":
        """Take a table that may be left out."""
        return self.table(key) if key in self._values else None

    def finish(self) -> None:
        """Refuse keys that nobody took."""
        if self._values:
            raise PackError(f"{self.place}: unknown key '{sorted(self._values)[0]}'; remove or correct it")


def number_between(value: object, low: float, high: float, *, place: str) -> float:
    """Check a number that is not a key's own value.

    Raises:
        PackError: It is no number, no ordinary one, or not from `low` to `high`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PackError(f"{place} must be a number")
    if abs(value) > _LARGEST or math.isnan(value):  # Python's whole numbers may be too large for any float.
        raise PackError(f"{place} must be a number of ordinary size")
    if not low <= value <= high:
        raise PackError(f"{place} is {value:g}, but must be {low:g} to {high:g}")
    return float(value)
