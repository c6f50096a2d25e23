"""What a verification of the audit log may find."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

MOST_NAMED = 1000
"""Findings that are named; of more only the number is kept: a destroyed log must not fill the memory."""


class Damage(StrEnum):
    """What was done to a record, or to what guards the records."""

    REMOVED = "removed"
    TRUNCATED = "truncated"
    CHANGED = "changed"
    REORDERED = "reordered"
    DUPLICATED = "duplicated"
    INSERTED = "inserted"
    REWRITTEN = "rewritten"
    UNKNOWN_KEY = "unknown-key"
    WRONG_KEY = "wrong-key"
    HEAD = "head-changed"
    ARCHIVE = "archive-changed"
    ANCHOR = "anchor-changed"
    ANCHORS_MISSING = "anchors-missing"
    FILE = "file-changed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One damage.

    Attributes:
        damage: Its kind.
        first: Number of the first record that it concerns; of an anchor the number of its line.
        last: Number of the last.
        detail: What was seen, in English.
    """

    damage: Damage
    first: int
    last: int
    detail: str


@dataclass(slots=True)
class Findings:
    """The result of a verification.

    Attributes:
        records: Records that were looked at.
        anchors: Anchors that were compared.
        named: Damages in the order found.
        count: How many there are, the unnamed included.
        notes: What is no damage but should be known.
    """

    records: int = 0
    anchors: int = 0
    named: list[Finding] = field(default_factory=list)
    count: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return self.count == 0

    def add(self, damage: Damage, first: int, last: int | None = None, *, detail: str = "") -> None:
        """Keep one finding; a record that follows on the one before with the same damage extends it."""
        until = first if last is None else last
        before = self.named[-1] if self.named else None
        self.count += until - first + 1
        joins = before is not None and before.damage is damage and before.last + 1 == first
        if before is not None and joins and before.detail == detail:
            self.named[-1] = Finding(damage, before.first, until, detail)
        elif len(self.named) < MOST_NAMED:
            self.named.append(Finding(damage, first, until, detail))


Progress = Callable[[int], None]
"""Told how many more records were looked at."""
