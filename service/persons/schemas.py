"""Wire shapes of registrations and their enrolment."""

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

CITIZEN_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CITIZEN_CHECKS = "10X98765432"
"""Weights and check characters of the citizen number. Source: GB 11643-1999, ISO/IEC 7064 MOD 11-2."""

EARLIEST_BIRTH = date(1850, 1, 1)


def check_citizen_id_number(value: str) -> str:
    """Accept a citizen number whose birth date and check character are right.

    The division prefix is not examined: numbers keep the prefix of divisions
    that were renamed or dissolved long ago.

    Raises:
        ValueError: Malformed; the message says what to do.
    """
    number = value.upper()
    if re.fullmatch(r"[0-9]{17}[0-9X]", number) is None:
        raise ValueError(
            "a citizen number has 17 digits and a check character 0-9 or X; leave it out if unknown"
        )
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        raise ValueError("digits 7 to 14 are not a date; correct the number or leave it out") from None
    total = sum(weight * int(digit) for weight, digit in zip(CITIZEN_WEIGHTS, number[:17], strict=True))
    if CITIZEN_CHECKS[total % 11] != number[17]:
        raise ValueError("the check character does not fit; correct the number or leave it out")
    return number


def check_printable(value: str) -> str:
    """Refuse control characters, unpaired surrogates and blank text.

    Raises:
        ValueError: The text has some.
    """
    if not value.strip():
        raise ValueError("must not be blank; leave it out if unknown")
    if any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in value):
        raise ValueError("must not hold control characters")
    return value


def check_birth_date(value: date) -> date:
    """Refuse dates that no living person can have.

    Raises:
        ValueError: Before 1850 or after today.
    """
    if not EARLIEST_BIRTH <= value <= date.today():  # noqa: DTZ011 - a civil date where the service stands
        raise ValueError("must lie between 1850-01-01 and today")
    return value


def check_past_date(value: date) -> date:
    """Refuse dates to come.

    Raises:
        ValueError: After today.
    """
    if value > date.today():  # noqa: DTZ011 - a civil date where the service stands
        raise ValueError("must not lie in the future")
    return value


PersonId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"),
    Field(description="The population system's own key of the registration.", examples=["P530102-000123"]),
]
DivisionCode = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{6}([0-9]{3}){0,2}$"),
    Field(description="Division code (GB/T 2260), 6, 9 or 12 digits.", examples=["530102"]),
]


class Model(BaseModel):
    """Base of all wire shapes: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PortraitRequest(Model):
    """One portrait to enrol."""

    image: str = Field(description="The JPEG, PNG, WebP or BMP file in base64.", min_length=1, repr=False)
    taken_on: Annotated[date, AfterValidator(check_past_date)] | None = Field(
        None, description="Day on which it was taken.", examples=["2019-05-04"]
    )


class RegistrationFields(Model):
    """A registration as the population system holds it; also a row of an import."""

    level_code: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,8}$")] = Field(
        description="Population-information level code; 30 means identity in doubt.", examples=["30"]
    )
    citizen_id_number: Annotated[str, AfterValidator(check_citizen_id_number)] | None = Field(
        None, description="Citizen number (GB 11643), if one was given.", examples=["11010519491231002X"]
    )
    name: Annotated[str, StringConstraints(max_length=50), AfterValidator(check_printable)] | None = Field(
        None, description="Name, up to 50 characters."
    )
    sex: Literal["0", "1", "2", "9"] | None = Field(None, description="GB/T 2261.1.", examples=["2"])
    birth_date: Annotated[date, AfterValidator(check_birth_date)] | None = Field(
        None, description="Date of birth.", examples=["1949-12-31"]
    )
    ethnicity: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")] | None = Field(
        None, description="GB 3304.", examples=["01"]
    )
    division_code: DivisionCode | None = None
    category: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")] | None = Field(
        None, description="Category of the formerly unregistered person, 01 to 11.", examples=["11"]
    )
    father_id_number: Annotated[str, AfterValidator(check_citizen_id_number)] | None = Field(
        None, description="The father's citizen number, if known; only tags possible twins and siblings."
    )
    mother_id_number: Annotated[str, AfterValidator(check_citizen_id_number)] | None = Field(
        None, description="The mother's citizen number, if known; only tags possible twins and siblings."
    )


class PersonRequest(RegistrationFields):
    """An upsert: all fields replace what is stored; `portraits` only when it is given."""

    portraits: list[PortraitRequest] | None = Field(
        None,
        max_length=20,
        description="All portraits of the person, replacing the stored ones; leave out to keep those.",
    )


class PortraitAnswer(Model):
    """What became of one portrait of the request."""

    index: int = Field(description="Position in the request, from 0.")
    sha256: str = Field(description="SHA-256 of the picture's bytes.")
    admitted: bool
    reasons: list[str] = Field(description="Why it was refused.")
    marks: list[str] = Field(description="Quality marks of an admitted portrait.")
    quality: dict[str, Any] = Field(description="The measures.")


EnrolmentStatus = Literal["enrolled", "not_required", "refused"]


class EnrolmentAnswer(Model):
    """Whether the person can now be found in a gallery."""

    status: EnrolmentStatus
    gallery: str | None = Field(description="Where the person is enrolled.")
    references: int = Field(description="Number of enrolled portraits.")
    reasons: list[str] = Field(description="Why the enrolment was refused.")


class PersonStored(Model):
    """Answer to an upsert."""

    person_id: str
    created: bool
    enrolment: EnrolmentAnswer
    portraits: list[PortraitAnswer]


class ReferenceAnswer(Model):
    """One enrolled portrait."""

    reference_id: int
    sha256: str
    taken_on: date | None
    enrolled_at: datetime
    marks: list[str]
    quality: dict[str, Any]


class PersonAnswer(RegistrationFields):
    """A stored registration."""

    person_id: str
    enrolment: EnrolmentAnswer
    portraits: list[ReferenceAnswer]
    created_at: datetime
    updated_at: datetime
