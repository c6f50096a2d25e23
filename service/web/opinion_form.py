"""The form in which an officer gives an opinion: read as typed, checked in words, turned into a request.

What is wrong is found here first so that it can be said beside the field and in the page's language;
the rules in `service.review.rules` judge every opinion again, whatever sent it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from service.review.answers import CaseView
from service.review.opinion import ConclusionKind

EVIDENCE_ROWS = 3
"""Pieces of evidence that a form without script can take for one conclusion."""

MANUAL = "manual"
"""Stands in field names where the rank of a candidate would."""

NONE = "none"
"""Chosen where no registration is to be cancelled."""


@dataclass(frozen=True, slots=True)
class EvidenceEntry:
    """One row of evidence as typed."""

    kind: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was typed on one candidate, or by hand on a case without candidates."""

    conclusion: str = ""
    reason: str = ""
    evidence: tuple[EvidenceEntry, ...] = (EvidenceEntry(),) * EVIDENCE_ROWS

    @property
    def is_blank(self) -> bool:
        """Whether nothing was typed or chosen."""
        return self == Entry()

    @property
    def given_evidence(self) -> list[EvidenceEntry]:
        """The rows in which something was typed."""
        return [row for row in self.evidence if row.kind or row.reference]


@dataclass(frozen=True, slots=True)
class IdentityEntry:
    """An established identity as typed."""

    person_id: str = ""
    level_code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OpinionForm:
    """A whole opinion as typed.

    Attributes:
        entries: By the rank of the candidate as text, or `MANUAL`.
        registration_to_cancel: A registration, `NONE`, or nothing chosen.
        identity: An established identity.
        revision: The revision of the case that the officer saw.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    registration_to_cancel: str = ""
    identity: IdentityEntry = IdentityEntry()
    revision: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether nothing was typed or chosen."""
        entries = all(entry.is_blank for entry in self.entries.values())
        return entries and not self.registration_to_cancel and self.identity == IdentityEntry()

    def entry(self, key: str) -> Entry:
        """Return what was typed under a key, if anything."""
        return self.entries.get(key, Entry())


def read_form(form: Mapping[str, str], case: CaseView) -> OpinionForm:
    """Read the fields of a posted opinion; nothing is judged.

    Args:
        form: The posted fields.
        case: The case that it was sent to.
    """
    keys = [str(candidate.rank) for candidate in case.candidates] or [MANUAL]
    return OpinionForm(
        entries={key: _read_entry(form, key) for key in keys},
        registration_to_cancel=form.get("registration", ""),
        identity=IdentityEntry(
            person_id=form.get("identity-person", ""),
            level_code=form.get("identity-level", "").strip(),
            reason=_lines(form.get("identity-reason", "")),
        ),
        revision=form.get("revision", ""),
    )


def request_of(form: OpinionForm, case: CaseView) -> dict[str, object]:
    """Return the opinion in the shape of `DecisionRequest` or `ConfirmationRequest`, not yet validated."""
    persons = {str(candidate.rank): candidate.person_id for candidate in case.candidates}
    body: dict[str, object] = {
        "conclusions": [
            {"person_id": persons[key], "conclusion": entry.conclusion, **_grounds(entry)}
            for key, entry in form.entries.items()
            if key in persons and entry.conclusion
        ]
    }
    if MANUAL in form.entries:
        manual = form.entries[MANUAL]
        body["manual_conclusion"] = {"outcome": manual.conclusion, **_grounds(manual)}
    if form.registration_to_cancel not in ("", NONE):
        body["registration_to_cancel"] = form.registration_to_cancel
    if form.identity != IdentityEntry():
        identity = form.identity
        body["identity_established"] = {
            "person_id": identity.person_id,
            "level_code": identity.level_code,
            "reason": identity.reason,
        }
    if form.revision.isascii() and form.revision.isdigit():
        body["expected_revision"] = int(form.revision)
    return body


def faults_of(form: OpinionForm, case: CaseView, *, required: Collection[str]) -> dict[str, str]:
    """Find what is missing; returns keys of texts by field.

    Args:
        form: As typed.
        case: The case.
        required: The keys of the entries that must hold a conclusion.
    """
    faults = {
        f"{name}-{key}": fault
        for key, entry in form.entries.items()
        for name, fault in _entry_faults(entry, required=key in required, manual=key == MANUAL)
    }
    same = {
        candidate.person_id
        for candidate in case.candidates
        if form.entry(str(candidate.rank)).conclusion == ConclusionKind.SAME_PERSON
    }
    concerned = same | ({case.subject_person_id} if case.subject_person_id is not None else set())
    chosen = form.registration_to_cancel if form.registration_to_cancel != NONE else ""
    if same and not chosen and len(concerned) > 1:
        faults["registration"] = "fault.registration_missing"
    elif chosen and (not same or chosen not in concerned):
        faults["registration"] = "fault.registration_not_concerned"
    if form.identity != IdentityEntry():
        identity = form.identity
        if not (identity.person_id and identity.level_code and identity.reason):
            faults["identity"] = "fault.identity_incomplete"
    return faults


def _entry_faults(entry: Entry, *, required: bool, manual: bool) -> Iterator[tuple[str, str]]:
    if entry.is_blank and not required:
        return
    if not entry.conclusion:
        yield "conclusion", "fault.conclusion_missing"
    if not entry.reason:
        yield "reason", "fault.reason_missing"
    if any(not row.kind or not row.reference for row in entry.given_evidence):
        yield "evidence", "fault.evidence_incomplete"
    elif not entry.given_evidence and entry.conclusion == ConclusionKind.SAME_PERSON:
        yield "evidence", "fault.evidence_missing"
    elif not entry.given_evidence and manual and entry.conclusion == "cleared":
        yield "evidence", "fault.evidence_missing_manual"


def _read_entry(form: Mapping[str, str], key: str) -> Entry:
    return Entry(
        conclusion=form.get(f"conclusion-{key}", ""),
        reason=_lines(form.get(f"reason-{key}", "")),
        evidence=tuple(
            EvidenceEntry(
                kind=form.get(f"evidence-kind-{key}-{row}", ""),
                reference=form.get(f"evidence-reference-{key}-{row}", "").strip(),
            )
            for row in range(1, EVIDENCE_ROWS + 1)
        ),
    )


def _grounds(entry: Entry) -> dict[str, object]:
    return {
        "reason": entry.reason,
        "evidence": [{"kind": row.kind, "reference": row.reference} for row in entry.given_evidence],
    }


def _lines(text: str) -> str:
    """Return what was typed with plain line breaks; browsers send CR LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
