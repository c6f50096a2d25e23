"""Writes prepared registrations in one transaction, with as few statements as a batch allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.encryption.vault import vault_of
from service.erasures import Erasures
from service.errors import RegistrationChangedError
from service.notices.service import RegistrationChange, answered_by_registrations
from service.persons import repository
from service.persons.enrolment import (
    NO_PORTRAIT,
    ChangeBook,
    Prepared,
    PreparedPortrait,
    apply_fields,
    gallery_for,
    portrait_row,
    template_row,
)
from service.persons.schemas import EnrolmentAnswer, PersonStored
from service.register.flags import FlagBook, standing_of
from service.settings import Settings
from service.tables import Person, Portrait


def file_key(prepared: Prepared, portrait: PreparedPortrait) -> str:
    """Name a new portrait's file within its batch."""
    return f"{prepared.person_id}/{portrait.sha256}"


def enrolment_of(person: Person, references: int, settings: Settings) -> EnrolmentAnswer:
    """Tell whether a person can be found in a gallery, and why not."""
    wanted = gallery_for(person.level_code, settings) is not None
    status = "enrolled" if person.gallery else "refused" if wanted else "not_required"
    return EnrolmentAnswer.model_validate(
        {
            "status": status,
            "gallery": person.gallery,
            "references": references if person.gallery else 0,
            "reasons": [NO_PORTRAIT] if status == "refused" else [],
        }
    )


@dataclass(slots=True)
class _Registration:
    """One registration on its way into the database.

    Attributes:
        prepared: What came.
        person: Its row.
        created: Whether the row is new.
        changed: Whether a field changed.
        attributes_changed: Whether one changed that galleries hold.
        before: The portraits that were stored.
        kept: Those that stay as they are.
        encoded: New ones, and stored ones that this pack encoded now.
    """

    prepared: Prepared
    person: Person
    created: bool
    changed: bool
    attributes_changed: bool
    before: list[Portrait]
    kept: list[Portrait] = field(default_factory=list)
    encoded: list[tuple[Portrait, PreparedPortrait]] = field(default_factory=list)

    @property
    def present(self) -> list[Portrait]:
        """All portraits that are stored from now on."""
        return [*self.kept, *(row for row, _item in self.encoded)]


class Storing:
    """One transaction's registrations.

    Attributes:
        used: Keys of the files that rows now point to.
        dropped: Locations of files that no row points to any more.
        has_erased: Whether somebody's portraits went without others in their place.
    """

    def __init__(
        self,
        session: Session,
        *,
        settings: Settings,
        contract_id: str,
        files: Mapping[str, str],
        erasures: Erasures,
    ) -> None:
        """Work in this transaction.

        Args:
            session: The transaction.
            settings: Who is enrolled where.
            contract_id: Of the pack that encoded the portraits.
            files: Location of every new portrait's file by its key.
            erasures: Marks portraits of persons who leave the galleries.
        """
        self._session = session
        self._erasures = erasures
        self._settings = settings
        self._contract_id = contract_id
        self._files = files
        self._book = ChangeBook()
        self._flags = FlagBook()
        self._changes: list[RegistrationChange] = []
        self.used: set[str] = set()
        self.dropped: list[str] = []
        self.has_erased = False

    def run(self, batch: Sequence[Prepared], *, actor: Actor) -> list[PersonStored]:
        """Store registrations with distinct person_id.

        Returns:
            One answer per registration, in the order given.

        Raises:
            RegistrationChangedError: A portrait that was stored when the batch was prepared is gone.
        """
        # Rows are locked in one order, so that two batches never wait for each other.
        registrations = self._rows(sorted(batch, key=lambda prepared: prepared.person_id))
        for registration in registrations:
            self._merge_portraits(registration)
        self._session.flush()
        for registration in registrations:
            self._add_templates(registration)
        answers = {item.prepared.person_id: self._settle(item, actor) for item in registrations}
        self._session.flush()
        answered_by_registrations(self._session, self._changes, actor=actor)
        self._flags.record(self._session)
        self._book.record(self._session)
        return [answers[prepared.person_id] for prepared in batch]

    def _rows(self, batch: Sequence[Prepared]) -> list[_Registration]:
        known = repository.persons_for_update(self._session, [prepared.person_id for prepared in batch])
        registrations = []
        for prepared in batch:
            person = known.get(prepared.person_id)
            created = person is None
            codes = self._settings.flagged_codes
            before_it = standing_of(person, codes) if person is not None else None
            if person is None:
                person = Person(person_id=prepared.person_id, portraits=[])
                self._session.add(person)
            coded = person.level_code
            changed, attributes_changed = apply_fields(person, prepared.fields)
            recoded = not created and coded != person.level_code
            self._changes.append(RegistrationChange(person.person_id, person.level_code, recoded))
            self._flags.note(person.person_id, before_it, standing_of(person, codes))
            before = list(person.portraits)
            registrations.append(
                _Registration(prepared, person, created, changed, attributes_changed, before)
            )
        self._session.flush()
        return registrations

    def _merge_portraits(self, item: _Registration) -> None:
        prepared = item.prepared
        stored = {portrait.sha256: portrait for portrait in item.before}
        if prepared.portraits is None:
            item.kept = item.before if prepared.gallery is not None else []
            return
        for portrait in prepared.portraits:
            row = stored.get(portrait.sha256)
            if row is not None:
                row.taken_on = portrait.taken_on
            if portrait.extraction is None:
                if row is None:
                    raise RegistrationChangedError("The registration was changed meanwhile; send it again.")
                item.kept.append(row)
                continue
            if row is None:
                key = file_key(prepared, portrait)
                self.used.add(key)
                row = portrait_row(item.person, portrait, self._files[key])
                item.person.portraits.append(row)
            item.encoded.append((row, portrait))

    def _add_templates(self, item: _Registration) -> None:
        for row, portrait in item.encoded:
            template = template_row(row, portrait, self._contract_id, vault=vault_of(self._session))
            if row in item.before:
                self._session.merge(template)
            else:
                self._session.add(template)

    def _settle(self, item: _Registration, actor: Actor) -> PersonStored:
        """Move the person between galleries, drop what is replaced, and put it on record."""
        person, present = item.person, item.present
        old_gallery, person.gallery = person.gallery, item.prepared.gallery if present else None
        removed = [portrait for portrait in item.before if portrait not in present]
        self._note_changes(item, old_gallery, removed)
        for portrait in removed:
            if person.gallery is None:  # Otherwise others took their place.
                self._erasures.note_portrait(self._session, person.person_id, portrait)
                self.has_erased = True
            self.dropped.append(portrait.location)
            person.portraits.remove(portrait)
        enrolment = enrolment_of(person, len(present), self._settings)
        if item.created or item.changed or item.encoded or removed or old_gallery != person.gallery:
            record(
                self._session,
                AuditKind.PERSON_STORED,
                actor=actor,
                subject=f"person:{person.person_id}",
                level_code=person.level_code,
                enrolment=enrolment.status,
                references=enrolment.references,
            )
        return PersonStored(
            person_id=person.person_id,
            created=item.created,
            enrolment=enrolment,
            portraits=list(item.prepared.answers),
        )

    def _note_changes(
        self, item: _Registration, old_gallery: str | None, removed: Sequence[Portrait]
    ) -> None:
        person = item.person
        moved = old_gallery != person.gallery
        if old_gallery is not None:
            for portrait in item.before if moved else removed:
                self._book.remove(old_gallery, portrait.reference_id, person.key)
        if person.gallery is None:
            return
        whole = moved or item.attributes_changed
        for portrait in item.present if whole else [row for row, _item in item.encoded]:
            self._book.enrol(person.gallery, portrait.reference_id, person.key)
