"""What was recorded on a case, made ready for its page: only what the service shows to this officer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from service.review.answers import CaseView, DecisionView, IssuedNoticeView
from service.review.events import CaseEvent
from service.review.opinion import Stage
from service.review.schemas import ConclusionItem, EvidenceItem
from service.web.words import Words


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing that an officer recorded, or the opening of the case."""

    title: str
    officer: str
    at: datetime
    concealed: bool
    lines: list[tuple[str, str]]
    files: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NoticeLine:
    """One notice that followed from the case."""

    kind: str
    recipient: str
    state: str
    overdue: bool
    created_at: str
    due_on: str


def history_of(
    case: CaseView, events: Sequence[CaseEvent], labels: Mapping[str, str], words: Words
) -> list[HistoryEntry]:
    """Return what happened, oldest first.

    Args:
        case: The case.
        events: What was done beside the decisions.
        labels: What each candidate is called on the page, by person_id.
        words: The page's language.
    """
    opened = HistoryEntry(words.t("history.opened"), "", case.opened_at, concealed=False, lines=[])
    entries = [_entry(case, decision, labels, words) for decision in case.decisions]
    entries += [_event(event, words) for event in events]
    return [opened, *sorted(entries, key=lambda entry: entry.at)]


def _event(event: CaseEvent, words: Words) -> HistoryEntry:
    lines = [(words.t("field.person_id"), event.person_id)] if event.person_id is not None else []
    title = words.named("audit_kind", event.kind)
    return HistoryEntry(title, event.actor, event.at, concealed=False, lines=lines)


def notice_lines(notices: Sequence[IssuedNoticeView], words: Words) -> list[NoticeLine]:
    """Return the notices in the order in which they were issued."""
    return [
        NoticeLine(
            kind=words.t(f"notice_kind.{notice.kind}"),
            recipient=_recipient(notice.recipient, words),
            state=words.t(f"notice_state.{notice.state}"),
            overdue=notice.state == "overdue",
            created_at=words.moment(notice.created_at),
            due_on=words.moment(notice.due_at),
        )
        for notice in notices
    ]


def _entry(case: CaseView, decision: DecisionView, labels: Mapping[str, str], words: Words) -> HistoryEntry:
    return HistoryEntry(
        title=words.t(f"history.stage_{decision.stage}", round=decision.round),
        officer=decision.officer.name,
        at=decision.decided_at,
        concealed=decision.concealed,
        lines=list(_lines(decision, labels, words)),
        files=[(one.name, f"/cases/{case.id}/attachments/{one.id}") for one in decision.attachments],
    )


def _lines(decision: DecisionView, labels: Mapping[str, str], words: Words) -> Iterator[tuple[str, str]]:
    for item in decision.conclusions:
        candidate = words.t("case.candidate", rank=labels[item.person_id])
        yield f"{candidate} · {item.person_id}", _conclusion(item, words)
    if decision.manual_conclusion is not None:
        manual = decision.manual_conclusion
        said = f"{words.t(f'manual.{manual.outcome}')} — {manual.reason}"
        yield words.t("decision.manual_heading"), said + _evidence(manual.evidence, words)
    if decision.registrations_to_cancel:
        yield words.t("history.registration_to_cancel"), words.join(decision.registrations_to_cancel)
    if decision.identity_established is not None:
        identity = decision.identity_established
        told = words.t("history.identity", person=identity.person_id, level=identity.level_code)
        yield words.t("decision.identity_heading"), f"{told} — {identity.reason}"
    if decision.stage is Stage.REOPEN and decision.reason is not None:
        yield words.t("decision.reason"), decision.reason


def _conclusion(item: ConclusionItem, words: Words) -> str:
    said = f"{words.t(f'conclusion.{item.conclusion}')} — {item.reason}"
    return said + _evidence(item.evidence, words)


def _evidence(evidence: Sequence[EvidenceItem], words: Words) -> str:
    if not evidence:
        return ""
    kinds = words.codes.evidence_kinds
    listed = words.join(f"{words.term(kinds, item.kind)} {item.reference}" for item in evidence)
    return "\n" + words.t("history.evidence", items=listed)


def _recipient(recipient: str, words: Words) -> str:
    return words.division(recipient) if recipient.isdigit() else words.t("history.population_system")
