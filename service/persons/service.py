"""Rules of registrations: who is enrolled where, and what leaves with whom."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.database import Database
from service.engine import Engine
from service.erasures import Erasures
from service.errors import NotFoundError
from service.persons import repository
from service.persons.enrolment import PortraitFile, Prepared
from service.persons.erasing import erase_in
from service.persons.preparation import Preparation
from service.persons.schemas import PersonAnswer, PersonStored, ReferenceAnswer, RegistrationFields
from service.persons.storing import Storing, enrolment_of, file_key
from service.portrait_store import PortraitStore, owner_of_person
from service.settings import Settings

FILE_WRITERS = 4
"""Portrait files written at once: disks acknowledge several durable writes in the time of one."""

ATTEMPTS = 3
"""Tries of one upsert: a registration that another request created meanwhile is updated instead."""


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
        self._erasures = Erasures(settings)
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
            enrolment=enrolment_of(person, len(person.portraits), self._settings),
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
            StorageUnavailableError: The portraits are away; nothing was changed.
        """
        with self._database.write() as session:
            person = repository.persons_for_update(session, [person_id]).get(person_id)
            if person is None:
                raise NotFoundError("No registration has this person_id.")
            dropped = erase_in(
                session,
                person,
                settings=self._settings,
                erasures=self._erasures,
                actor=actor,
                reason="cancelled",
            )
            if dropped:
                self._store.require_present()  # What cannot be erased now must not count as erased.
        self._erasures.flush_quietly(self._database)
        self._remove_files(dropped)

    def _store_once(self, batch: Sequence[Prepared], actor: Actor) -> list[PersonStored]:
        files: dict[str, str] = {}
        committing = False
        try:
            self._write_files(batch, files)
            with self._database.write() as session:
                storing = Storing(
                    session,
                    settings=self._settings,
                    contract_id=self._engine.pack.contract_id,
                    files=files,
                    erasures=self._erasures,
                )
                stored = storing.run(batch, actor=actor)
                committing = True
        except BaseException:
            # A commit whose answer was lost may have been done: better files without rows than the reverse.
            if not committing:
                self._remove_files(list(files.values()))
            raise
        unused = [location for key, location in files.items() if key not in storing.used]
        self._remove_files(unused + storing.dropped)
        if storing.has_erased:
            self._erasures.flush_quietly(self._database)
        return stored

    def _write_files(self, batch: Sequence[Prepared], files: dict[str, str]) -> None:
        """Store the new portraits' files; each waits for the disk, so several wait together."""
        new = [
            (file_key(prepared, portrait), portrait.data, owner_of_person(prepared.person_id))
            for prepared in batch
            for portrait in prepared.portraits or ()
            if portrait.extraction is not None
        ]

        def write(item: tuple[str, bytes, str]) -> None:
            key, data, owner = item
            files[key] = self._store.put(data, owner=owner)

        if len(new) <= 1:
            for item in new:
                write(item)
            return
        with ThreadPoolExecutor(FILE_WRITERS, thread_name_prefix="portraits") as pool:
            list(pool.map(write, new))

    def _remove_files(self, locations: Sequence[str]) -> None:
        for location in locations:
            self._store.delete(location)
