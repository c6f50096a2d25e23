"""Turns the pairs of a sweep into cases, each suspected pair once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from index.linking import Links
from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.review.opinion import CaseKind
from service.review.service import NewCandidate, NewCase, open_case
from service.sweeps.pairs import Comparison
from service.tables import Case, CaseCandidate, Person

BATCH = 200
"""Subjects whose cases are opened in one transaction."""

LOOKUP = 500
"""Keys looked up in one query."""


@dataclass(frozen=True, slots=True)
class FoundPair:
    """One suspected pair.

    Attributes:
        subject: person_id of the one whose case it is.
        candidate: person_id of the other.
        new: The candidate as the case records it, rank still open.
        division_code: Where the case belongs; None when neither registration names a division.
    """

    subject: str
    candidate: str
    new: NewCandidate
    division_code: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of the pairs.

    Attributes:
        cases: Case of each pair by (subject, candidate), as opened now.
        known: Pairs that an earlier case names.
        without_division: Pairs that belong to nobody's queue.
    """

    cases: dict[tuple[str, str], UUID]
    known: set[tuple[str, str]]
    without_division: set[tuple[str, str]]


def describe(session: Session, comparison: Comparison, links: Links) -> list[FoundPair]:
    """Put names and rates to pairs, best first; persons erased meanwhile are left out."""
    persons = _persons(session, sorted({*links.left.tolist(), *links.right.tolist()}))
    pairs = []
    for at in range(len(links)):
        subject, candidate = persons.get(int(links.left[at])), persons.get(int(links.right[at]))
        if subject is None or candidate is None:
            continue
        score = float(links.scores[at])
        rate = comparison.right.calibration.false_alarm_rate(score)
        new = NewCandidate(
            rank=0,
            person_id=candidate.person_id,
            person_key=candidate.key,
            reference_id=int(links.right_references[at]),
            gallery=comparison.right.name,
            score=score,
            false_alarm_rate=rate.value,
            false_alarm_low=rate.low,
            false_alarm_high=rate.high,
            extrapolated=rate.extrapolated,
        )
        division_code = subject.division_code or candidate.division_code
        pairs.append(FoundPair(subject.person_id, candidate.person_id, new, division_code))
    return pairs


def open_cases(database: Database, pairs: Sequence[FoundPair]) -> Opened:
    """Open one case per subject with all candidates that no case names yet.

    Committed subject by subject in batches, so that running it again goes on where it was stopped.
    """
    opened = Opened({}, set(), set())
    by_subject: dict[str, list[FoundPair]] = {}
    for pair in pairs:
        if pair.division_code is None:
            opened.without_division.add((pair.subject, pair.candidate))
        else:
            by_subject.setdefault(pair.subject, []).append(pair)
    subjects = sorted(by_subject)
    for start in range(0, len(subjects), BATCH):
        batch = subjects[start : start + BATCH]
        with database.write() as session:
            known = _known_pairs(session, batch)
            for subject in batch:
                _open_one(session, subject, by_subject[subject], known, opened)
    with database.write() as session:
        record(
            session,
            AuditKind.GALLERY_LINKED,
            actor=SYSTEM,
            pairs=len(pairs),
            cases=len(set(opened.cases.values())),
        )
    return opened


def _open_one(
    session: Session,
    subject: str,
    pairs: Sequence[FoundPair],
    known: set[tuple[str, str]],
    opened: Opened,
) -> None:
    fresh = [pair for pair in pairs if (subject, pair.candidate) not in known]
    opened.known.update((subject, pair.candidate) for pair in pairs if pair not in fresh)
    division_code = next((pair.division_code for pair in fresh if pair.division_code), None)
    if division_code is None:
        return
    fresh.sort(key=lambda pair: (-pair.new.score, pair.new.reference_id))
    case = open_case(
        session,
        NewCase(
            division_code=division_code,
            kind=CaseKind.SWEEP,
            subject_person_id=subject,
            candidates=[_ranked(pair.new, rank) for rank, pair in enumerate(fresh, start=1)],
        ),
    )
    opened.cases.update({(subject, pair.candidate): case.id for pair in fresh})


def _ranked(new: NewCandidate, rank: int) -> NewCandidate:
    return replace(new, rank=rank)


def _known_pairs(session: Session, subjects: Sequence[str]) -> set[tuple[str, str]]:
    """List pairs that a case names already, whichever of the two was its subject."""
    known: set[tuple[str, str]] = set()
    for column, other in (
        (Case.subject_person_id, CaseCandidate.person_id),
        (CaseCandidate.person_id, Case.subject_person_id),
    ):
        query = (
            select(column, other)
            .join(CaseCandidate, CaseCandidate.case_id == Case.id)
            .where(column.in_(subjects))
        )
        known.update((one, two) for one, two in session.execute(query) if one and two)
    return known


def _persons(session: Session, keys: Sequence[int]) -> dict[int, Person]:
    found: dict[int, Person] = {}
    for start in range(0, len(keys), LOOKUP):
        query = select(Person).where(Person.key.in_(keys[start : start + LOOKUP]))
        found.update({person.key: person for person in session.scalars(query)})
    return found
