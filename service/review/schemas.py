"""Wire shapes of what officers send; `service.review.views` shapes what they are shown."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from service.review.opinion import (
    CandidateConclusion,
    CaseKind,
    CaseState,
    ConclusionKind,
    Evidence,
    IdentityEstablished,
    ManualConclusion,
    Opinion,
)

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
PRINTABLE_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""No control characters; the second pattern allows tabs and line breaks."""

Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=PRINTABLE_LINES),
]
PersonId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=PRINTABLE)]


class Model(BaseModel):
    """Base of all wire shapes: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


TransactionKind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Division = Annotated[str, StringConstraints(pattern=r"^[0-9]{2,12}$")]


class NextQuery(Model):
    """Among which cases the next one is chosen."""

    state: list[CaseState] = Field(
        default_factory=list, max_length=6, description="May be repeated; default: open cases."
    )
    kind: CaseKind | None = Field(None, description="Where the cases come from.")
    transaction_type: TransactionKind | None = Field(
        None, description="Kind of transaction that waits.", examples=["household-transfer-in"]
    )
    division: Division | None = Field(
        None, description="Only this division and those below it.", examples=["530100"]
    )
    escalated: StrictBool | None = Field(
        None, description="Only those on which officers disagreed, or did not."
    )
    overdue: StrictBool = Field(False, description="Only cases open for longer than ONEPERSON_CASE_DUE_DAYS.")


class QueueQuery(NextQuery):
    """Which cases an officer wants to see; in an address, where all is text, `true` and `1` are one."""

    escalated: bool | None = Field(None, description="Only those on which officers disagreed, or did not.")
    overdue: bool = Field(False, description="Only cases open for longer than ONEPERSON_CASE_DUE_DAYS.")
    mine: bool = Field(False, description="Only cases that you have claimed.")
    after: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        None, description="`next` of the page before."
    )
    limit: int = Field(50, ge=1, le=200, description="Longest page.")


class RevisionRequest(Model):
    """What every change of a case may name, so that nothing is changed unseen."""

    expected_revision: int | None = Field(
        None, ge=1, description="The `revision` that you read; 409 if the case moved on.", examples=[1]
    )


class EvidenceItem(Model):
    """Something beyond the face."""

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = Field(
        description="A code of the table `evidence_kinds`: document, visit, interview, fingerprint, dna, "
        "other_record.",
        examples=["document"],
    )
    reference: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=PRINTABLE)
    ] = Field(description="By what it can be found.", examples=["Birth record 1987/214, Qujing archive"])

    attachment: UUID | None = Field(
        None, description="`id` of a file that you attached to this case before.", examples=[None]
    )

    def as_evidence(self) -> Evidence:
        """Return it as the rules know it."""
        return Evidence(kind=self.kind, reference=self.reference, attachment=self.attachment)


EvidenceList = Annotated[
    list[EvidenceItem], Field(max_length=20, description="Evidence beyond the face; same_person needs some.")
]


class ConclusionItem(Model):
    """What the officer concludes on one candidate."""

    person_id: PersonId = Field(description="The candidate.", examples=["P530302-000456"])
    conclusion: ConclusionKind = Field(description="Whether the candidate is the subject.")
    reason: Reason = Field(description="Why.", examples=["Scar and siblings differ; met both in person."])
    evidence: EvidenceList = Field(default_factory=list)

    def as_conclusion(self) -> CandidateConclusion:
        """Return it as the rules know it."""
        return CandidateConclusion(
            person_id=self.person_id,
            conclusion=self.conclusion,
            reason=self.reason,
            evidence=tuple(item.as_evidence() for item in self.evidence),
        )


class ManualConclusionItem(Model):
    """What was found out by hand about a person whose portrait could not be searched."""

    outcome: Literal["cleared", "undetermined"] = Field(description="What the case becomes.")
    reason: Reason = Field(description="Why.", examples=["Identified by birth record and two witnesses."])
    evidence: EvidenceList = Field(default_factory=list)

    def as_conclusion(self) -> ManualConclusion:
        """Return it as the rules know it."""
        return ManualConclusion(
            outcome=CaseState(self.outcome),
            reason=self.reason,
            evidence=tuple(item.as_evidence() for item in self.evidence),
        )


class IdentityItem(Model):
    """A registration whose identity is no longer in doubt."""

    person_id: PersonId = Field(description="The registration.", examples=["P530102-000123"])
    level_code: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,8}$")] = Field(
        description="The level code that it should get; not one that means doubt.", examples=["10"]
    )
    reason: Reason = Field(description="Why.", examples=["Confirmed by DNA with both parents."])


RegistrationToCancel = Annotated[
    PersonId | None,
    Field(
        description="Of the registrations of one person (the subject's and those of candidates who are the "
        "same person) the one that must go; `registrations_to_cancel` for several.",
        examples=["P530302-000456"],
    ),
]
RegistrationsToCancel = Annotated[
    list[PersonId],
    Field(
        max_length=200,
        description="Of the registrations of one person those that must go; one has to stay. Required here "
        "or as `registration_to_cancel` when there are several; never chosen by the software.",
        examples=[["P530302-000456", "P530423-000789"]],
    ),
]


class ConfirmationRequest(RevisionRequest):
    """The second officer's own opinion."""

    conclusions: list[ConclusionItem] = Field(
        min_length=1,
        max_length=200,
        description="One for each candidate in the case's `to_confirm`; on others if you like.",
    )
    registration_to_cancel: RegistrationToCancel = None
    registrations_to_cancel: RegistrationsToCancel = Field(default_factory=list)
    identity_established: IdentityItem | None = Field(
        None, description="An identity that was established; leads to the notice level_code_change."
    )

    def as_opinion(self) -> Opinion:
        """Return it as the rules know it."""
        going = _going(self.registration_to_cancel, self.registrations_to_cancel)
        return _opinion(self.conclusions, None, going, self.identity_established)


class DecisionRequest(RevisionRequest):
    """The first officer's opinion: one conclusion for every candidate."""

    conclusions: list[ConclusionItem] = Field(
        default_factory=list,
        max_length=200,
        description="One for each candidate; empty exactly when the case has none.",
    )
    manual_conclusion: ManualConclusionItem | None = Field(
        None, description="Only for a case without candidates (kind not_searchable), and required there."
    )
    registration_to_cancel: RegistrationToCancel = None
    registrations_to_cancel: RegistrationsToCancel = Field(default_factory=list)
    identity_established: IdentityItem | None = Field(
        None, description="An identity that was established; leads to the notice level_code_change."
    )

    def as_opinion(self) -> Opinion:
        """Return it as the rules know it."""
        manual = self.manual_conclusion
        return _opinion(
            self.conclusions,
            manual.as_conclusion() if manual is not None else None,
            _going(self.registration_to_cancel, self.registrations_to_cancel),
            self.identity_established,
        )


class ReopenRequest(RevisionRequest):
    """Why a decided case must be looked at again."""

    reason: Reason = Field(description="Why.", examples=["Appeal of 2026-03-01 with a new birth record."])


class AppealRequest(RevisionRequest):
    """Who appealed against a decided case, when and why."""

    appellant: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=PRINTABLE)
    ] = Field(description="Who appealed.", examples=["The subject"])
    appealed_on: date = Field(description="The day on which they did.", examples=["2026-03-01"])
    grounds: Reason = Field(description="What they say.", examples=["A birth record was found."])


class DismissalRequest(Model):
    """Why an appeal changes nothing."""

    reason: Reason = Field(description="Why.", examples=["The record concerns somebody else."])


class AttachmentRequest(Model):
    """A file for a piece of evidence."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        description="As officers will see it.", examples=["birth-record.pdf"]
    )
    content: Base64Bytes = Field(
        description="The file in base64, at most 10 MB: PDF, OFD, JPEG or PNG, told by its content.",
        examples=["JVBERi0xLjcK"],
    )


def _going(one: str | None, several: list[str]) -> frozenset[str]:
    return frozenset(several) | ({one} if one is not None else set())


def _opinion(
    conclusions: list[ConclusionItem],
    manual: ManualConclusion | None,
    registrations_to_cancel: frozenset[str],
    identity: IdentityItem | None,
) -> Opinion:
    return Opinion(
        conclusions=tuple(item.as_conclusion() for item in conclusions),
        manual=manual,
        registrations_to_cancel=registrations_to_cancel,
        identity=IdentityEstablished(
            person_id=identity.person_id, level_code=identity.level_code, reason=identity.reason
        )
        if identity is not None
        else None,
    )
