"""Writes down every change of a flag, in the transaction of the change; register and months rest on it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy.orm import Session

from service.months import Month
from service.register import repository
from service.tables import Person, PersonFlagEvent, RegisterEntry, now

REGION_DIGITS = 6
"""Digits of a division code that name a county (GB/T 2260); months are not counted by station."""

UNKNOWN_REGION = ""


class FlagEvent(StrEnum):
    """What the months count; each person's entries and departures alternate."""

    REGISTERED = "registered"
    FLAGGED = "flagged"
    MOVED_IN = "moved_in"
    ESTABLISHED = "established"
    CANCELLED = "cancelled"
    OTHER = "other"
    MOVED_OUT = "moved_out"
    REMOVED = "removed"


ARRIVALS = frozenset({FlagEvent.FLAGGED, FlagEvent.MOVED_IN})
DEPARTURES = frozenset({FlagEvent.ESTABLISHED, FlagEvent.CANCELLED, FlagEvent.OTHER, FlagEvent.MOVED_OUT})


@dataclass(frozen=True, slots=True)
class Standing:
    """What the register needs to know of a registration.

    Attributes:
        flagged: Whether its level code means doubt.
        division_code: Its division, empty when unknown.
        category: Of the formerly unregistered person, None of everybody else.
    """

    flagged: bool
    division_code: str
    category: str | None

    @property
    def region(self) -> str:
        """Where it is counted."""
        return region_of(self.division_code)


def region_of(division_code: str | None) -> str:
    """Return the county's digits of a division code; empty for none."""
    return (division_code or UNKNOWN_REGION)[:REGION_DIGITS]


def standing_of(person: Person, flagged_codes: Collection[str]) -> Standing:
    """Read a registration's standing from its row."""
    return Standing(person.level_code in flagged_codes, person.division_code or "", person.category)


@dataclass(frozen=True, slots=True)
class _Change:
    person_id: str
    before: Standing | None
    after: Standing | None
    ended_as: FlagEvent | None

    @property
    def is_flagged(self) -> bool:
        return self.after is not None and self.after.flagged

    @property
    def gains_category(self) -> bool:
        had = self.before is not None and self.before.category is not None
        return not had and self.after is not None and self.after.category is not None


class FlagBook:
    """Collects a transaction's changes of registrations and records those that matter."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changes: list[_Change] = []

    def note(
        self,
        person_id: str,
        before: Standing | None,
        after: Standing | None,
        *,
        ended_as: FlagEvent | None = None,
    ) -> None:
        """Note what a registration was and is; None where it was or is none.

        Args:
            person_id: The population system's key.
            before: Before the change.
            after: After it.
            ended_as: How a flag that is gone ended; default: identity established, or cancelled.
        """
        if before != after:
            self._changes.append(_Change(person_id, before, after, ended_as))

    def record(self, session: Session) -> None:
        """Write the events and bring the register up to date; the persons' rows must be locked."""
        if not self._changes:
            return
        entries = repository.entries_for_update(session, {change.person_id for change in self._changes})
        standing = {person_id for person_id, entry in entries.items() if entry.left_as is None}
        lifted = {c.person_id for c in self._changes if c.person_id in standing and not c.is_flagged}
        cases = repository.standing_level_code_changes(session, lifted)
        gaining = {change.person_id for change in self._changes if change.gains_category}
        registered = repository.persons_with_event(session, FlagEvent.REGISTERED, gaining)
        moment = now()
        for change in self._changes:
            entry = entries.get(change.person_id)
            # A clock that was set back must not put a departure before its arrival.
            at = max(moment, entry.changed_at) if entry is not None else moment
            if change.gains_category and change.person_id not in registered and change.after is not None:
                session.add(_row(change, FlagEvent.REGISTERED, region=change.after.region, at=at))
            for kind, region in _events(change, entry):
                case_id = cases.get(change.person_id) if kind is FlagEvent.ESTABLISHED else None
                session.add(_row(change, kind, region=region, at=at, case_id=case_id))
            _move_entry(session, change, entry, at=at)
        self._changes.clear()
        session.flush()


def _events(change: _Change, entry: RegisterEntry | None) -> Iterator[tuple[FlagEvent, str]]:
    """Return what happened to the flag, in order, each with the region where it counts.

    What was is read from the register rather than from the registration, so that arrivals and
    departures of one person always alternate, whatever the settings meant by a flag before.
    """
    after = change.after
    stood = entry is not None and entry.left_as is None
    was_in = region_of(entry.division_code) if entry is not None else UNKNOWN_REGION
    if stood and not change.is_flagged:
        yield _departure(change), was_in
    elif after is None and change.before is not None:
        yield FlagEvent.REMOVED, change.before.region
    elif after is not None and after.flagged and not stood:
        yield FlagEvent.FLAGGED, after.region
    elif after is not None and stood and was_in != after.region:
        yield FlagEvent.MOVED_OUT, was_in
        yield FlagEvent.MOVED_IN, after.region


def _departure(change: _Change) -> FlagEvent:
    if change.ended_as is not None:
        return change.ended_as
    return FlagEvent.CANCELLED if change.after is None else FlagEvent.ESTABLISHED


def _row(
    change: _Change, kind: FlagEvent, *, region: str, at: datetime, case_id: UUID | None = None
) -> PersonFlagEvent:
    return PersonFlagEvent(
        person_id=change.person_id, kind=kind, region=region, month=str(Month.of(at)), at=at, case_id=case_id
    )


def _move_entry(session: Session, change: _Change, entry: RegisterEntry | None, *, at: datetime) -> None:
    """Bring a person's line of the register up to date, or begin one."""
    after = change.after
    if after is not None and after.flagged:
        if entry is None:
            entry = RegisterEntry(person_id=change.person_id, flagged_at=at)
            session.add(entry)
        elif entry.left_as is not None:
            entry.flagged_at, entry.left_as, entry.left_at = at, None, None
        entry.division_code, entry.changed_at = after.division_code, at
    elif entry is not None and (entry.left_as is None or after is None):
        entry.left_as, entry.left_at, entry.changed_at = _departure(change), at, at
