"""The queue: the officer's own division's cases, oldest first."""

from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from service.auth.service import Role
from service.dependencies import View
from service.errors import InvalidRequestError
from service.review.answers import CaseSummary
from service.review.opinion import OPEN_STATES, CaseKind, CaseState
from service.review.queue import list_cases
from service.review.schemas import QueueQuery
from service.web.access import Visitor
from service.web.rendering import render, words_of
from service.web.words import Words

router = APIRouter(include_in_schema=False)

FILTERS = ("state", "kind", "division", "mine", "escalated")


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
def queue_page(request: Request, visitor: Visitor, session: View) -> Response:
    """Show the queue; operators and auditors have none."""
    if visitor.actor.role not in (Role.OFFICER, Role.SUPERVISOR):
        return render(request, "no_pages.html", visitor=visitor)
    chosen = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    page = list_cases(session, _query(request, chosen), actor=visitor.actor)
    words = words_of(request)
    following = urlencode({**_given(chosen), "after": page.next}) if page.next else None
    return render(
        request,
        "queue.html",
        visitor=visitor,
        lines=[_line(case, words) for case in page.items],
        counts=page.counts,
        open_cases=sum(page.counts.states[state] for state in OPEN_STATES),
        chosen=chosen,
        filtered=bool(_given(chosen)),
        states=list(CaseState),
        kinds=list(CaseKind),
        following=f"/?{following}" if following else None,
        later_page="after" in request.query_params,
        first=f"/?{urlencode(_given(chosen))}" if _given(chosen) else "/",
    )


def _given(chosen: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in chosen.items() if value}


def _query(request: Request, chosen: dict[str, str]) -> QueueQuery:
    """Read the filters; a form sends those that were left alone as empty texts.

    Raises:
        InvalidRequestError: An address was put together by hand, and wrongly.
    """
    asked: dict[str, object] = dict(_given(chosen))
    if "state" in asked:
        asked["state"] = [asked["state"]]
    for name in ("after", "limit"):
        if request.query_params.get(name):
            asked[name] = request.query_params[name]
    try:
        return QueueQuery.model_validate(asked)
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
