"""The page of a case, and what an officer sends from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session
from starlette.responses import Response

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.auth.sessions import SignedIn
from service.errors import (
    CaseStateError,
    EvidenceMissingError,
    ForbiddenError,
    InvalidRequestError,
    SameOfficerError,
    ServiceError,
)
from service.review import service
from service.review.access import visible_case
from service.review.answers import CaseView
from service.review.opinion import CaseKind
from service.review.portraits import CasePortraits, portraits_of_case
from service.review.views import case_view
from service.tables import Case
from service.web import case_view as shown
from service.web.access import ProtectedForm, Visitor
from service.web.case_turn import turn_of
from service.web.history import history_of, notice_lines
from service.web.opinion_form import EVIDENCE_ROWS, MANUAL, NONE, OpinionForm
from service.web.rendering import render, words_of
from service.web.words import Words

router = APIRouter(prefix="/cases/{case_id:uuid}", include_in_schema=False)

DONE = ("claimed", "released", "decided", "confirmed", "reopened")

EXPECTED = (CaseStateError, SameOfficerError, ForbiddenError, InvalidRequestError, EvidenceMissingError)
"""Answers of the service after which the officer goes on from the same page, with everything typed kept."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something that was sent and not taken.

    Attributes:
        error: Why.
        form: The opinion as typed.
        reopening: The reason for reopening as typed.
        faults: Texts by field.
    """

    error: ServiceError
    form: OpinionForm = field(default_factory=OpinionForm)
    reopening: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)


class Faults(dict[str, str]):
    """Texts by field; a field without a fault has none."""

    def __missing__(self, field: str) -> str:
        """Return no text."""
        return ""


class Work(Protocol):
    """What a button without a form of its own does to a case."""

    def __call__(self, session: Session, case_id: UUID, *, actor: Actor) -> Case:
        """Do it, or raise one of `EXPECTED`."""


@router.get("")
def case_page(case_id: UUID, request: Request, visitor: Visitor) -> Response:
    """Show the case, on record."""
    return page_of_case(request, visitor, case_id)


@router.post("/claim")
def claim(case_id: UUID, request: Request, visitor: Visitor, _form: ProtectedForm) -> Response:
    """Take the case."""
    return _press(request, visitor, case_id, work=service.claim, done="claimed")


@router.post("/release")
def release(case_id: UUID, request: Request, visitor: Visitor, _form: ProtectedForm) -> Response:
    """Give the case back."""
    return _press(request, visitor, case_id, work=service.release, done="released")


def _press(request: Request, visitor: SignedIn, case_id: UUID, *, work: Work, done: str) -> Response:
    try:
        with request.app.state.database.write() as session:
            work(session, case_id, actor=visitor.actor)
    except EXPECTED as error:
        return page_of_case(request, visitor, case_id, attempt=Attempt(error))
    return back_to_case(case_id, done)


def back_to_case(case_id: UUID, done: str) -> Response:
    """Send the browser to the page of the case, which will say what was done."""
    return RedirectResponse(f"/cases/{case_id}?done={done}", status_code=303)


def page_of_case(
    request: Request, visitor: SignedIn, case_id: UUID, *, attempt: Attempt | None = None
) -> Response:
    """Show a case as it stands, and what was sent and not taken.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division.
    """
    with request.app.state.database.write() as session:
        stored = visible_case(session, case_id, actor=visitor.actor)
        record(session, AuditKind.CASE_VIEWED, actor=visitor.actor, subject=f"case:{case_id}")
        case = case_view(session, stored, actor=visitor.actor)
        portraits = portraits_of_case(session, stored)
    words = words_of(request)
    done = request.query_params.get("done", "")
    return render(
        request,
        "case.html",
        status=attempt.error.status if attempt is not None else 200,
        visitor=visitor,
        address=f"/cases/{case_id}",
        done=f"done.{done}" if done in DONE and attempt is None else "",
        message=_message(attempt, words),
        faults=Faults(attempt.faults if attempt is not None else {}),
        reopening=attempt.reopening if attempt is not None else "",
        **_content(case, portraits, visitor.actor, attempt.form if attempt else OpinionForm(), words),
    )


def _content(
    case: CaseView, portraits: CasePortraits, actor: Actor, form: OpinionForm, words: Words
) -> dict[str, object]:
    turn = turn_of(case, actor)
    offered = turn.may_decide or turn.may_confirm
    return {
        "case": case,
        "turn": turn,
        "title": _title(case, words),
        "panels": shown.panels(case, portraits, words=words, turn=turn, form=form),
        "probe": shown.probe_picture(case, portraits, words),
        "comparable": case.subject is not None and not case.subject.erased,
        "on_file": shown.subject_pictures(case, portraits, words),
        "subject": shown.registration_rows(case.subject, words),
        "reasons": [words.named("reason", reason) for reason in case.reasons],
        "registrations": shown.registrations_to_choose(case, words),
        "manual": form.entry(MANUAL) if case.kind is CaseKind.NOT_SEARCHABLE else None,
        "form": form,
        "evidence_kinds": words.codes.evidence_kinds,
        "evidence_rows": range(1, EVIDENCE_ROWS + 1),
        "no_registration": NONE,
        "unsent": [] if offered else shown.unsent(case, form, words),
        "history": history_of(case, words),
        "notices": notice_lines(case.notices, words),
    }


def _title(case: CaseView, words: Words) -> str:
    if case.transaction is None:
        return words.t("case.sweep_title")
    kind = words.term(words.codes.transaction_types, case.transaction.type)
    return f"{kind} · {case.transaction.id}"


def _message(attempt: Attempt | None, words: Words) -> str:
    if attempt is None:
        return ""
    match attempt.error:
        case SameOfficerError():
            return words.t("message.same_officer")
        case CaseStateError():
            return words.t("message.case_moved")
        case ForbiddenError():
            return words.t("message.forbidden")
    return words.t("message.check_fields")
