"""The form in which an officer gives an opinion: read as typed, checked in words, turned into a request.

What is wrong is found here first so that it can be said beside the field and in the page's language;
the rules in `service.review.rules` judge every opinion again, whatever sent it.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from service.review.answers import CaseView
from service.review.opinion import ConclusionKind, is_blank

EVIDENCE_ROWS = 3
"""Pieces of evidence that a form without script can take for one conclusion."""

MANUAL = "manual"
"""Stands in field names where the rank of a candidate would."""

SUBJECT = "subject"
"""Stands for the subject where candidates go by their rank."""

NONE = "none"
"""Chosen where no registration is to be cancelled."""

OPINION_FIELD = re.compile(
    r"(conclusion|reason)-\w{1,6}|evidence-(kind|reference|file)-\w{1,6}-\d{1,2}"
    r"|registration(-\d{1,3})?|identity-(person|level|reason)|revision|erased"
)
"""Names of the fields of an opinion."""

REGISTRATION_FIELD = re.compile(r"registration(-\d{1,3})?")
"""Each registration to cancel is a field of its own."""


@dataclass(frozen=True, slots=True)
class EvidenceEntry:
    """One row of evidence as typed.

    Attributes:
        kind: A code of the table of evidence kinds.
        reference: By what it can be found.
        attachment: The id of a file that is attached to it.
        file_name: The name of that file.
        file_address: Where that file can be read.
    """

    kind: str = ""
    reference: str = ""
    attachment: str = ""
    file_name: str = ""
    file_address: str = ""

    @property
    def is_given(self) -> bool:
        """Whether anything was typed, chosen or attached."""
        return bool(self.kind or self.reference or self.attachment)


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
        return [row for row in self.evidence if row.is_given]


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
        registrations_to_cancel: Those chosen.
        identity: An established identity.
        revision: The revision of the case that the officer saw.
        erased: What `erased_of` named when the officer read the page.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    registrations_to_cancel: tuple[str, ...] = ()
    identity: IdentityEntry = IdentityEntry()
    revision: str = ""
    erased: frozenset[str] | None = None

    @property
    def is_blank(self) -> bool:
        """Whether nothing was typed or chosen."""
        entries = all(entry.is_blank for entry in self.entries.values())
        return entries and not self.registrations_to_cancel and self.identity == IdentityEntry()

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
        registrations_to_cancel=tuple(
            value
            for name, value in form.items()
            if REGISTRATION_FIELD.fullmatch(name) and value not in ("", NONE)
        ),
        identity=IdentityEntry(
            person_id=form.get("identity-person", ""),
            level_code=form.get("identity-level", "").strip(),
            reason=_lines(form.get("identity-reason", "")),
        ),
        revision=form.get("revision", ""),
        erased=frozenset(form["erased"].split()) if "erased" in form else None,
    )


def fields_of(form: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that a draft keeps: what was typed or chosen, and nothing of a session."""
    return {name: value for name, value in form.items() if value and OPINION_FIELD.fullmatch(name)}


def erased_meanwhile(form: OpinionForm, case: CaseView) -> bool:
    """Tell whether a registration of the case went after the officer had read the page."""
    return form.erased is not None and not erased_of(case) <= form.erased


def erased_of(case: CaseView) -> set[str]:
    """Name the registrations that are not held any more: candidates' by rank, the subject's by a word."""
    gone = {str(candidate.rank) for candidate in case.candidates if candidate.registration.erased}
    return gone | ({SUBJECT} if case.subject is not None and case.subject.erased else set())


def with_files(form: OpinionForm, files: Mapping[str, tuple[str, str]]) -> OpinionForm:
    """Name the attached files; one that is gone is no longer attached.

    Args:
        form: As typed.
        files: Name and address of the officer's own files, by id.
    """

    def named(row: EvidenceEntry) -> EvidenceEntry:
        if row.attachment not in files:
            return replace(row, attachment="")
        name, address = files[row.attachment]
        return replace(row, file_name=name, file_address=address)

    entries = {
        key: replace(entry, evidence=tuple(named(row) for row in entry.evidence))
        for key, entry in form.entries.items()
    }
    return replace(form, entries=entries)


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
    if form.registrations_to_cancel:
        body["registrations_to_cancel"] = list(form.registrations_to_cancel)
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
    fault = _registration_fault(form, case)
    if fault:
        faults["registration"] = fault
    if form.identity != IdentityEntry():
        identity = form.identity
        if not (identity.person_id and identity.level_code) or is_blank(identity.reason):
            faults["identity"] = "fault.identity_incomplete"
    return faults


def _registration_fault(form: OpinionForm, case: CaseView) -> str:
    """Return what is wrong with the registrations to cancel, or nothing."""
    same = [
        candidate
        for candidate in case.candidates
        if form.entry(str(candidate.rank)).conclusion == ConclusionKind.SAME_PERSON
    ]
    subject = {case.subject_person_id} if case.subject_person_id is not None else set()
    concerned = {candidate.person_id for candidate in same} | subject if same else set()
    held = {candidate.person_id for candidate in same if not candidate.registration.erased} | subject
    chosen = set(form.registrations_to_cancel)
    if chosen - concerned:
        return "fault.registration_not_concerned"
    if chosen - held:
        return "fault.registration_erased"
    if same and len(held) > 1 and not chosen:
        return "fault.registration_missing"
    return "fault.registration_all" if len(held) > 1 and chosen == held else ""


def _entry_faults(entry: Entry, *, required: bool, manual: bool) -> Iterator[tuple[str, str]]:
    if entry.is_blank and not required:
        return
    if not entry.conclusion:
        yield "conclusion", "fault.conclusion_missing"
    if is_blank(entry.reason):
        yield "reason", "fault.reason_missing"
    if any(not row.kind or is_blank(row.reference) for row in entry.given_evidence):
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
                attachment=form.get(f"evidence-file-{key}-{row}", ""),
            )
            for row in range(1, EVIDENCE_ROWS + 1)
        ),
    )


def _grounds(entry: Entry) -> dict[str, object]:
    return {
        "reason": entry.reason,
        "evidence": [
            {"kind": row.kind, "reference": row.reference, "attachment": row.attachment or None}
            for row in entry.given_evidence
        ],
    }


def _lines(text: str) -> str:
    """Return what was typed with plain line breaks; browsers send CR LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
