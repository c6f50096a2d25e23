"""Portraits that an officer may look at for a case: every look is on record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.errors import NotFoundError
from service.portrait_store import owner_of_check, owner_of_person
from service.review import repository
from service.review.access import visible_case
from service.tables import Case, Check, Portrait


@dataclass(frozen=True, slots=True)
class StoredPortrait:
    """Where a portrait lies.

    Attributes:
        location: In the portrait store.
        owner: Whose it is there.
        landmarks: Five points in pixels of the decoded picture, see `index.types.Points`.
    """

    location: str
    owner: str
    landmarks: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class PortraitFacts:
    """What is known of a portrait without looking at it.

    Attributes:
        reference_id: Names it among the references; None for a probe.
        taken_on: When it was taken, if that is known.
        marks: Its quality marks.
    """

    reference_id: int | None
    taken_on: date | None
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CasePortraits:
    """The portraits of a case.

    Attributes:
        probe: None where there is none: it was erased, or nothing could be searched.
        subject: The references of the subject's registration, newest first.
        candidates: By the candidate's person_id, newest first; without an entry when none is held.
    """

    probe: PortraitFacts | None
    subject: tuple[PortraitFacts, ...]
    candidates: Mapping[str, tuple[PortraitFacts, ...]]


def portraits_of_case(session: Session, case: Case) -> CasePortraits:
    """List the portraits of a case; the caller has made sure that the officer may see it."""
    check = repository.check_of(session, case)
    subject_key = _subject_key(session, case)
    by_person: dict[int, list[PortraitFacts]] = {}
    keys = {candidate.person_key for candidate in case.candidates}
    keys |= {subject_key} if subject_key is not None else set()
    for portrait in repository.portraits_of_persons(session, keys):
        facts = PortraitFacts(portrait.reference_id, portrait.taken_on, tuple(portrait.marks))
        by_person.setdefault(portrait.person_key, []).append(facts)
    subject = tuple(by_person.get(subject_key, ())) if subject_key is not None else ()
    return CasePortraits(
        probe=_probe_facts(check, subject),
        subject=subject,
        candidates={
            candidate.person_id: tuple(by_person[candidate.person_key])
            for candidate in case.candidates
            if candidate.person_key in by_person
        },
    )


def view_probe(session: Session, case_id: UUID, *, actor: Actor) -> StoredPortrait:
    """Find the probe of a case, on record; a sweep's is the subject's newest reference.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division, or it has no probe any more.
    """
    case = visible_case(session, case_id, actor=actor)
    check = repository.check_of(session, case)
    if check is None:
        portraits = _references_of_subject(session, case)
        if not portraits:
            raise NotFoundError("The subject's portraits are no longer held.")
        _record(session, case, f"person:{case.subject_person_id}", actor=actor)
        return _stored(portraits[0], str(case.subject_person_id))
    if check.probe_location is None or check.probe_landmarks is None:
        raise NotFoundError("The portrait that was searched is not held.")
    _record(session, case, f"check:{check.id}", actor=actor)
    return StoredPortrait(check.probe_location, owner_of_check(check.transaction_id), check.probe_landmarks)


def view_reference(session: Session, case_id: UUID, *, reference_id: int, actor: Actor) -> StoredPortrait:
    """Find a reference of the subject or of a candidate, on record.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division, or the reference is not one of its persons'.
    """
    case = visible_case(session, case_id, actor=actor)
    owners = {candidate.person_key: candidate.person_id for candidate in case.candidates}
    subject_key = _subject_key(session, case)
    if subject_key is not None:
        owners[subject_key] = str(case.subject_person_id)
    for portrait in repository.portraits_of_persons(session, list(owners)):
        if portrait.reference_id == reference_id:
            subject = f"person:{owners[portrait.person_key]}"
            _record(session, case, subject, actor=actor, reference_id=reference_id)
            return _stored(portrait, owners[portrait.person_key])
    raise NotFoundError("There is no such portrait in this case; it may have been erased.")


def _subject_key(session: Session, case: Case) -> int | None:
    if case.subject_person_id is None:
        return None
    person = repository.person_by_id(session, case.subject_person_id)
    return person.key if person is not None else None


def _references_of_subject(session: Session, case: Case) -> Sequence[Portrait]:
    key = _subject_key(session, case)
    return repository.portraits_of_persons(session, [key]) if key is not None else ()


def _probe_facts(check: Check | None, subject: tuple[PortraitFacts, ...]) -> PortraitFacts | None:
    if check is None:
        return PortraitFacts(None, subject[0].taken_on, subject[0].marks) if subject else None
    if check.probe_location is None:
        return None
    marks = (check.quality or {}).get("marks", ())
    return PortraitFacts(None, None, tuple(str(mark) for mark in marks))


def _stored(portrait: Portrait, person_id: str) -> StoredPortrait:
    return StoredPortrait(portrait.location, owner_of_person(person_id), portrait.landmarks)


def _record(
    session: Session, case: Case, subject: str, *, actor: Actor, reference_id: int | None = None
) -> None:
    record(
        session,
        AuditKind.PORTRAIT_VIEWED,
        actor=actor,
        subject=subject,
        purpose=f"case:{case.id}",
        reference_id=reference_id,
    )
