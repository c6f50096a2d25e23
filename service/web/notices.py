"""The pages of notices: the table, one notice, and what people send from it."""

from datetime import date, timedelta
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.responses import Response

from service.audit.service import AuditKind, record
from service.auth.service import Role
from service.auth.sessions import SignedIn
from service.dependencies import Transaction
from service.errors import InvalidRequestError, NoticeStateError
from service.notices.overview import (
    ACKNOWLEDGERS,
    SENDERS,
    OverviewLine,
    OverviewQuery,
    Progress,
    acknowledge_by_officer,
    earliest_day,
    latest_day,
    overview,
    release,
    resend,
    visible_notice,
)
from service.notices.schemas import AcknowledgementRequest, NoticeListQuery
from service.notices.service import NoticeKind
from service.review.letters import LetterDesk, has_letter, print_letter
from service.settings import Settings
from service.web.access import FormFields, ProtectedForm, Visitor
from service.web.notice_view import delivery_lines, instruction_of, line_of, notice_facts
from service.web.rendering import render, words_of

router = APIRouter(prefix="/notices", include_in_schema=False)

FILTERS = ("progress", "kind", "division")
TOLD = ("acknowledged", "resent", "released", "acknowledged_before", "not_resent")


@router.get("")
def notices_page(request: Request, visitor: Visitor, session: Transaction) -> Response:
    """Show the table of notices, newest first; looking at it is on record."""
    chosen = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    given = {name: value for name, value in chosen.items() if value}
    page = overview(session, _query(request, given), actor=visitor.actor)
    record(session, AuditKind.NOTICES_LISTED, actor=visitor.actor, shown=len(page.lines), **given)
    words = words_of(request)
    following = urlencode(given | {"before": page.next}) if page.next is not None else None
    return render(
        request,
        "notices.html",
        visitor=visitor,
        lines=[line_of(line, words) for line in page.lines],
        counts=page.counts,
        chosen=chosen,
        filtered=bool(given),
        progresses=list(Progress),
        kinds=list(NoticeKind),
        following=f"/notices?{following}" if following else None,
        later_page="before" in request.query_params,
        first=f"/notices?{urlencode(given)}" if given else "/notices",
        everywhere=visitor.actor.role is Role.OPERATOR,
    )


@router.get("/{notice_id:uuid}")
def notice_page(request: Request, notice_id: UUID, visitor: Visitor, session: Transaction) -> Response:
    """Show one notice, on record."""
    line = visible_notice(session, notice_id, actor=visitor.actor)
    record(session, AuditKind.NOTICE_VIEWED, actor=visitor.actor, subject=f"notice:{notice_id}")
    return _page(request, line, visitor, session)


def _page(
    request: Request,
    line: OverviewLine,
    visitor: SignedIn,
    session: Session,
    *,
    unsent: FormFields | None = None,
) -> Response:
    """Render a notice; `unsent` is an answer that was typed and could not be recorded."""
    words, role, notice = words_of(request), visitor.actor.role, line.notice
    too_late = unsent is not None and notice.acknowledged_at is not None
    told = "acknowledged_before" if too_late else request.query_params.get("told", "")
    typed = unsent or {}
    return render(
        request,
        "notice.html",
        status=200 if unsent is None else 409 if too_late else 422,
        visitor=visitor,
        address=f"/notices/{notice.id}",
        notice=notice,
        shown=line_of(line, words),
        facts=notice_facts(notice, words),
        instruction=instruction_of(notice, words),
        deliveries=delivery_lines(line.deliveries, words),
        may_acknowledge=role in ACKNOWLEDGERS and notice.acknowledged_at is None,
        may_send=role in SENDERS,
        case_address=f"/cases/{notice.case_id}" if role in ACKNOWLEDGERS else None,
        letter=role in ACKNOWLEDGERS and has_letter(session, notice),
        earliest=earliest_day(notice).isoformat(),
        latest=latest_day().isoformat(),
        told=told if told in TOLD else None,
        typed={
            "note": typed.get("note", ""),
            "on": typed.get("on", ""),
            "fault": bool(typed) and not too_late,
        },
        too_late=too_late,
    )


@router.post("/{notice_id:uuid}/acknowledgement")
def acknowledge(
    request: Request, notice_id: UUID, visitor: Visitor, form: ProtectedForm, session: Transaction
) -> Response:
    """Record an answer that came on paper or by telephone."""
    try:
        note = AcknowledgementRequest.model_validate({"note": form.get("note", "")}).note or ""
        on = date.fromisoformat(form.get("on", ""))
        acknowledge_by_officer(session, notice_id, note=note, on=on, actor=visitor.actor)
    except (ValidationError, ValueError, InvalidRequestError, NoticeStateError):
        line = visible_notice(session, notice_id, actor=visitor.actor)
        return _page(request, line, visitor, session, unsent=form)
    return _back(notice_id, "acknowledged")


@router.post("/{notice_id:uuid}/deliveries/{delivery_id:int}/resend")
def send_again(  # noqa: PLR0917 - what FastAPI injects
    request: Request,
    notice_id: UUID,
    delivery_id: int,
    visitor: Visitor,
    form: ProtectedForm,  # noqa: ARG001 - it is what is checked
    session: Transaction,
) -> Response:
    """Send a notice to a target once more."""
    settings: Settings = request.app.state.settings
    give_up_after = timedelta(days=settings.webhook_give_up_days)
    try:
        resend(session, notice_id, delivery_id, give_up_after=give_up_after, actor=visitor.actor)
    except NoticeStateError:
        return _back(notice_id, "not_resent")
    return _back(notice_id, "resent")


@router.post("/{notice_id:uuid}/deliveries/{delivery_id:int}/release")
def let_pass(
    notice_id: UUID,
    delivery_id: int,
    visitor: Visitor,
    form: ProtectedForm,  # noqa: ARG001 - it is what is checked
    session: Transaction,
) -> Response:
    """Let later notices pass one that could not be delivered."""
    try:
        release(session, notice_id, delivery_id, actor=visitor.actor)
    except NoticeStateError:
        return _back(notice_id, "not_resent")
    return _back(notice_id, "released")


@router.get("/{notice_id:uuid}/letter.pdf")
def letter(request: Request, notice_id: UUID, visitor: Visitor, session: Transaction) -> Response:
    """Give the letter of a notice as PDF, on record."""
    state = request.app.state
    desk = LetterDesk(state.settings, state.codes, state.portrait_store.get)
    made, number = print_letter(session, notice_id, desk=desk, actor=visitor.actor)
    return Response(
        made.pdf,
        media_type="application/pdf",
        headers={
            "Content-Disposition": f"inline; filename=letter.pdf; filename*=UTF-8''{quote(number)}.pdf",
            "Cache-Control": "no-store",
        },
    )


def _back(notice_id: UUID, told: str) -> RedirectResponse:
    return RedirectResponse(f"/notices/{notice_id}?told={told}", status_code=303)


def _query(request: Request, given: dict[str, str]) -> OverviewQuery:
    """Read the filters.

    Raises:
        InvalidRequestError: An address was put together by hand, and wrongly.
    """
    try:
        named = NoticeListQuery.model_validate({k: v for k, v in given.items() if k != "progress"})
        before = request.query_params.get("before")
        return OverviewQuery(
            progress=Progress(given["progress"]) if "progress" in given else None,
            kind=named.kind,
            division=named.division,
            before=NoticeListQuery.model_validate({"after": before}).after if before else None,
        )
    except ValueError:  # A ValidationError is one.
        raise InvalidRequestError("The filters of the notices cannot be read.") from None
