"""What the page of a case shows, made ready for the template in the page's language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from service.review.answers import CandidateView, CaseView, RegistrationView
from service.review.opinion import ConclusionKind
from service.review.portraits import CasePortraits, PortraitFacts
from service.web.case_turn import Turn
from service.web.opinion_form import Entry, OpinionForm
from service.web.words import Words

FIELDS = (
    "name",
    "citizen_id_number_masked",
    "sex",
    "birth_date",
    "ethnicity",
    "division_code",
    "level_code",
    "category",
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A portrait, or the reason why there is none; `address` is None exactly then."""

    address: str | None
    alt: str
    caption: str
    marks: list[str]
    missing: str = ""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of the two registrations; `difference` is `same`, `different`, `shown_same` or `unknown`."""

    label: str
    subject: str
    candidate: str
    difference: str


@dataclass(frozen=True, slots=True)
class ScoreBar:
    """Where score and threshold lie between 0 and 1, in hundredths."""

    score: float
    threshold: float | None


@dataclass(frozen=True, slots=True)
class CandidatePanel:
    """One candidate beside the subject; every text is in the page's language."""

    key: str
    person_id: str
    erased: bool
    gallery: str
    score: str
    threshold: str
    gallery_size: str
    bar: ScoreBar
    band: str
    false_alarms: str
    extrapolated: bool
    picture: Picture
    rows: list[FieldRow]
    differing: int
    entry: Entry
    asked: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Unsent:
    """Something typed that the case no longer takes."""

    label: str
    text: str


def panels(
    case: CaseView, portraits: CasePortraits, *, words: Words, turn: Turn, form: OpinionForm
) -> list[CandidatePanel]:
    """Return the candidates in order of rank."""
    thresholds = {search.gallery: search for search in case.searches}
    found = []
    for candidate in case.candidates:
        search = thresholds.get(candidate.gallery)
        rows = compared(case.subject, candidate.registration, words=words)
        key = str(candidate.rank)
        rates = (candidate.false_alarm_rate, candidate.false_alarm_low, candidate.false_alarm_high)
        found.append(
            CandidatePanel(
                key=key,
                person_id=candidate.person_id,
                erased=candidate.registration.erased,
                gallery=words.named("gallery", candidate.gallery),
                score=words.score(candidate.score),
                threshold=words.score(search.threshold) if search is not None else "",
                gallery_size=words.count(search.gallery_size) if search is not None else "",
                bar=ScoreBar(_hundredths(candidate.score), _hundredths(search.threshold) if search else None),
                band=words.band(candidate.false_alarm_rate),
                false_alarms=words.false_alarms(*rates),
                extrapolated=candidate.extrapolated,
                picture=_candidate_picture(case, candidate, portraits, words),
                rows=rows,
                differing=sum(row.difference == "different" for row in rows),
                entry=form.entry(key),
                asked=turn.may_decide or turn.may_confirm,
                required=turn.may_decide or candidate.person_id in case.to_confirm,
            )
        )
    return found


def probe_picture(case: CaseView, portraits: CasePortraits, words: Words) -> Picture:
    """Return the portrait that was searched."""
    caption = words.t("case.probe")
    if portraits.probe is None:
        return Picture(None, caption, caption, [], words.t("case.probe_missing"))
    return Picture(
        f"/cases/{case.id}/portraits/probe",
        words.t("case.probe_alt"),
        caption,
        mark_words(portraits.probe.marks, words),
    )


def subject_pictures(case: CaseView, portraits: CasePortraits, words: Words) -> list[Picture]:
    """Return the subject's portraits on file, newest first."""
    return [_reference(case, facts, words, words.t("case.on_file_alt")) for facts in portraits.subject]


def registration_rows(registration: RegistrationView | None, words: Words) -> list[tuple[str, str]]:
    """Return the fields of one registration that are filled in."""
    if registration is None or registration.erased:
        return []
    shown = [(words.t(f"field.{name}"), _shown(registration, name, words)) for name in FIELDS]
    return [(label, text) for label, text in shown if text]


def compared(
    subject: RegistrationView | None, candidate: RegistrationView, *, words: Words
) -> list[FieldRow]:
    """Set two registrations side by side, and tell where they differ."""
    if candidate.erased:
        return []
    rows = []
    for name in FIELDS:
        one = _shown(subject, name, words) if subject is not None else ""
        other = _shown(candidate, name, words)
        rows.append(FieldRow(words.t(f"field.{name}"), one, other, _difference(name, one, other)))
    return rows


def mark_words(marks: Sequence[str], words: Words) -> list[str]:
    """Return quality marks in words."""
    return [words.named("mark", mark) for mark in marks]


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


def unsent(case: CaseView, form: OpinionForm, words: Words) -> list[Unsent]:
    """Return everything typed, as text to copy, for a case that no longer takes it."""
    persons = {str(candidate.rank): candidate.person_id for candidate in case.candidates}
    kept = []
    for key, entry in form.entries.items():
        if not entry.is_blank:
            parts = [_conclusion_word(entry.conclusion, words), entry.reason]
            parts += [
                f"{words.term(words.codes.evidence_kinds, row.kind)} {row.reference}"
                for row in entry.given_evidence
            ]
            label = persons.get(key) or words.t("decision.manual_heading")
            kept.append(Unsent(label, "\n".join(part for part in parts if part)))
    if form.identity.reason:
        kept.append(Unsent(words.t("decision.identity_heading"), form.identity.reason))
    return kept


def _conclusion_word(conclusion: str, words: Words) -> str:
    known: Mapping[str, str] = {kind: f"conclusion.{kind}" for kind in ConclusionKind}
    return words.t(known[conclusion]) if conclusion in known else ""


def _named(registration: RegistrationView | None, person_id: str) -> str:
    name = registration.name if registration is not None else None
    return f"{name} {person_id}" if name else person_id


def _candidate_picture(
    case: CaseView, candidate: CandidateView, portraits: CasePortraits, words: Words
) -> Picture:
    """Show the portrait that scored best; where it is gone, another one of the same registration."""
    alt = words.t("case.candidate_alt", rank=candidate.rank)
    held = portraits.candidates.get(candidate.person_id, ())
    if not held:
        missing = "case.candidate_erased" if candidate.registration.erased else "case.candidate_no_portrait"
        return Picture(None, alt, words.t("case.candidate", rank=candidate.rank), [], words.t(missing))
    best = next((facts for facts in held if facts.reference_id == candidate.reference_id), None)
    shown = best or held[0]
    caption = _dated(words.t("case.candidate", rank=candidate.rank), shown.taken_on, words)
    if best is None:
        caption = words.t("case.other_portrait", caption=caption)
    address = f"/cases/{case.id}/portraits/{shown.reference_id}"
    return Picture(address, alt, caption, mark_words(shown.marks, words))


def _reference(case: CaseView, facts: PortraitFacts, words: Words, alt: str) -> Picture:
    caption = _dated(words.t("case.on_file"), facts.taken_on, words)
    address = f"/cases/{case.id}/portraits/{facts.reference_id}"
    return Picture(address, alt, caption, mark_words(facts.marks, words))


def _dated(caption: str, taken_on: date | None, words: Words) -> str:
    return f"{caption} · {words.day(taken_on) if taken_on is not None else words.t('case.undated')}"


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


def _difference(name: str, one: str, other: str) -> str:
    if not one or not other:
        return "unknown"
    if one != other:
        return "different"
    return "shown_same" if name == "citizen_id_number_masked" else "same"


def _hundredths(score: float) -> float:
    return round(min(1.0, max(0.0, score)) * 100, 1)
