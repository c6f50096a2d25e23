"""Rules of registrations: who is enrolled where, and what leaves with whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.database import Database
from service.engine import Engine
from service.errors import NotFoundError, RegistrationChangedError
from service.persons import repository
from service.persons.enrolment import (
    NO_PORTRAIT,
    ChangeBook,
    PortraitFile,
    Prepared,
    PreparedPortrait,
    apply_fields,
    gallery_for,
    portrait_row,
    template_row,
)
from service.persons.preparation import Preparation
from service.persons.schemas import (
    EnrolmentAnswer,
    PersonAnswer,
    PersonStored,
    ReferenceAnswer,
    RegistrationFields,
)
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import Person, Portrait

ATTEMPTS = 3
"""Tries of one upsert: a registration that another request created meanwhile is updated instead."""


@dataclass(slots=True)
class _Files:
    """Portrait files of one transaction: made before it, or to be removed after it."""

    made: dict[str, str]
    used: set[str]
    dropped: list[str]


class Persons:
    """Stores, reads and erases registrations."""

    def __init__(
        self, *, database: Database, engine: Engine, store: PortraitStore, settings: Settings
    ) -> None:
        """Keep the collaborators."""
        self._database = database
        self._engine = engine
        self._store = store
        self._settings = settings
        self._preparation = Preparation(database=database, engine=engine, settings=settings)

    def store(
        self,
        person_id: str,
        fields: RegistrationFields,
        portraits: Sequence[PortraitFile] | None,
        *,
        actor: Actor,
    ) -> PersonStored:
        """Upsert one registration.

        Args:
            person_id: The population system's key.
            fields: All other fields; they replace the stored ones.
            portraits: All portraits, replacing the stored ones; None keeps those.
            actor: Who does it.

        Raises:
            InadmissiblePortraitError: A portrait is no picture, or none of them can be
                enrolled; nothing was changed.
        """
        return self.store_prepared([self.prepare(person_id, fields, portraits)], actor=actor)[0]

    def prepare(
        self, person_id: str, fields: RegistrationFields, portraits: Sequence[PortraitFile] | None
    ) -> Prepared:
        """Judge and encode portraits, outside any transaction; see `Preparation.prepare`.

        Raises:
            InadmissiblePortraitError: A portrait is no picture, or none of them can be enrolled.
        """
        return self._preparation.prepare(person_id, fields, portraits)

    def store_prepared(self, batch: Sequence[Prepared], *, actor: Actor) -> list[PersonStored]:
        """Store prepared registrations, all in one transaction.

        Args:
            batch: Registrations with distinct person_id.
            actor: Who does it.

        Returns:
            One answer per registration, in the order given.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._store_once(batch, actor)
            except IntegrityError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable: the loop returns or raises")

    def read(self, session: Session, person_id: str, *, actor: Actor) -> PersonAnswer:
        """Read a registration, on record.

        Raises:
            NotFoundError: There is none.
        """
        person = repository.person(session, person_id)
        if person is None:
            raise NotFoundError("No registration has this person_id.")
        record(session, AuditKind.PERSON_READ, actor=actor, subject=f"person:{person_id}")
        return PersonAnswer(
            **{name: getattr(person, name) for name in RegistrationFields.model_fields},
            person_id=person_id,
            enrolment=self._enrolment(person, person.portraits),
            portraits=[
                ReferenceAnswer(
                    reference_id=portrait.reference_id,
                    sha256=portrait.sha256,
                    taken_on=portrait.taken_on,
                    enrolled_at=portrait.created_at,
                    marks=portrait.marks,
                    quality=portrait.quality,
                )
                for portrait in person.portraits
            ],
            created_at=person.created_at,
            updated_at=person.updated_at,
        )

    def erase(self, person_id: str, *, actor: Actor) -> None:
        """Erase a cancelled registration: row, portraits and templates.

        Raises:
            NotFoundError: There is none.
        """
        files = _Files({}, set(), [])
        with self._database.write() as session:
            person = repository.person_for_update(session, person_id)
            if person is None:
                raise NotFoundError("No registration has this person_id.")
            book = ChangeBook()
            for portrait in person.portraits:
                if person.gallery is not None:
                    book.remove(person.gallery, portrait.reference_id, person.key)
                files.dropped.append(portrait.location)
            session.delete(person)
            session.flush()
            book.record(session)
            record(
                session,
                AuditKind.PERSON_ERASED,
                actor=actor,
                subject=f"person:{person_id}",
                portraits=len(files.dropped),
            )
        self._remove_files(files.dropped)

    def _store_once(self, batch: Sequence[Prepared], actor: Actor) -> list[PersonStored]:
        files = _Files({}, set(), [])
        try:
            for prepared in batch:
                for portrait in prepared.portraits or ():
                    if portrait.extraction is not None:
                        form = portrait.extraction.portrait.format
                        files.made[_file_key(prepared, portrait)] = self._store.put(portrait.data, form)
            with self._database.write() as session:
                book = ChangeBook()
                # Rows are locked in one order, so that two batches never wait for each other.
                order = sorted(range(len(batch)), key=lambda at: batch[at].person_id)
                stored = {at: self._store_one(session, batch[at], files, book, actor) for at in order}
                book.record(session)
        except BaseException:
            self._remove_files(list(files.made.values()))
            raise
        unused = [location for key, location in files.made.items() if key not in files.used]
        self._remove_files(unused + files.dropped)
        return [stored[at] for at in range(len(batch))]

    def _store_one(
        self, session: Session, prepared: Prepared, files: _Files, book: ChangeBook, actor: Actor
    ) -> PersonStored:
        person = repository.person_for_update(session, prepared.person_id)
        created = person is None
        if person is None:
            person = Person(person_id=prepared.person_id, level_code=prepared.fields.level_code)
            session.add(person)
        changed, attributes_changed = apply_fields(person, prepared.fields)
        session.flush()
        before = list(person.portraits)
        kept, added = self._merge_portraits(session, person, prepared, files)
        gallery = prepared.gallery if kept or added else None
        old_gallery, person.gallery = person.gallery, gallery
        removed = [portrait for portrait in before if portrait not in kept and portrait not in added]
        _note_changes(
            book,
            person,
            old=(old_gallery, before),
            kept=kept,
            added=added,
            attributes_changed=attributes_changed,
        )
        for portrait in removed:
            files.dropped.append(portrait.location)
            person.portraits.remove(portrait)
        session.flush()
        enrolment = self._enrolment(person, kept + added)
        if created or changed or added or removed or old_gallery != gallery:
            record(
                session,
                AuditKind.PERSON_STORED,
                actor=actor,
                subject=f"person:{prepared.person_id}",
                level_code=person.level_code,
                enrolment=enrolment.status,
                references=enrolment.references,
            )
        return PersonStored(
            person_id=prepared.person_id,
            created=created,
            enrolment=enrolment,
            portraits=list(prepared.answers),
        )

    def _merge_portraits(
        self, session: Session, person: Person, prepared: Prepared, files: _Files
    ) -> tuple[list[Portrait], list[Portrait]]:
        """Return the portraits that stay as they are and those newly encoded, with numbers and templates."""
        stored = {portrait.sha256: portrait for portrait in person.portraits}
        if prepared.portraits is None:
            return (list(stored.values()) if prepared.gallery is not None else []), []
        kept: list[Portrait] = []
        added: list[tuple[Portrait, PreparedPortrait]] = []
        for item in prepared.portraits:
            row = stored.get(item.sha256)
            if row is not None:
                row.taken_on = item.taken_on
            if item.extraction is None:
                if row is None:
                    raise RegistrationChangedError("The registration was changed meanwhile; send it again.")
                kept.append(row)
                continue
            if row is None:
                key = _file_key(prepared, item)
                files.used.add(key)
                row = portrait_row(person, item, files.made[key])
                person.portraits.append(row)
            added.append((row, item))
        session.flush()
        contract_id = self._engine.pack.contract_id
        for row, item in added:
            session.merge(template_row(row, item, contract_id))
        return kept, [row for row, _item in added]

    def _enrolment(self, person: Person, portraits: Sequence[Portrait]) -> EnrolmentAnswer:
        wanted = gallery_for(person.level_code, self._settings) is not None
        status = "enrolled" if person.gallery else "refused" if wanted else "not_required"
        return EnrolmentAnswer.model_validate(
            {
                "status": status,
                "gallery": person.gallery,
                "references": len(portraits) if person.gallery else 0,
                "reasons": [NO_PORTRAIT] if status == "refused" else [],
            }
        )

    def _remove_files(self, locations: Sequence[str]) -> None:
        for location in locations:
            self._store.delete(location)


def _note_changes(
    book: ChangeBook,
    person: Person,
    *,
    old: tuple[str | None, Sequence[Portrait]],
    kept: Sequence[Portrait],
    added: Sequence[Portrait],
    attributes_changed: bool,
) -> None:
    old_gallery, before = old
    moved = old_gallery != person.gallery
    for portrait in before:
        if old_gallery is not None and (moved or (portrait not in kept and portrait not in added)):
            book.remove(old_gallery, portrait.reference_id, person.key)
    if person.gallery is None:
        return
    for portrait in (*kept, *added) if moved or attributes_changed else added:
        book.enrol(person.gallery, portrait.reference_id, person.key)


def _file_key(prepared: Prepared, portrait: PreparedPortrait) -> str:
    return f"{prepared.person_id}/{portrait.sha256}"
