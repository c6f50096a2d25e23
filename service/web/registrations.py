"""Two registrations field by field, as the page of a case compares them."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.review.answers import CaseView, RegistrationView
from service.review.views import masked
from service.web.words import Words

NUMBER = "citizen_id_number_masked"
FIELDS = (
    "name",
    NUMBER,
    "sex",
    "birth_date",
    "ethnicity",
    "division_code",
    "level_code",
    "category",
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of one registration.

    Attributes:
        text: What it holds, empty when that is not known.
        opens: The person whose full number a button beside it opens; empty where there is none to open.
    """

    text: str
    opens: str = ""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of the two registrations; `difference` is `same`, `different`, `shown_same` or `unknown`."""

    name: str
    label: str
    subject: Cell
    candidate: Cell
    difference: str


def registration_rows(
    registration: RegistrationView | None, opened: Mapping[str, str], words: Words
) -> list[tuple[str, Cell]]:
    """Return the fields of one registration that are filled in."""
    if registration is None or registration.erased:
        return []
    shown = [(words.t(f"field.{name}"), cell(registration, name, opened, words)) for name in FIELDS]
    return [(label, one) for label, one in shown if one.text]


def compared(
    subject: RegistrationView | None,
    candidate: RegistrationView,
    *,
    opened: Mapping[str, str],
    words: Words,
) -> list[FieldRow]:
    """Set two registrations side by side, and tell where they differ.

    Args:
        subject: Of the person whom the check concerned, if there is one.
        candidate: Of the person whom the search returned.
        opened: The full ID numbers that the officer has opened, by person_id.
        words: The page's language.
    """
    if candidate.erased:
        return []
    rows = []
    for name in FIELDS:
        one = cell(subject, name, opened, words) if subject is not None else Cell("")
        other = cell(candidate, name, opened, words)
        difference = _difference(one, other)
        rows.append(FieldRow(name, words.t(f"field.{name}"), one, other, difference))
    return rows


def cell(registration: RegistrationView, name: str, opened: Mapping[str, str], words: Words) -> Cell:
    """Return one field of a registration in words."""
    if name != NUMBER:
        return Cell(_shown(registration, name, words))
    number = opened.get(registration.person_id)
    if number is not None:
        return Cell(number)
    masked = registration.citizen_id_number_masked or ""
    return Cell(masked, opens=registration.person_id if masked else "")


def registrations_to_choose(case: CaseView, words: Words) -> list[tuple[str, str]]:
    """Return the registrations of which one may have to be cancelled: those of subject and candidates."""
    found = []
    if case.subject_person_id is not None:
        subject = _named(case.subject, case.subject_person_id)
        found.append((case.subject_person_id, words.t("decision.registration_subject", person=subject)))
    for candidate in case.candidates:
        named = _named(candidate.registration, candidate.person_id)
        label = words.t("decision.registration_candidate", rank=candidate.rank, person=named)
        found.append((candidate.person_id, label))
    return found


def _named(registration: RegistrationView | None, person_id: str) -> str:
    name = registration.name if registration is not None else None
    return f"{name} {person_id}" if name else person_id


def _shown(registration: RegistrationView, name: str, words: Words) -> str:
    value = getattr(registration, name)
    codes = words.codes
    match name:
        case "sex":
            return words.term(codes.sexes, value)
        case "ethnicity":
            return words.term(codes.ethnicities, value)
        case "category":
            return words.term(codes.categories, value)
        case "division_code":
            return words.division(value)
        case "birth_date":
            return words.day(value)
    return value or ""


def _difference(one: Cell, other: Cell) -> str:
    """Compare what is shown; of a masked number beside an open one only the ends can differ."""
    if not one.text or not other.text:
        return "unknown"
    if bool(one.opens) != bool(other.opens):
        return "unknown" if _ends(one) == _ends(other) else "different"
    if one.text != other.text:
        return "different"
    return "shown_same" if one.opens else "same"


def _ends(number: Cell) -> str | None:
    """Return an ID number as it looks while it is masked."""
    return number.text if number.opens else masked(number.text)
