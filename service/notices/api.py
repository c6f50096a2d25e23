"""`/v1/notices`: what the population system has to do, in order."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from service.audit.service import AuditKind, record_listing
from service.auth.service import Actor, Scope
from service.dependencies import Caller, StoredIn, Transaction, View
from service.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnauthenticatedError,
)
from service.notices import service
from service.notices.schemas import AcknowledgementRequest, NoticeListQuery, NoticePage, NoticeView
from service.problems import responses_for
from service.tables import now

COMMON = (UnauthenticatedError, ForbiddenError, InvalidRequestError, DatabaseUnavailableError)

router = APIRouter(prefix="/v1/notices", tags=["notices"])


def notices_client(caller: Caller) -> Actor:
    """Let clients with the scope `notices` pass."""
    caller.require_scope(Scope.NOTICES)
    return caller


Client = Annotated[Actor, Depends(notices_client)]


@router.get("", summary="List notices", responses=responses_for(*COMMON))
def get_notices(
    actor: Client, session: View, database: StoredIn, query: Annotated[NoticeListQuery, Query()]
) -> NoticePage:
    """List notices in the order in which they must be applied.

    To poll, ask again with `after` set to the last sequence number that you saw: a smaller number
    never appears later.
    """
    notices, more = service.list_notices(session, query.as_query(), actor=actor)
    if notices:  # A poll that finds nothing shows nothing to anybody.
        record_listing(database, AuditKind.NOTICES_LISTED, actor=actor, shown=len(notices))
    at = now()
    return NoticePage(
        items=[NoticeView.at(notice, at) for notice in notices],
        next=notices[-1].sequence if more else None,
    )


@router.get("/{notice_id}", summary="Read a notice", responses=responses_for(*COMMON, NotFoundError))
def get_notice(notice_id: UUID, actor: Client, session: View) -> NoticeView:
    """Read one notice."""
    return NoticeView.at(service.read_notice(session, notice_id, actor=actor), now())


@router.post(
    "/{notice_id}/acknowledgement",
    summary="Acknowledge a notice",
    responses=responses_for(*COMMON, NotFoundError),
)
def acknowledge_notice(
    notice_id: UUID, actor: Client, session: Transaction, body: AcknowledgementRequest | None = None
) -> NoticeView:
    """Report that the recipient has taken note; the first acknowledgement stands, so repeat it freely."""
    given = body or AcknowledgementRequest.model_validate({})
    notice = service.acknowledge(
        session, notice_id, actor=actor, note=given.note, acknowledged_by=given.acknowledged_by
    )
    return NoticeView.at(notice, now())
