"""Notices made ready for their pages: every text is in the page's language."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.notices.overview import OverviewLine
from service.notices.queue import DeliveryState
from service.notices.service import NoticeKind, NoticeState, state_of
from service.tables import Notice, NoticeDelivery, now
from service.web.words import Words

TONES = {
    DeliveryState.WAITING: "plain",
    DeliveryState.DELIVERED: "good",
    DeliveryState.DEAD: "bad",
    DeliveryState.RELEASED: "plain",
}


@dataclass(frozen=True, slots=True)
class NoticeLine:
    """One line of the table."""

    id: UUID
    sequence: int
    kind: str
    recipient: str
    about: str
    state: str
    overdue: bool
    acknowledged: bool
    created_at: str
    due_at: str
    deliveries: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """One delivery of a notice."""

    id: int
    target: str
    state: str
    tone: str
    attempts: int
    last: str
    outcome: str
    next: str
    may_resend: bool
    may_release: bool


def line_of(line: OverviewLine, words: Words) -> NoticeLine:
    """Show a notice in one line."""
    notice = line.notice
    state = state_of(notice, at=now())
    told = dict.fromkeys(DeliveryState(delivery.state) for delivery in line.deliveries)
    return NoticeLine(
        id=notice.id,
        sequence=notice.sequence,
        kind=words.t(f"notice_kind.{notice.kind}"),
        recipient=recipient_of(notice, words),
        about=notice.transaction_id or notice.person_id or "",
        state=words.t(f"notice_state.{state}"),
        overdue=state is NoticeState.OVERDUE,
        acknowledged=state is NoticeState.ACKNOWLEDGED,
        created_at=words.moment(notice.created_at),
        due_at=words.moment(notice.due_at),
        deliveries=[(words.t(f"delivery_state.{one}"), TONES[one]) for one in told],
    )


def recipient_of(notice: Notice, words: Words) -> str:
    """Return who a notice is for."""
    if notice.recipient.isdigit():
        return words.division(notice.recipient)
    return words.t("history.population_system")


def instruction_of(notice: Notice, words: Words) -> str:
    """Say in a sentence what a notice asks for."""
    person = notice.person_id or ""
    if notice.kind == NoticeKind.LEVEL_CODE_CHANGE:
        return words.t("notice.asks_level", person=person, level=notice.payload.get("level_code", ""))
    if notice.kind == NoticeKind.CANCEL_REQUEST:
        return words.t("notice.asks_cancel", person=person)
    if notice.kind == NoticeKind.REVERSAL:
        return words.t("notice.asks_undo", number=notice.payload.get("reverses", {}).get("sequence", ""))
    key = "notice.asks_release" if notice.kind == NoticeKind.RELEASE else "notice.asks_stop"
    return words.t(key, transaction=notice.transaction_id or "")


def notice_facts(notice: Notice, words: Words) -> list[tuple[str, str]]:
    """Return what is known of a notice, as name and value; what is empty is left out."""
    via = notice.acknowledged_via
    facts = [
        ("notice.recipient", recipient_of(notice, words)),
        ("notice.transaction", notice.transaction_id),
        ("notice.person", notice.person_id),
        ("notice.issued", words.moment(notice.created_at)),
        ("notice.due", words.moment(notice.due_at)),
        ("notice.acknowledged_at", _moment(notice.acknowledged_at, words)),
        ("notice.acknowledged_by", notice.acknowledged_by),
        ("notice.acknowledged_via", words.t(f"acknowledged_via.{via}") if via else None),
        ("notice.acknowledged_on", words.day(notice.acknowledged_on)),
        ("notice.said", notice.acknowledgement),
    ]
    return [(words.t(key), value) for key, value in facts if value]


def delivery_lines(deliveries: Sequence[NoticeDelivery], words: Words) -> list[DeliveryLine]:
    """Show the deliveries of a notice."""
    return [
        DeliveryLine(
            id=one.id,
            target=one.target,
            state=words.t(f"delivery_state.{one.state}"),
            tone=TONES[DeliveryState(one.state)],
            attempts=one.attempts,
            last=_moment(one.last_attempt_at, words),
            outcome=_outcome(one.last_outcome, words),
            next=words.moment(one.next_at) if one.state == DeliveryState.WAITING else "",
            may_resend=one.state != DeliveryState.WAITING,
            may_release=one.state == DeliveryState.DEAD,
        )
        for one in deliveries
    ]


def _outcome(code: str | None, words: Words) -> str:
    if code is None:
        return ""
    if code.startswith("http-"):
        return words.t("delivery.answered", status=code.removeprefix("http-"))
    return words.named("delivery_outcome", code)


def _moment(at: datetime | None, words: Words) -> str:
    return words.moment(at) if at is not None else ""
