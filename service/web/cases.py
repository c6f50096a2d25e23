"""The page of a case, and what an officer sends from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session
from starlette.responses import Response

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
from service.review.access import note_viewed, visible_case
from service.review.answers import CaseView
from service.review.appeals import AppealState
from service.review.drafts import draft_of
from service.review.events import CaseEvent, events_of_case
from service.review.first_look import awaits_look, note_look
from service.review.id_numbers import open_id_numbers
from service.review.opinion import CaseKind
from service.review.portraits import portraits_of_case
from service.review.views import case_view
from service.tables import Case
from service.web.access import FormFields, ProtectedForm, Visitor
from service.web.case_turn import Turn, turn_of
from service.web.case_view import Look, Scene, Unsent, labels_of, panels, unsent
from service.web.drafting import named_files
from service.web.history import history_of, notice_lines
from service.web.opinion_form import EVIDENCE_ROWS, MANUAL, NONE, OpinionForm, erased_of, read_form
from service.web.pictures import probe_picture, subject_pictures
from service.web.registrations import registration_rows, registrations_to_choose
from service.web.rendering import render, words_of
from service.web.words import Words

router = APIRouter(prefix="/cases/{case_id:uuid}", include_in_schema=False)

DONE = (
    "claimed",
    "released",
    "looked",
    "decided",
    "confirmed",
    "reopened",
    "draft_saved",
    "draft_discarded",
    "appealed",
    "dismissed",
)

EXPECTED = (CaseStateError, SameOfficerError, ForbiddenError, InvalidRequestError, EvidenceMissingError)
"""Answers of the service after which the officer goes on from the same page, with everything typed kept."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something that was sent and not taken.

    Attributes:
        error: Why.
        form: The opinion as typed.
        reopening: The reason for reopening as typed.
        appeal: An appeal as typed, by the names of its fields.
        answers: Reasons for dismissing appeals as typed, by the appeals' ids.
        faults: Texts by field.
    """

    error: ServiceError
    form: OpinionForm = field(default_factory=OpinionForm)
    reopening: str = ""
    appeal: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
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


@router.post("/look")
def look(case_id: UUID, request: Request, visitor: Visitor, _form: ProtectedForm) -> Response:
    """Show the figures from now on: the officer says that they have looked at the portraits."""
    return _press(request, visitor, case_id, work=note_look, done="looked")


@router.post("/id-numbers")
def id_numbers(case_id: UUID, request: Request, visitor: Visitor, form: ProtectedForm) -> Response:
    """Show the page with one more full ID number, on record, and with everything that was typed."""
    wanted = dict.fromkeys([*form.get("opened", "").split(), *form.get("open", "").split()])
    with request.app.state.database.write() as session:
        numbers = open_id_numbers(session, case_id, actor=visitor.actor, person_ids=list(wanted))
    return page_of_case(request, visitor, case_id, typed=form, opened=numbers)


def back_to_case(case_id: UUID, done: str) -> Response:
    """Send the browser to the page of the case, which will say what was done."""
    return RedirectResponse(f"/cases/{case_id}?done={done}", status_code=303)


def page_of_case(
    request: Request,
    visitor: SignedIn,
    case_id: UUID,
    *,
    attempt: Attempt | None = None,
    typed: FormFields | None = None,
    opened: Mapping[str, str] | None = None,
) -> Response:
    """Show a case as it stands.

    Args:
        request: What it answers.
        visitor: Who looks.
        case_id: The case.
        attempt: What was sent and not taken.
        typed: Fields of the opinion that are to stay as they are.
        opened: Full ID numbers to show, by person_id; their opening is on record already.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division.
    """
    wants_blind = request.app.state.settings.blind_first_look
    database = request.app.state.database
    with database.read() as session:
        stored = visible_case(session, case_id, actor=visitor.actor)
        blind = wants_blind and awaits_look(session, stored, actor=visitor.actor)
        case = case_view(session, stored, actor=visitor.actor)
        portraits = portraits_of_case(session, stored)
        events = events_of_case(session, case_id, _persons_of(case))
        draft = draft_of(session, case_id, actor=visitor.actor)
        form = attempt.form if attempt is not None else read_form(typed or {}, case)
        restored = draft if draft is not None and form.is_blank else None
        form = read_form(restored.fields, case) if restored is not None else form
        form = named_files(session, case_id, form, actor=visitor.actor)
    note_viewed(database, case_id, actor=visitor.actor)
    words = words_of(request)
    seen, turn = (
        Look(str(visitor.actor.id), blind=blind, opened=opened or {}),
        _turn(case, visitor.actor, blind),
    )
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
        appeal=Faults(attempt.appeal if attempt is not None else {}),
        answers=Faults(attempt.answers if attempt is not None else {}),
        left_over=_left_over(attempt, case, turn, words) if attempt is not None else [],
        draft_saved=words.moment(draft.saved_at) if draft is not None else "",
        restored=restored is not None and not form.is_blank,
        **_content(Scene(case, portraits, seen, turn, form, words), events),
    )


def _persons_of(case: CaseView) -> list[str]:
    subject = [case.subject_person_id] if case.subject_person_id is not None else []
    return [*subject, *(candidate.person_id for candidate in case.candidates)]


def _turn(case: CaseView, actor: Actor, blind: bool) -> Turn:
    """Tell whose turn it is; an opinion comes after the look."""
    turn = turn_of(case, actor)
    if blind and (turn.may_decide or turn.may_confirm):
        return replace(turn, may_decide=False, may_confirm=False, hint="blind.turn")
    return turn


def _left_over(attempt: Attempt, case: CaseView, turn: Turn, words: Words) -> list[Unsent]:
    """Return what was typed into forms that the page does not offer any more."""
    pending = {str(one.id) for one in case.appeals if one.state == AppealState.PENDING and turn.may_reopen}
    kept = [
        Unsent(words.t("appeal.dismiss_reason"), text)
        for appeal, text in attempt.answers.items()
        if text and appeal not in pending
    ]
    if attempt.reopening and not turn.may_reopen:
        kept.append(Unsent(words.t("reopen.reason"), attempt.reopening))
    if any(attempt.appeal.values()) and not turn.may_appeal:
        kept.append(Unsent(words.t("appeal.title"), "\n".join(attempt.appeal.values())))
    return kept


def _content(scene: Scene, events: Sequence[CaseEvent]) -> dict[str, object]:
    case, turn, words, form = scene.case, scene.turn, scene.words, scene.form
    offered = turn.may_decide or turn.may_confirm
    return {
        "case": case,
        "turn": turn,
        "title": _title(case, words),
        "blind": scene.look.blind,
        "opened": " ".join(scene.look.opened),
        "panels": panels(scene),
        "probe": probe_picture(case, scene.portraits, words),
        "comparable": case.subject is not None and not case.subject.erased,
        "on_file": subject_pictures(case, scene.portraits, words),
        "subject": registration_rows(case.subject, scene.look.opened, words),
        "reasons": [words.named("reason", reason) for reason in case.reasons],
        "registrations": registrations_to_choose(case, words),
        "manual": form.entry(MANUAL) if case.kind is CaseKind.NOT_SEARCHABLE else None,
        "form": form,
        "evidence_kinds": words.codes.evidence_kinds,
        "evidence_rows": range(1, EVIDENCE_ROWS + 1),
        "no_registration": NONE,
        "unsent": [] if offered else unsent(case, form, words),
        "history": history_of(case, events, labels_of(case, scene.look), words),
        "notices": notice_lines(case.notices, words),
        "erased": " ".join(sorted(erased_of(case))),
    }


def _title(case: CaseView, words: Words) -> str:
    if case.transaction is None:
        return words.t("case.sweep_title")
    kind = words.term(words.codes.transaction_types, case.transaction.type)
    return f"{kind} · {case.transaction.id}"


def _message(attempt: Attempt | None, words: Words) -> str:
    if attempt is None:
        return ""
    if attempt.error.refusal is None:
        return words.t("message.check_fields")
    return words.t("message.refused", why=attempt.error.detail_in(words.language))
