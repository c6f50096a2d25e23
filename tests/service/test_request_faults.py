"""Words for faulty fields."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, get_args
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core.core_schema import ErrorType

from service.language import LANGUAGES
from service.request_faults import field_faults, field_name

SENT = "SENT-VALUE"


class Colour(StrEnum):
    """Two values."""

    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    """A nested object."""

    image: str


class Wanted(BaseModel):
    """One field of each kind."""

    model_config = ConfigDict(extra="forbid")

    short: str = Field("ab", min_length=2, max_length=4)
    shaped: str = Field("530000", pattern=r"^[0-9]{6}$")
    whole: int = Field(1, ge=1, le=9)
    number: float = 1.0
    yes: bool = True
    day: date | None = None
    at: datetime | None = None
    id: UUID | None = None
    colour: Colour = Colour.RED
    inner: list[Inner] = Field(default=[], max_length=2)
    own: str = ""

    @field_validator("own")
    @classmethod
    def _own(cls, value: str) -> str:
        if value:
            raise ValueError("must be a check digit that fits")
        return value


def faults(given: dict[str, Any], language: str = "en") -> list[dict[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Wanted.model_validate(given)
    errors = [error | {"loc": ("body", *error["loc"])} for error in caught.value.errors()]
    return field_faults(errors, language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "given",
    [
        {"short": SENT},
        {"short": "S"},
        {"short": 5},
        {"shaped": SENT},
        {"whole": SENT},
        {"whole": 0},
        {"whole": 10},
        {"number": SENT},
        {"yes": SENT},
        {"day": SENT},
        {"at": SENT},
        {"id": SENT},
        {"colour": SENT},
        {"inner": SENT},
        {"inner": [SENT]},
        {"inner": [{}]},
        {"inner": [{"image": "x"}] * 3},
        {"own": SENT},
    ],
)
def test_no_fault_repeats_what_was_sent(given: dict[str, Any], language: str) -> None:
    for fault in faults(given, language):
        assert fault["message"]
        assert fault["remedy"]
        assert SENT not in str(fault)
        assert "{" not in fault["remedy"].replace("{6}", "")


def test_bounds_and_choices_are_in_the_remedy() -> None:
    assert faults({"short": "x"})[0]["remedy"] == "send at least 2"
    assert faults({"whole": 10})[0]["remedy"] == "send a value of at most 9"
    assert faults({"colour": "x"})[0]["remedy"] == "send one of: 'red' or 'blue'"
    assert "^[0-9]{6}$" in faults({"shaped": "x"})[0]["remedy"]


def test_a_validator_of_ours_says_it_in_its_own_words() -> None:
    assert faults({"own": "x"})[0]["message"] == "must be a check digit that fits"


def test_a_fault_deep_inside_is_located() -> None:
    assert faults({"inner": [{"image": "x"}, {}]})[0]["field"] == "inner[1].image"


def test_the_name_of_an_unknown_field_is_shortened() -> None:
    field = faults({"x" * 100_000: 1})[0]["field"]
    assert field == "x" * 64 + "…"


@pytest.mark.parametrize(
    ("location", "name"),
    [
        (("body",), "body"),
        ((), "body"),
        (("query", "month"), "month"),
        (("path", "check_id"), "check_id"),
        (("body", 17), "[17]"),
        (("body", "portraits", 0, "image"), "portraits[0].image"),
    ],
)
def test_locations_read_like_paths(location: tuple[str | int, ...], name: str) -> None:
    assert field_name(location) == name


def test_a_body_that_is_no_json_is_one_fault_of_the_body() -> None:
    error = {"type": "json_invalid", "loc": ("body", 17), "msg": "JSON decode error", "ctx": {"error": SENT}}
    assert field_faults([error], "en") == [
        {
            "field": "body",
            "message": "is not JSON",
            "remedy": "send one JSON document in UTF-8, content type application/json",
        }
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_error_that_pydantic_knows_has_words(language: str) -> None:
    for kind in get_args(ErrorType):
        (fault,) = field_faults([{"type": kind, "loc": ("body", "x"), "ctx": {}}], language)
        assert fault["message"], kind
        assert fault["remedy"], kind
