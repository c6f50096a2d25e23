"""The portraits on the page of a case: addresses, captions, and what their quality marks mean."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from service.review.answers import CandidateView, CaseView
from service.review.portraits import CasePortraits, PortraitFacts
from service.web.words import Words


@dataclass(frozen=True, slots=True)
class Mark:
    """A quality mark: its word, and what it means for the comparison."""

    word: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A portrait, or the reason why there is none; `address` is None exactly then.

    Attributes:
        address: Where the aligned drawing is.
        alt: What a screen reader says.
        caption: What stands below it.
        marks: Its quality marks.
        missing: Why there is none.
        compared: Whether the search compared this very portrait.
    """

    address: str | None
    alt: str
    caption: str
    marks: Sequence[Mark] = field(default_factory=list)
    missing: str = ""
    compared: bool = False


def probe_picture(case: CaseView, portraits: CasePortraits, words: Words) -> Picture:
    """Return the portrait that was searched."""
    caption = words.t("case.probe")
    if portraits.probe is None:
        return Picture(None, caption, caption, missing=words.t("case.probe_missing"))
    return Picture(
        f"/cases/{case.id}/portraits/probe",
        words.t("case.probe_alt"),
        caption,
        marks_of(portraits.probe.marks, words),
    )


def subject_pictures(case: CaseView, portraits: CasePortraits, words: Words) -> list[Picture]:
    """Return the subject's portraits on file, newest first."""
    alt = words.t("case.on_file_alt")
    return [
        Picture(
            _address(case, facts),
            alt,
            _dated(words.t("case.on_file"), facts.taken_on, words),
            marks_of(facts.marks, words),
        )
        for facts in portraits.subject
    ]


def candidate_pictures(
    case: CaseView, candidate: CandidateView, portraits: CasePortraits, words: Words, *, label: str
) -> list[Picture]:
    """Return all portraits that are held of a candidate, the one that the search compared first.

    Args:
        case: The case.
        candidate: Whose.
        portraits: What is held.
        words: The page's language.
        label: What the candidate is called on the page.
    """
    held = portraits.candidates.get(candidate.person_id, ())
    alt, called = words.t("case.candidate_alt", rank=label), words.t("case.candidate", rank=label)
    if not held:
        missing = "case.candidate_erased" if candidate.registration.erased else "case.candidate_no_portrait"
        return [Picture(None, alt, called, missing=words.t(missing))]
    replaced = all(facts.reference_id != candidate.reference_id for facts in held)
    found: list[Picture] = []
    for facts in sorted(held, key=lambda facts: facts.reference_id != candidate.reference_id):
        caption = _dated(called, facts.taken_on, words)
        if replaced and not found:
            caption = words.t("case.other_portrait", caption=caption)
        compared = facts.reference_id == candidate.reference_id
        found.append(
            Picture(_address(case, facts), alt, caption, marks_of(facts.marks, words), compared=compared)
        )
    return found


def marks_of(marks: Sequence[str], words: Words) -> list[Mark]:
    """Return quality marks in words; one of another version has a name and no meaning here."""
    return [Mark(words.named("mark", mark), _meaning(mark, words)) for mark in marks]


def meanings(pictures: Sequence[Picture]) -> list[Mark]:
    """Return each mark of some pictures once."""
    return list(dict.fromkeys(mark for picture in pictures for mark in picture.marks if mark.meaning))


def _meaning(mark: str, words: Words) -> str:
    meaning = words.named("mark_meaning", mark)
    return meaning if meaning != mark else ""


def _address(case: CaseView, facts: PortraitFacts) -> str:
    return f"/cases/{case.id}/portraits/{facts.reference_id}"


def _dated(caption: str, taken_on: date | None, words: Words) -> str:
    return f"{caption} · {words.day(taken_on) if taken_on is not None else words.t('case.undated')}"
