"""Erases one registration in a transaction: row, portraits, templates and gallery entries, on record."""

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.erasures import Erasures
from service.notices.service import RegistrationChange, answered_by_registrations
from service.persons.enrolment import ChangeBook
from service.register.flags import FlagBook, standing_of
from service.settings import Settings
from service.tables import Person


def erase_in(
    session: Session, person: Person, *, settings: Settings, erasures: Erasures, actor: Actor, reason: str
) -> list[str]:
    """Erase a registration and return the locations of its files, to be deleted after the commit.

    Args:
        session: The transaction.
        person: The registration, locked.
        settings: Who is flagged.
        erasures: Marks it, so that no backup brings it back.
        actor: Who erases.
        reason: `cancelled`, or `restored` where a backup had brought it back.
    """
    person_id, book, flags = person.person_id, ChangeBook(), FlagBook()
    for portrait in person.portraits:
        if person.gallery is not None:
            book.remove(person.gallery, portrait.reference_id, person.key)
    dropped = [portrait.location for portrait in person.portraits]
    flags.note(person_id, standing_of(person, settings.flagged_codes), None)
    erasures.note_person(session, person)
    session.delete(person)
    session.flush()
    gone = RegistrationChange(person_id, level_code=None, recoded=True)
    answered_by_registrations(session, [gone], actor=actor)
    flags.record(session)
    book.record(session)
    record(
        session,
        AuditKind.PERSON_ERASED,
        actor=actor,
        subject=f"person:{person_id}",
        result=reason if reason != "cancelled" else "done",
        portraits=len(dropped),
    )
    return dropped
