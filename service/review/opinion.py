"""The words of a case: its kinds and states, and what one officer may record of it."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


def is_blank(text: str) -> bool:
    """Tell whether a text says nothing: no letter, no digit, be it empty, invisible or punctuation alone."""
    return not any(character.isalnum() for character in text)


class CaseKind(StrEnum):
    """Where a case comes from."""

    TRANSACTION = "transaction"
    NOT_SEARCHABLE = "not_searchable"
    SWEEP = "sweep"


class CaseState(StrEnum):
    """How far a case has come."""

    UNDER_REVIEW = "under_review"
    AWAITING_SECOND_OFFICER = "awaiting_second_officer"
    CLEARED = "cleared"
    DUPLICATE_CONFIRMED = "duplicate_confirmed"
    UNDETERMINED = "undetermined"
    WITHDRAWN = "withdrawn"


OPEN_STATES = frozenset({CaseState.UNDER_REVIEW, CaseState.AWAITING_SECOND_OFFICER})
DECIDED_STATES = frozenset({CaseState.CLEARED, CaseState.DUPLICATE_CONFIRMED, CaseState.UNDETERMINED})


class Stage(StrEnum):
    """Which part of a round a recorded decision is."""

    FIRST = "first"
    SECOND = "second"
    REOPEN = "reopen"


class ConclusionKind(StrEnum):
    """What an officer concludes on one candidate."""

    SAME_PERSON = "same_person"
    DIFFERENT_PERSON = "different_person"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something beyond the face.

    Attributes:
        kind: A code of the table of evidence kinds.
        reference: By what it can be found.
        attachment: A file that the officer attached to it.
    """

    kind: str
    reference: str
    attachment: UUID | None = None


@dataclass(frozen=True, slots=True)
class CandidateConclusion:
    """One officer's conclusion on one candidate."""

    person_id: str
    conclusion: ConclusionKind
    reason: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class ManualConclusion:
    """What an officer found out by hand about a person whose portrait cannot be searched."""

    outcome: CaseState
    reason: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class IdentityEstablished:
    """A registration whose identity is no longer in doubt, and the level code that it should get."""

    person_id: str
    level_code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """All that one officer records at once.

    Attributes:
        conclusions: On the candidates.
        manual: Instead of conclusions, where a case has no candidates.
        registrations_to_cancel: Of the registrations of one person, those that must go.
        identity: The identity that was established, if one was.
    """

    conclusions: tuple[CandidateConclusion, ...] = ()
    manual: ManualConclusion | None = None
    registrations_to_cancel: frozenset[str] = frozenset()
    identity: IdentityEstablished | None = None

    @property
    def same_person(self) -> frozenset[str]:
        """The candidates that the officer takes for the subject."""
        return frozenset(c.person_id for c in self.conclusions if c.conclusion is ConclusionKind.SAME_PERSON)

    @property
    def attachments(self) -> list[UUID]:
        """The files attached to its evidence, in order."""
        evidence = [item for one in self.conclusions for item in one.evidence]
        evidence += self.manual.evidence if self.manual is not None else ()
        return [item.attachment for item in evidence if item.attachment is not None]
