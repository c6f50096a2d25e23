from datetime import date

import pytest

from service.database import Database
from service.persons.comparison import StoredRegistration, stored_registrations
from service.persons.schemas import RegistrationFields
from service.tables import Person, Portrait, Template

FIELDS = RegistrationFields(level_code="30", name="示例", birth_date=date(1980, 1, 2))
DAY = date(2019, 5, 4)


def stored(
    gallery: str | None = "flagged", unencoded: int = 0, **portraits: date | None
) -> StoredRegistration:
    values = {name: getattr(FIELDS, name) for name in RegistrationFields.model_fields}
    return StoredRegistration(values, gallery, portraits, unencoded)


def test_the_same_fields_and_portraits_are_held() -> None:
    assert stored(a=None, b=DAY).holds(FIELDS, "flagged", ["b", "a"])
    assert stored(a=None).holds(FIELDS, "flagged", None)


@pytest.mark.parametrize(
    "changes", [{"name": None}, {"name": "示例改"}, {"level_code": "31"}, {"birth_date": date(1980, 1, 3)}]
)
def test_any_other_field_is_a_change(changes: dict[str, object]) -> None:
    assert not stored(a=None).holds(FIELDS.model_copy(update=changes), "flagged", ["a"])


@pytest.mark.parametrize("portraits", [[], ["b"], ["a", "b"]])
def test_other_portraits_are_a_change(portraits: list[str]) -> None:
    assert not stored(a=None).holds(FIELDS, "flagged", portraits)


def test_another_gallery_or_a_portrait_that_the_pack_has_not_encoded_is_a_change() -> None:
    assert not stored(a=None).holds(FIELDS, "registered", ["a"])
    assert not stored(gallery=None, a=None).holds(FIELDS, "flagged", ["a"])
    assert not stored(a=None, unencoded=1).holds(FIELDS, "flagged", ["a"])


def test_somebody_enrolled_nowhere_is_held_without_portraits() -> None:
    assert stored(gallery=None).holds(FIELDS, None, [])
    assert stored(gallery=None).holds(FIELDS, "flagged", None)
    assert not stored(gallery=None, a=None).holds(FIELDS, None, [])
    assert not stored(gallery="flagged", a=None).holds(FIELDS, None, None)


def test_what_is_stored_is_read_for_many_persons_at_once(database: Database) -> None:
    with database.write() as session:
        for person_id, hashes in (("P-1", ("a", "b")), ("P-2", ())):
            person = Person(person_id=person_id, level_code="30", name="示例", gallery="flagged")
            session.add(person)
            session.flush()
            for sha256 in hashes:
                row = Portrait(
                    person_key=person.key,
                    sha256=sha256,
                    format="jpeg",
                    location=f"00/{person_id}{sha256}",
                    taken_on=DAY,
                    quality={},
                    marks=[],
                    landmarks=[],
                )
                session.add(row)
                session.flush()
                if sha256 == "a":
                    session.add(Template(reference_id=row.reference_id, contract_id="c" * 64, vector=b""))
    with database.read() as session:
        found = stored_registrations(session, ["P-1", "P-2", "P-3"], "c" * 64)
        others = stored_registrations(session, ["P-1"], "d" * 64)
    assert found.keys() == {"P-1", "P-2"}
    assert found["P-1"].portraits == {"a": DAY, "b": DAY}
    assert (found["P-1"].unencoded, others["P-1"].unencoded) == (1, 2)
    assert found["P-2"] == StoredRegistration(found["P-1"].fields, "flagged", {}, 0)
