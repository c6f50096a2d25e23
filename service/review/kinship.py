"""Hints that two registrations may be of twins or siblings; they prove nothing either way."""

from enum import StrEnum

from service.tables import Person


class Kinship(StrEnum):
    """What two registrations have in common. Two registrations of one person have it, too."""

    TWINS = "twins"
    SIBLINGS = "siblings"


def kinship_of(one: Person | None, other: Person | None) -> Kinship | None:
    """Return what the stored parents' numbers point to.

    Twins share a birth date and a parent's number (design, "Cases"); siblings a parent's number only.
    """
    if one is None or other is None or not _share_parent(one, other):
        return None
    same_day = one.birth_date is not None and one.birth_date == other.birth_date
    return Kinship.TWINS if same_day else Kinship.SIBLINGS


def _share_parent(one: Person, other: Person) -> bool:
    father = one.father_id_number is not None and one.father_id_number == other.father_id_number
    mother = one.mother_id_number is not None and one.mother_id_number == other.mother_id_number
    return father or mother
