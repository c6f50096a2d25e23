"""The queue: the officer's own division's cases, the most urgent first."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.responses import Response

from service.audit.service import AuditKind, record_listing
from service.auth.service import Role
from service.auth.sessions import SignedIn
from service.database import Database
from service.dependencies import View
from service.errors import InvalidRequestError
from service.review.answers import CasePage, CaseSummary
from service.review.api import QueueRules
from service.review.opinion import OPEN_STATES, CaseKind, CaseState
from service.review.queue import QueuePolicy, claim_next, list_cases
from service.review.schemas import NextQuery, QueueQuery
from service.review.service import release
from service.web.access import ProtectedForm, Visitor, safe_next
from service.web.rendering import render, words_of
from service.web.words import Words

Q = TypeVar("Q", bound=NextQuery)

router = APIRouter(include_in_schema=False)

FILTERS = ("state", "kind", "transaction_type", "division", "mine", "escalated", "overdue")
CHOOSING = ("state", "kind", "transaction_type", "division", "escalated", "overdue")
"""Filters that also say among which cases the next one is chosen."""

NARROWING = ("kind", "transaction_type", "division")
"""Filters that the numbers at the head keep to."""

ELSEWHERE = {Role.AUDITOR: "/audit", Role.OPERATOR: "/notices"}
"""Where those begin who may see no cases."""

REFRESH_S = 20
"""Seconds between two looks of a page at what has changed: a case stays in the queue for hours."""


@dataclass(frozen=True, slots=True)
class QueueCount:
    """One number at the head of the queue, and where it leads."""

    key: str
    number: int
    address: str
    current: bool


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One case as the queue shows it; every text is in the page's language."""

    case: CaseSummary
    title: str
    kind: str
    authority: str
    waited: str
    opened_at: str
    similarity: str
    similarity_detail: str


@router.get("/")
def queue_page(request: Request, visitor: Visitor, session: View, policy: QueueRules) -> Response:
    """Show the queue; operators and auditors have none, and are led to what they have."""
    if visitor.actor.role in ELSEWHERE:
        return RedirectResponse(ELSEWHERE[visitor.actor.role], status_code=303)
    chosen, page = _listed(request, visitor, session, policy)
    database: Database = request.app.state.database
    filters = sorted(_given(chosen))
    record_listing(
        database, AuditKind.CASES_LISTED, actor=visitor.actor, shown=len(page.items), filters=filters
    )
    return render(
        request, "queue.html", visitor=visitor, **_shown(request, chosen, page), **_choices(request, chosen)
    )


@router.get("/queue/lines")
def queue_lines(request: Request, visitor: Visitor, session: View, policy: QueueRules) -> Response:
    """Return the part of the page that changes, unless the browser has it already."""
    chosen, page = _listed(request, visitor, session, policy)
    shown = _shown(request, chosen, page)
    address = "/?" + request.url.query if request.url.query else "/"
    answer = render(request, "queue_lines.html", visitor=visitor, address=address, **shown)
    answer.headers["ETag"] = tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": tag, "Vary": "Cookie"})
    return answer


@router.post("/queue/next")
def next_case(request: Request, visitor: Visitor, form: ProtectedForm, policy: QueueRules) -> Response:
    """Claim the most urgent case that this officer may work on, and open it."""
    chosen = {name: form.get(name, "").strip() for name in CHOOSING}
    query = _validated(NextQuery, chosen)
    with request.app.state.database.write() as session:
        case = claim_next(session, query, actor=visitor.actor, policy=policy)
    if case is None:
        return RedirectResponse(f"/?{urlencode(_given(chosen) | {'none': '1'})}", status_code=303)
    return RedirectResponse(f"/cases/{case.id}?done=claimed", status_code=303)


@router.post("/queue/{case_id:uuid}/release")
def release_case(case_id: UUID, request: Request, visitor: Visitor, form: ProtectedForm) -> Response:
    """Give a case back without opening it."""
    with request.app.state.database.write() as session:
        release(session, case_id, actor=visitor.actor)
    return RedirectResponse(safe_next(form.get("next")), status_code=303)


def _listed(
    request: Request, visitor: SignedIn, session: Session, policy: QueuePolicy
) -> tuple[dict[str, str], CasePage]:
    """Read the filters and the cases; closed ones are not counted, for no page tells their number."""
    chosen = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    query = _query(request, chosen)
    page = list_cases(session, query, actor=visitor.actor, policy=policy, count_closed=False)
    return chosen, page


def _shown(request: Request, chosen: dict[str, str], page: CasePage) -> dict[str, Any]:
    """Return what changes while nobody touches the page."""
    words, given = words_of(request), _given(chosen)
    here = dict(given)
    if request.query_params.get("after"):
        here["after"] = request.query_params["after"]
    following = urlencode({**given, "after": page.next}) if page.next else None
    return {
        "lines": [_line(case, words) for case in page.items],
        "counts": _counts(page, chosen),
        "filtered": bool(given),
        "closed": chosen["state"] not in ("", *OPEN_STATES),
        "following": f"/?{following}" if following else None,
        "later_page": "after" in request.query_params,
        "first": f"/?{urlencode(given)}" if given else "/",
        "here": f"/?{urlencode(here)}" if here else "/",
    }


def _choices(request: Request, chosen: dict[str, str]) -> dict[str, Any]:
    words = words_of(request)
    types = words.codes.transaction_types
    return {
        "chosen": chosen,
        "states": list(CaseState),
        "kinds": list(CaseKind),
        "transaction_types": [(code, term.word(words.language)) for code, term in types.items()],
        "choosing": {name: chosen[name] for name in CHOOSING if chosen[name]},
        "none_waits": "none" in request.query_params,
        "refresh_s": REFRESH_S,
    }


def _counts(page: CasePage, chosen: dict[str, str]) -> list[QueueCount]:
    """Return the numbers at the head; each leads to the cases that it counts."""
    counts, narrowing = page.counts, {name: chosen[name] for name in NARROWING if chosen[name]}
    listed: list[tuple[str, int, dict[str, str]]] = [
        ("queue.count_open", sum(counts.states[state] for state in OPEN_STATES), {}),
        (
            "state.under_review",
            counts.states[CaseState.UNDER_REVIEW],
            {"state": CaseState.UNDER_REVIEW.value},
        ),
        (
            "state.awaiting_second_officer",
            counts.states[CaseState.AWAITING_SECOND_OFFICER],
            {"state": CaseState.AWAITING_SECOND_OFFICER.value},
        ),
        ("queue.count_mine", counts.mine, {"mine": "1"}),
        ("queue.count_escalated", counts.escalated, {"escalated": "1"}),
        ("queue.count_overdue", counts.overdue, {"overdue": "1"}),
    ]
    found = []
    for key, number, own in listed:
        wanted = narrowing | own
        address = f"/?{urlencode(wanted)}" if wanted else "/"
        found.append(QueueCount(key, number, address, current=wanted == _given(chosen)))
    return found


def _given(chosen: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in chosen.items() if value}


def _query(request: Request, chosen: dict[str, str]) -> QueueQuery:
    """Read the filters; a form sends those that were left alone as empty texts.

    Raises:
        InvalidRequestError: An address was put together by hand, and wrongly.
    """
    asked: dict[str, object] = dict(_given(chosen))
    for name in ("after", "limit"):
        if request.query_params.get(name):
            asked[name] = request.query_params[name]
    return _validated(QueueQuery, asked)


def _validated(shape: type[Q], asked: Mapping[str, object]) -> Q:
    wanted = {name: value for name, value in asked.items() if value}
    if isinstance(wanted.get("state"), str):
        wanted["state"] = [wanted["state"]]
    try:
        return shape.model_validate(wanted)
    except ValidationError:
        raise InvalidRequestError("The filters of the queue cannot be read.") from None


def _line(case: CaseSummary, words: Words) -> QueueLine:
    transaction, rate = case.transaction, case.lowest_false_alarm_rate
    similarity = detail = ""
    if rate is not None and case.best_score is not None:
        similarity = words.band(rate)
        score, share = words.score(case.best_score), words.share(rate)
        detail = words.t("queue.similarity_detail", score=score, share=share)
    return QueueLine(
        case=case,
        title=transaction.id if transaction is not None else words.t("case.sweep_title"),
        kind=words.term(words.codes.transaction_types, transaction.type)
        if transaction is not None
        else words.t("kind.sweep"),
        authority=words.division(case.division_code),
        waited=words.waited(case.opened_at, case.closed_at),
        opened_at=words.moment(case.opened_at),
        similarity=similarity,
        similarity_detail=detail,
    )
