"""Wire shapes of checks."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from service.persons.schemas import DivisionCode, Model, PersonId, check_printable

Outcome = Literal["no_candidates", "candidates", "not_searchable"]
Instruction = Literal["proceed", "hold"]
Status = Literal[
    "closed",
    "under_review",
    "awaiting_second_officer",
    "cleared",
    "duplicate_confirmed",
    "undetermined",
    "withdrawn",
]


class TransactionRequest(Model):
    """The transaction that is to be checked."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(check_printable)] = (
        Field(description="The population system's own key of the transaction.", examples=["T-2026-0001"])
    )
    type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)] = Field(
        description="Kind of transaction, a slug of the code table.", examples=["household-transfer-in"]
    )
    authority: DivisionCode = Field(description="The authority that handles it; its officers get the case.")


class CheckRequest(Model):
    """A transaction with its subject: `person_id`, `portrait`, or both."""

    transaction: TransactionRequest
    person_id: PersonId | None = Field(
        None, description="The subject's registration; its own portraits are never candidates."
    )
    portrait: str | None = Field(
        None,
        min_length=1,
        repr=False,
        description="The subject's portrait in base64; without it the newest enrolled one is searched.",
    )


class RateAnswer(Model):
    """A rate with its 95 % confidence interval."""

    value: float
    low: float
    high: float
    n: int = Field(description="Searches that it was measured on.")


class CandidateAnswer(Model):
    """A suspected duplicate: a person whom an officer must compare with the subject."""

    rank: int
    person_id: str
    score: float = Field(description="Cosine of the two templates, -1 to 1, larger is closer.")
    false_alarm_rate: float = Field(
        description="How often a search of this gallery by a person who is not in it returns a candidate "
        "scoring this high."
    )
    false_alarm_low: float = Field(description="Lower end of its 95 % interval.")
    false_alarm_high: float = Field(description="Upper end of its 95 % interval.")
    extrapolated: bool = Field(description="Whether the score lies beyond what was measured.")
    gallery: str


class SearchAnswer(Model):
    """One gallery that was searched, whole."""

    gallery: str
    generation: str
    position: int = Field(description="Last change that the search saw.")
    gallery_size: int = Field(description="Persons enrolled.")
    references: int = Field(description="Portraits enrolled.")
    threshold: float
    fpir: RateAnswer = Field(
        description="Share of searches by persons not in the gallery that return a candidate."
    )
    calibration_id: UUID
    calibration_method: str = Field(description="`measured` on this gallery, or from the `pack`.")
    calibrated_at: datetime


class CheckAnswer(Model):
    """What was found and what is to be done. Candidates are suspected; officers decide."""

    check_id: UUID
    transaction: TransactionRequest
    person_id: str | None
    outcome: Outcome
    instruction: Instruction
    status: Status
    reasons: list[str] = Field(description="Why the subject could not be searched.")
    candidates: list[CandidateAnswer]
    quality: dict[str, Any] | None = Field(description="Measures and marks of the portrait searched.")
    pack: str = Field(description="Model pack, name and version.")
    contract_id: str = Field(description="Identifies weights and preprocessing.")
    generation: str | None = Field(description="Of the first gallery searched; see `searches` for all.")
    gallery_size: int | None = Field(description="Persons in the first gallery searched.")
    threshold: float | None = Field(description="Of the first gallery searched.")
    searches: list[SearchAnswer]
    case_id: UUID | None
    review_url: str | None
    timings_ms: dict[str, float] = Field(description="Time that each part took.")
    created_at: datetime


class WithdrawRequest(Model):
    """Why a transaction was withdrawn."""

    reason: Annotated[str, StringConstraints(max_length=500), AfterValidator(check_printable)] | None = None
