"""Takes appeals and their dismissal from the page of a case."""

from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from service.errors import InvalidRequestError, ServiceError
from service.request_faults import field_faults
from service.review.appeals import NewAppeal, appeal, dismiss_appeal
from service.review.schemas import AppealRequest, DismissalRequest
from service.web.access import ProtectedForm, Visitor
from service.web.cases import EXPECTED, Attempt, back_to_case, page_of_case
from service.web.drafting import Faults
from service.web.rendering import words_of
from service.web.words import Words

router = APIRouter(prefix="/cases/{case_id:uuid}", include_in_schema=False)


@router.post("/appeals")
def record_appeal(case_id: UUID, request: Request, visitor: Visitor, form: ProtectedForm) -> Response:
    """Record that somebody appealed against a decided case."""
    typed = {name: form.get(f"appeal-{name}", "").strip() for name in ("appellant", "appealed_on", "grounds")}
    try:
        asked = AppealRequest.model_validate({**typed, "expected_revision": form.get("revision") or None})
        new = NewAppeal(asked.appellant, asked.appealed_on, asked.grounds)
        with request.app.state.database.write() as session:
            appeal(session, case_id, new=new, actor=visitor.actor, expected_revision=asked.expected_revision)
    except ValidationError as error:
        words = words_of(request)
        told = field_faults(error.errors(include_url=False, include_input=False), words.language)[0]
        text = words.t("fault.told", message=told["message"], remedy=told["remedy"])
        attempt = Attempt(
            InvalidRequestError("The form is incomplete."), appeal=typed, faults={"appeal": text}
        )
        return page_of_case(request, visitor, case_id, attempt=attempt)
    except EXPECTED as error:
        faults = _fault_of_appeal(error, words_of(request))
        return page_of_case(request, visitor, case_id, attempt=Attempt(error, appeal=typed, faults=faults))
    return back_to_case(case_id, "appealed")


@router.post("/appeals/{appeal_id:uuid}/dismissal")
def dismiss(
    case_id: UUID, appeal_id: UUID, request: Request, visitor: Visitor, form: ProtectedForm
) -> Response:
    """Answer an appeal without reopening the case."""
    typed = form.get("answer", "").strip()
    answers = {str(appeal_id): typed}
    try:
        asked = DismissalRequest.model_validate({"reason": typed})
        with request.app.state.database.write() as session:
            dismiss_appeal(session, case_id, appeal_id, reason=asked.reason, actor=visitor.actor)
    except ValidationError as error:
        words = words_of(request)
        told = field_faults(error.errors(include_url=False, include_input=False), words.language)[0]
        text = words.t("fault.told", message=told["message"], remedy=told["remedy"])
        faults = {"appeals": text if typed else words.t("fault.reason_missing")}
        attempt = Attempt(InvalidRequestError("The form is incomplete."), answers=answers, faults=faults)
        return page_of_case(request, visitor, case_id, attempt=attempt)
    except EXPECTED as error:
        return page_of_case(request, visitor, case_id, attempt=Attempt(error, answers=answers))
    return back_to_case(case_id, "dismissed")


def _fault_of_appeal(error: ServiceError, words: Words) -> Faults:
    listed = error.extensions_in(words.language).get("errors")
    if not listed:
        return {}
    return {"appeal": words.t("fault.told", message=listed[0]["message"], remedy=listed[0]["remedy"])}
