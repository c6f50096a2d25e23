"""Wire shapes of notices."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.notices.queue import DeliveryState
from service.notices.service import AcknowledgedVia, NoticeKind, NoticeQuery, NoticeState, state_of
from service.tables import Notice

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
PRINTABLE_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""No control characters; the second pattern allows tabs and line breaks."""


class NoticeListQuery(BaseModel):
    """Which notices are asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: list[NoticeState] = Field(
        default_factory=list,
        max_length=3,
        description="May be repeated; default: all. Overdue ones do not count as pending.",
    )
    kind: NoticeKind | None = Field(None, description="What the notices ask for.")
    recipient: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")] | None = Field(
        None, description="`population-system`, or the division code of an authority.", examples=["530300"]
    )
    delivery: DeliveryState | None = Field(
        None, description="Only notices of which a delivery by webhook has come this far."
    )
    division: Annotated[str, StringConstraints(pattern=r"^[0-9]{2,12}$")] | None = Field(
        None,
        description="Only notices to authorities of this division and those below it.",
        examples=["5303"],
    )
    after: int = Field(0, ge=0, le=2**63 - 1, description="Only notices behind this sequence number.")
    limit: int = Field(100, ge=1, le=1000, description="Longest page.")

    def as_query(self) -> NoticeQuery:
        """Return it as the service knows it."""
        return NoticeQuery(
            after=self.after,
            limit=self.limit,
            states=frozenset(self.state),
            kind=self.kind,
            recipient=self.recipient,
            delivery=self.delivery,
            division=self.division,
        )


class AcknowledgementRequest(BaseModel):
    """Who took note of a notice, and what they say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    note: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=PRINTABLE_LINES),
        ]
        | None
    ) = Field(None, description="What the recipient says.", examples=["Cancelled on 2026-03-04."])
    acknowledged_by: (
        Annotated[
            str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=PRINTABLE)
        ]
        | None
    ) = Field(
        None, description="Who took note; default: the calling client.", examples=["530300 household section"]
    )


class NoticeBody(BaseModel):
    """What a notice says; it is the body of a webhook, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: UUID = Field(description="Stays the same however often the notice is delivered.")
    sequence: int = Field(description="Order in which notices must be applied.", examples=[17])
    kind: NoticeKind = Field(description="What it asks for.")
    recipient: str = Field(
        description="`population-system`, or the division code of an authority.", examples=["530300"]
    )
    case_id: UUID = Field(description="The case that it follows from.")
    check_id: UUID | None = Field(description="The check of that case, if it has one.")
    transaction_id: str | None = Field(description="The transaction of that check.", examples=["T-2026-0001"])
    person_id: str | None = Field(
        description="The registration that it is about.", examples=["P530102-000123"]
    )
    payload: dict[str, Any] = Field(
        description="What is to be done: `action` and its particulars.",
        examples=[{"action": "release_transaction", "instruction": "proceed"}],
    )
    reverses: UUID | None = Field(description="The earlier notice that this one takes back.")
    created_at: datetime = Field(description="When it was issued.")
    due_at: datetime = Field(description="When it becomes overdue unless it is acknowledged.")

    @classmethod
    def of(cls, notice: Notice) -> "NoticeBody":
        """Say what a notice says."""
        return cls(**_said(notice))


class NoticeView(NoticeBody):
    """One outgoing notice, and how far it has come."""

    state: NoticeState = Field(description="Pending, acknowledged, or past its day.")
    acknowledged_at: datetime | None = Field(description="When its acknowledgement was recorded.")
    acknowledged_by: str | None = Field(description="Who took note.")
    acknowledgement: str | None = Field(description="What the recipient said.")
    acknowledged_on: date | None = Field(
        None, description="Day that the acknowledgement itself bears, if told."
    )
    acknowledged_via: AcknowledgedVia | None = Field(
        None, description="A client's call, an officer's entry, or a change of the registration."
    )

    @classmethod
    def at(cls, notice: Notice, at: datetime) -> "NoticeView":
        """Show a notice as it stands at a point in time."""
        return cls(
            **_said(notice),
            state=state_of(notice, at=at),
            acknowledged_at=notice.acknowledged_at,
            acknowledged_by=notice.acknowledged_by,
            acknowledgement=notice.acknowledgement,
            acknowledged_on=notice.acknowledged_on,
            acknowledged_via=AcknowledgedVia(notice.acknowledged_via) if notice.acknowledged_via else None,
        )


def _said(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.id,
        "sequence": notice.sequence,
        "kind": NoticeKind(notice.kind),
        "recipient": notice.recipient,
        "case_id": notice.case_id,
        "check_id": notice.check_id,
        "transaction_id": notice.transaction_id,
        "person_id": notice.person_id,
        "payload": notice.payload,
        "reverses": notice.reverses_id,
        "created_at": notice.created_at,
        "due_at": notice.due_at,
    }


class NoticePage(BaseModel):
    """Notices in order; to poll, ask again with `after` set to the last sequence number seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: list[NoticeView] = Field(description="The notices.")
    next: int | None = Field(
        description="Value of `after` for the next page; null when no more notices match now.", examples=[117]
    )
