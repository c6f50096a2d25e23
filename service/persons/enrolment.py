"""What is decided about a registration before and while it is stored."""

from dataclasses import dataclass, field
from datetime import date

from sqlalchemy.orm import Session

from index.extraction import Extraction
from service.encryption.templates import sealed_template
from service.encryption.vault import Vault
from service.galleries.repository import ENROL, REMOVE, append_changes
from service.persons.schemas import PortraitAnswer, RegistrationFields
from service.settings import Settings
from service.tables import Person, Portrait, Template

FLAGGED = "flagged"
REGISTERED = "registered"

NO_PORTRAIT = "no-portrait"
"""Reason for which a person who should be enrolled is not: there is no portrait."""


@dataclass(frozen=True, slots=True)
class PortraitFile:
    """The bytes of one portrait as they came.

    Attributes:
        data: The picture file.
        taken_on: Day on which it was taken, if told.
    """

    data: bytes = field(repr=False)
    taken_on: date | None = None


@dataclass(frozen=True, slots=True)
class PreparedPortrait:
    """One admitted portrait: newly encoded, or stored already (`extraction` is None)."""

    sha256: str
    taken_on: date | None
    data: bytes = field(repr=False)
    extraction: Extraction | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A registration with its portraits judged and encoded, ready for a short transaction.

    Attributes:
        person_id: The population system's key.
        fields: The registration.
        gallery: Where policy enrols the person, None when nowhere.
        portraits: Admitted portraits; None keeps the stored ones.
        answers: What became of each portrait of the request.
    """

    person_id: str
    fields: RegistrationFields
    gallery: str | None
    portraits: tuple[PreparedPortrait, ...] | None
    answers: tuple[PortraitAnswer, ...]


def gallery_for(level_code: str, settings: Settings) -> str | None:
    """Tell in which gallery policy enrols a person with this level code."""
    if level_code in settings.flagged_codes:
        return FLAGGED
    return REGISTERED if settings.enrol_registered else None


class ChangeBook:
    """Collects the gallery changes of a transaction, to be recorded at its end.

    The heads are locked last and always in the same order, so that two
    transactions never wait for each other.
    """

    def __init__(self) -> None:
        """Begin with no change."""
        self._changes: dict[str, list[tuple[str, int, int]]] = {}

    def enrol(self, gallery: str, reference_id: int, person_key: int) -> None:
        """Note that a reference is enrolled, or that its person's attributes changed."""
        self._changes.setdefault(gallery, []).append((ENROL, reference_id, person_key))

    def remove(self, gallery: str, reference_id: int, person_key: int) -> None:
        """Note that a reference leaves a gallery."""
        self._changes.setdefault(gallery, []).append((REMOVE, reference_id, person_key))

    def record(self, session: Session) -> None:
        """Write the changes down in the running transaction."""
        for gallery in sorted(self._changes):
            append_changes(session, gallery, self._changes[gallery])


def apply_fields(person: Person, fields: RegistrationFields) -> tuple[bool, bool]:
    """Copy a registration's fields into its row.

    Returns:
        Whether anything changed, and whether something changed that galleries hold (sex, birth year).
    """
    before = (person.sex, person.birth_date)
    changed = False
    for name in RegistrationFields.model_fields:
        value = getattr(fields, name)
        if getattr(person, name) != value:
            setattr(person, name, value)
            changed = True
    return changed, before != (person.sex, person.birth_date)


def portrait_row(person: Person, prepared: PreparedPortrait, location: str) -> Portrait:
    """Make the row of a newly encoded portrait; its template's row follows once it has a number.

    Raises:
        ValueError: The portrait was not encoded.
    """
    extraction = prepared.extraction
    if extraction is None or extraction.template is None or extraction.landmarks is None:
        raise ValueError("only an admitted, encoded portrait can be enrolled")
    return Portrait(
        person_key=person.key,
        sha256=prepared.sha256,
        format=extraction.portrait.format,
        location=location,
        taken_on=prepared.taken_on,
        quality=extraction.quality.as_dict(),
        marks=[str(mark) for mark in extraction.admission.marks],
        landmarks=[[round(float(x), 2), round(float(y), 2)] for x, y in extraction.landmarks],
    )


def template_row(
    portrait: Portrait, prepared: PreparedPortrait, contract_id: str, *, vault: Vault
) -> Template:
    """Make the row of a newly encoded portrait's template.

    Raises:
        ValueError: The portrait was not encoded.
    """
    if prepared.extraction is None or prepared.extraction.template is None:
        raise ValueError("only an encoded portrait has a template")
    vector = prepared.extraction.template.astype("<f4").tobytes()
    sealed = sealed_template(vault, portrait.reference_id, contract_id, vector)
    return Template(reference_id=portrait.reference_id, contract_id=contract_id, vector=sealed)
