"""Wire shapes of what officers are shown."""

from datetime import date, datetime
from uuid import UUID

from pydantic import Field

from service.notices.service import NoticeKind, NoticeState
from service.review.appeals import AppealState
from service.review.kinship import Kinship
from service.review.opinion import CaseKind, CaseState, Stage
from service.review.schemas import ConclusionItem, IdentityItem, ManualConclusionItem, Model


class OfficerView(Model):
    """An officer, by account and name."""

    id: UUID
    name: str


class ClaimView(Model):
    """Who works on a case."""

    officer: OfficerView
    mine: bool = Field(description="Whether it is you.")
    claimed_at: datetime


class TransactionView(Model):
    """The transaction that waits for the outcome."""

    id: str = Field(examples=["T-2026-0001"])
    type: str = Field(examples=["household-transfer"])
    authority: str = Field(description="Division code.", examples=["530102"])


class SearchView(Model):
    """One gallery that was searched."""

    gallery: str = Field(examples=["flagged"])
    threshold: float = Field(description="Score from which persons become candidates.", examples=[0.41])
    gallery_size: int = Field(description="Persons in the gallery then.", examples=[400000])
    generation: str


class RegistrationView(Model):
    """A registration as it is now; `erased` when it is no longer held, its fields then empty."""

    person_id: str = Field(examples=["P530102-000123"])
    erased: bool = Field(description="Whether the registration is no longer held.")
    name: str | None = None
    citizen_id_number_masked: str | None = Field(None, examples=["530102********002X"])
    sex: str | None = Field(None, description="GB/T 2261.1.")
    birth_date: date | None = None
    ethnicity: str | None = Field(None, description="GB 3304.")
    division_code: str | None = None
    level_code: str | None = None
    category: str | None = None


class CandidateView(Model):
    """A person whom the search returned, with the figures stated then."""

    rank: int = Field(examples=[1])
    person_id: str = Field(examples=["P530302-000456"])
    gallery: str = Field(examples=["flagged"])
    reference_id: int = Field(description="The portrait that scored best.")
    score: float = Field(description="Comparison score; larger is closer.", examples=[0.62])
    false_alarm_rate: float = Field(
        description="Share of searches of this gallery, by persons not in it, that return a candidate "
        "scoring at least this high.",
        examples=[0.0005],
    )
    false_alarm_low: float = Field(description="Lower end of its 95 % interval.")
    false_alarm_high: float = Field(description="Upper end of its 95 % interval.")
    extrapolated: bool = Field(description="Whether the rate lies beyond what the sample could measure.")
    registration: RegistrationView
    kinship: Kinship | None = Field(
        None,
        description="Possible twins share a birth date and a parent's number with the subject, possible "
        "siblings a parent's number; two registrations of one person do, too.",
    )


class AttachmentView(Model):
    """A file attached as evidence; read it at `/v1/cases/{case_id}/attachments/{id}`."""

    id: UUID
    name: str = Field(examples=["birth-record.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size_bytes: int = Field(examples=[482133])
    sha256: str


class AppealView(Model):
    """An appeal against how the case was decided."""

    id: UUID
    round: int
    appellant: str
    appealed_on: date
    grounds: str
    recorded_by: OfficerView
    recorded_at: datetime
    state: AppealState
    answered_by: OfficerView | None
    answered_at: datetime | None
    answer: str | None = Field(description="Why it was dismissed.")


class DecisionView(Model):
    """What an officer recorded; `concealed` until a second officer has recorded an own opinion."""

    round: int
    stage: Stage
    officer: OfficerView
    decided_at: datetime
    concealed: bool = Field(description="Whether the content is withheld from you for now.")
    conclusions: list[ConclusionItem] = Field(default_factory=list)
    manual_conclusion: ManualConclusionItem | None = None
    registration_to_cancel: str | None = Field(None, description="If it is exactly one.")
    registrations_to_cancel: list[str] = Field(default_factory=list)
    attachments: list[AttachmentView] = Field(
        default_factory=list, description="The files that its evidence names."
    )
    identity_established: IdentityItem | None = None
    reason: str | None = Field(None, description="Of a reopening.")


class IssuedNoticeView(Model):
    """A notice that followed from the case."""

    id: UUID
    sequence: int
    kind: NoticeKind
    state: NoticeState
    recipient: str
    person_id: str | None
    reverses: UUID | None
    created_at: datetime
    due_at: datetime
    acknowledged_at: datetime | None


class CaseHead(Model):
    """How a case stands."""

    id: UUID
    kind: CaseKind
    state: CaseState
    escalated: bool = Field(description="Officers disagreed; supervisors take it from here.")
    round: int = Field(description="Counts reviews from the start, from 1.")
    revision: int = Field(description="Changes with every change; see expected_revision.")
    division_code: str = Field(examples=["530102"])
    opened_at: datetime
    closed_at: datetime | None
    claim: ClaimView | None
    check_id: UUID | None
    transaction: TransactionView | None
    subject_person_id: str | None


class CaseSummary(CaseHead):
    """One line of the queue."""

    urgency: int = Field(description="Smaller comes first: the waiting, and then the rarest similarity.")
    overdue: bool = Field(description="Open for longer than ONEPERSON_CASE_DUE_DAYS.")
    candidates: int = Field(description="Number of candidates.")
    best_score: float | None
    lowest_false_alarm_rate: float | None = Field(
        description="Of its candidates: how often a search by somebody not enrolled finds one this similar."
    )


class CaseView(CaseHead):
    """A whole case."""

    searches: list[SearchView]
    reasons: list[str] = Field(description="Why the portrait could not be searched, if it could not.")
    subject: RegistrationView | None = Field(description="The subject's registration, if there is one.")
    candidates: list[CandidateView]
    to_confirm: list[str] = Field(
        description="While a second officer is awaited: the candidates on which they must conclude."
    )
    decisions: list[DecisionView]
    appeals: list[AppealView]
    notices: list[IssuedNoticeView]


class CaseCounts(Model):
    """Cases that match every filter but that of states, by state."""

    states: dict[CaseState, int]
    mine: int = Field(description="Open cases that you have claimed.")
    unclaimed: int = Field(description="Open cases that nobody has claimed.")
    escalated: int = Field(description="Open cases on which officers disagreed.")
    overdue: int = Field(description="Open cases that have been open for too long.")


class CasePage(Model):
    """Part of the queue: open cases most urgent first, others oldest first."""

    items: list[CaseSummary]
    counts: CaseCounts
    next: str | None = Field(description="Value of `after` for the next page; null at the end.")
