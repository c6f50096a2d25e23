"""Follows the chain record by record, and names what was done to it."""

import json
from collections.abc import Callable, Iterable, Iterator

from service.audit.findings import Damage, Findings
from service.audit.keys import AuditKey, KeyRing
from service.audit.kinds import AuditKind
from service.audit.records import Record, code_of

NEARBY = 500
"""Numbers on either side at which a displaced record is looked for before the whole log is."""

MOST_SOUGHT = 200
"""Displaced records that are looked for; in a log that is damaged all over the search would take hours."""

MOST_LOOKED_UP = 20
"""Of these, how many are looked for in the whole log; each costs a pass over it."""

Places = Callable[[str], list[int]]
"""Finds the numbers of all records that carry a code."""


class Links:
    """The state of a walk along the chain."""

    def __init__(
        self,
        findings: Findings,
        keys: KeyRing,
        *,
        following: int,
        link: str | None,
        key_tag: str | None,
        places: Places,
    ) -> None:
        """Stand before the first record.

        Args:
            findings: What is found goes here.
            keys: The present and earlier keys.
            following: Number of the first record that there should be.
            link: The code before it, if it is known.
            key_tag: Name of the key that it should carry, if that is known.
            places: Looks for displaced records.
        """
        self.findings = findings
        self.following = self._start = following
        self.link = link
        self.key_tag = key_tag
        self.last_own: Record | None = None
        self._keys = keys
        self._places = places
        self._sought = 0

    def step(self, record: Record) -> bool:
        """Look at the next record, in the order of numbers; tell whether its own code fits."""
        self.findings.records += 1
        own = self._is_own(record)
        if record.id < self._start:
            self._foreign(record)
            return False
        if record.id > self.following:
            self.findings.add(Damage.REMOVED, self.following, record.id - 1)
        elif own and self.link is not None and record.previous_mac != self.link:
            self.findings.add(
                Damage.CHANGED, record.id - 1, detail="it is not the record that the next one follows"
            )
        self.following = record.id + 1
        if not own:
            self._name(record)
            self.link = self.last_own = None
            return False
        self._follow_key(record)
        self.link, self.last_own = record.mac, record
        return True

    def _is_own(self, record: Record) -> bool:
        key = self._keys.find(record.key_tag or "")
        return key is not None and record.mac is not None and code_of(record, key) == record.mac

    def _follow_key(self, record: Record) -> None:
        if self.key_tag is not None and record.key_tag != self.key_tag:
            self.findings.add(
                Damage.WRONG_KEY, record.id, detail=f"kept with {record.key_tag}, not {self.key_tag}"
            )
        self.key_tag = key_after(record)

    def _name(self, record: Record) -> None:
        """Tell what a record is whose code does not fit it."""
        if record.key_tag is not None and self._looks_like_key(record.key_tag):
            self.findings.add(Damage.UNKNOWN_KEY, record.id, detail=f"kept with {record.key_tag!a}")
            return
        true_number = self._true_number(record)
        if true_number is None:
            chained = record.mac is not None
            self.findings.add(
                Damage.CHANGED if chained else Damage.INSERTED,
                record.id,
                detail="" if chained else "not chained",
            )
        elif self._sought <= MOST_LOOKED_UP and true_number in self._places(record.mac or ""):
            self.findings.add(Damage.DUPLICATED, record.id, detail=f"a copy of {true_number}")
        else:
            self.findings.add(Damage.REORDERED, record.id, detail=f"this is {true_number}")

    def foreign(self, record: Record) -> None:
        """Name a record that lies beyond the end of the chain."""
        self.findings.records += 1
        self._foreign(record)

    def _foreign(self, record: Record) -> None:
        true_number = self._true_number(record)
        if true_number is None or true_number == record.id:
            self.findings.add(Damage.INSERTED, record.id)
        else:
            self.findings.add(Damage.DUPLICATED, record.id, detail=f"a copy of {true_number}")

    def _looks_like_key(self, tag: str) -> bool:
        """Tell an unknown key from a damaged name: the key before and after is another then."""
        return self._keys.find(tag) is None and (self.key_tag is None or tag == self.key_tag)

    def _true_number(self, record: Record) -> int | None:
        """Find the number with which a record's code fits, if any."""
        key = self._keys.find(record.key_tag or "")
        if key is None or record.mac is None or self._sought >= MOST_SOUGHT:
            return None
        self._sought += 1
        nearby = range(record.id - NEARBY, record.id + NEARBY + 1)
        return self._fitting(record, key, nearby) or self._fitting(record, key, self._candidates(record))

    def _fitting(self, record: Record, key: AuditKey, numbers: Iterable[int]) -> int | None:
        fits = (number for number in numbers if code_of(record._replace(id=number), key) == record.mac)
        return next(fits, None)

    def _candidates(self, record: Record) -> Iterator[int]:
        """Look where the record's code stands too, and behind the record that it follows."""
        if self._sought <= MOST_LOOKED_UP:
            yield from self._places(record.mac or "")
            yield from (number + 1 for number in self._places(record.previous_mac or ""))


def key_after(record: Record) -> str | None:
    """Return the name of the key that the next record should carry; None if it cannot be told."""
    if record.kind != AuditKind.AUDIT_KEY_ROTATED:
        return record.key_tag
    try:
        told = json.loads(record.details or "").get("to")
    except (ValueError, AttributeError):
        return None
    return told if isinstance(told, str) else None
