"""What the page of a case shows, made ready for the template in the page's language."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.review.answers import CandidateView, CaseView, SearchView
from service.review.first_look import neutral_order
from service.review.opinion import ConclusionKind
from service.review.portraits import CasePortraits
from service.web.case_turn import Turn
from service.web.opinion_form import Entry, IdentityEntry, OpinionForm
from service.web.pictures import Mark, Picture, candidate_pictures, meanings, probe_picture
from service.web.registrations import FieldRow, compared, registrations_to_choose
from service.web.words import Words


@dataclass(frozen=True, slots=True)
class Look:
    """How the officer looks at a case.

    Attributes:
        officer: Whose order of candidates is shown while figures are withheld.
        blind: Whether ranks, scores and rates are withheld until the officer has looked.
        opened: The full ID numbers that the officer has just opened, by person_id.
    """

    officer: str
    blind: bool = False
    opened: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoreBar:
    """Where score and threshold lie between 0 and 1, in hundredths."""

    score: float
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a candidate, in words."""

    score: str
    threshold: str
    bar: ScoreBar
    band: str
    false_alarms: str
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class CandidatePanel:
    """One candidate beside the subject; every text is in the page's language.

    Attributes:
        key: Names it in fields and anchors: the rank, or a letter while that is withheld.
        person_id: The population system's key.
        name: As registered; empty if that is not known.
        erased: Whether the registration is no longer held.
        kinship: `twins` or `siblings` where the registrations point to it, else empty.
        gallery: Where it was found, and how large that was.
        figures: None while they are withheld.
        picture: The portrait that the comparison begins with.
        references: All portraits held, if there are several.
        meanings: What the marks of both portraits mean.
        rows: The two registrations.
        differing: How many fields differ.
        entry: What was typed.
        asked: Whether the officer may give an opinion on it.
        required: Whether they must.
    """

    key: str
    person_id: str
    name: str
    erased: bool
    kinship: str
    gallery: str
    figures: Figures | None
    picture: Picture
    references: list[Picture]
    meanings: list[Mark]
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
    files: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the panels of a case are made of."""

    case: CaseView
    portraits: CasePortraits
    look: Look
    turn: Turn
    form: OpinionForm
    words: Words


def labels_of(case: CaseView, look: Look) -> dict[str, str]:
    """Name each candidate, in the order shown: by rank, or by a letter that tells nothing about it."""
    if not look.blind:
        return {candidate.person_id: str(candidate.rank) for candidate in case.candidates}
    order = neutral_order(case.id, look.officer, [candidate.person_id for candidate in case.candidates])
    return {person_id: _letter(place) for place, person_id in enumerate(order)}


def panels(scene: Scene) -> list[CandidatePanel]:
    """Return the candidates in order of rank, or in the neutral order."""
    candidates = {candidate.person_id: candidate for candidate in scene.case.candidates}
    probe = probe_picture(scene.case, scene.portraits, scene.words)
    labels = labels_of(scene.case, scene.look)
    return [_panel(scene, candidates[person_id], key, probe) for person_id, key in labels.items()]


def _panel(scene: Scene, candidate: CandidateView, key: str, probe: Picture) -> CandidatePanel:
    case, turn, words = scene.case, scene.turn, scene.words
    search = next((one for one in case.searches if one.gallery == candidate.gallery), None)
    rows = compared(case.subject, candidate.registration, opened=scene.look.opened, words=words)
    pictures = candidate_pictures(case, candidate, scene.portraits, words, label=key)
    return CandidatePanel(
        key=key,
        person_id=candidate.person_id,
        name=candidate.registration.name or "",
        erased=candidate.registration.erased,
        kinship=candidate.kinship or "",
        gallery=_gallery(candidate, search, words),
        figures=None if scene.look.blind else _figures(candidate, search, words),
        picture=pictures[0],
        references=pictures if len(pictures) > 1 else [],
        meanings=meanings([probe, *pictures]),
        rows=rows,
        differing=sum(row.difference == "different" for row in rows),
        entry=scene.form.entry(key),
        asked=turn.may_decide or turn.may_confirm,
        required=turn.may_decide or candidate.person_id in case.to_confirm,
    )


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
            files = [(row.file_name, row.file_address) for row in entry.given_evidence if row.attachment]
            kept.append(Unsent(label, _lines(parts), files))
    labels = dict(registrations_to_choose(case, words))
    going = [labels.get(person_id, person_id) for person_id in form.registrations_to_cancel]
    if going:
        kept.append(Unsent(words.t("decision.registration"), _lines(going)))
    identity = form.identity
    if identity != IdentityEntry():
        named = [labels.get(identity.person_id, identity.person_id), identity.level_code, identity.reason]
        kept.append(Unsent(words.t("decision.identity_heading"), _lines(named)))
    return kept


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(part for part in parts if part)


def _gallery(candidate: CandidateView, search: SearchView | None, words: Words) -> str:
    gallery = words.named("gallery", candidate.gallery)
    if search is None:
        return gallery
    return words.t("case.gallery", gallery=gallery, size=words.count(search.gallery_size))


def _figures(candidate: CandidateView, search: SearchView | None, words: Words) -> Figures:
    rates = (candidate.false_alarm_rate, candidate.false_alarm_low, candidate.false_alarm_high)
    threshold = search.threshold if search is not None else None
    return Figures(
        score=words.score(candidate.score),
        threshold=words.score(threshold) if threshold is not None else "",
        bar=ScoreBar(_hundredths(candidate.score), _hundredths(threshold) if threshold is not None else None),
        band=words.band(candidate.false_alarm_rate),
        false_alarms=words.false_alarms(*rates),
        extrapolated=candidate.extrapolated,
    )


def _conclusion_word(conclusion: str, words: Words) -> str:
    known: Mapping[str, str] = {kind: f"conclusion.{kind}" for kind in ConclusionKind}
    return words.t(known[conclusion]) if conclusion in known else ""


def _letter(place: int) -> str:
    """Return A … Z, then AA, AB …: up to 200 candidates, the longest list that settings allow."""
    letters = string.ascii_uppercase
    return letters[place] if place < 26 else letters[place // 26 - 1] + letters[place % 26]


def _hundredths(score: float) -> float:
    return round(min(1.0, max(0.0, score)) * 100, 1)
