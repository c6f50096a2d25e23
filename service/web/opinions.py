"""Takes the opinions that officers send from the page of a case; whatever is refused stays as typed."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.responses import Response

from service.auth.sessions import SignedIn
from service.errors import CaseStateError, InvalidRequestError, ServiceError
from service.refusals import Refusal
from service.request_faults import field_faults
from service.review import decisions, service
from service.review.access import visible_case
from service.review.answers import CaseView
from service.review.api import Policy
from service.review.schemas import ConfirmationRequest, DecisionRequest, ReopenRequest
from service.review.service import ReviewPolicy
from service.review.views import case_view
from service.web.access import ProtectedForm, Visitor
from service.web.case_turn import refusal_of, turn_of
from service.web.cases import EXPECTED, Attempt, back_to_case, page_of_case
from service.web.drafting import FILE, Faults, keep
from service.web.opinion_form import (
    MANUAL,
    OpinionForm,
    erased_meanwhile,
    faults_of,
    read_form,
    request_of,
)
from service.web.rendering import words_of
from service.web.uploads import Opinion, OpinionPost
from service.web.words import Words

router = APIRouter(prefix="/cases/{case_id:uuid}", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """An opinion as it came, with what is needed to judge it."""

    request: Request
    visitor: SignedIn
    case: CaseView
    typed: OpinionForm
    words: Words
    faults: Faults

    def refused(self, error: ServiceError, faults: Faults) -> Response:
        """Show the page again, with everything typed."""
        attempt = Attempt(error, form=self.typed, faults=self.faults | faults)
        return page_of_case(self.request, self.visitor, self.case.id, attempt=attempt)


@router.post("/decision")
def decide(case_id: UUID, request: Request, visitor: Visitor, post: Opinion, policy: Policy) -> Response:
    """Take the first opinion."""
    sent = _sent(request, visitor, case_id, post)
    if not turn_of(sent.case, visitor.actor).may_decide:
        return sent.refused(refusal_of(sent.case, visitor.actor), {})
    return _record(sent, DecisionRequest, required=set(sent.typed.entries), policy=policy)


@router.post("/confirmation")
def confirm(case_id: UUID, request: Request, visitor: Visitor, post: Opinion, policy: Policy) -> Response:
    """Take the second opinion."""
    sent = _sent(request, visitor, case_id, post)
    if not turn_of(sent.case, visitor.actor).may_confirm:
        return sent.refused(refusal_of(sent.case, visitor.actor), {})
    asked = {str(one.rank) for one in sent.case.candidates if one.person_id in sent.case.to_confirm}
    return _record(sent, ConfirmationRequest, required=asked, policy=policy)


@router.post("/draft")
def save(case_id: UUID, request: Request, visitor: Visitor, post: Opinion) -> Response:
    """Keep what was typed and attached; a script is answered in JSON, with the files that it sent."""
    kept = keep(request, visitor, case_id, post)
    if "application/json" in request.headers.get("accept", ""):
        told = {name: value for name, value in kept.fields.items() if name.startswith(FILE)}
        return JSONResponse({"fields": told, "faults": kept.faults}, status_code=422 if kept.faults else 200)
    if not kept.faults:
        return back_to_case(case_id, "draft_saved")
    sent = _sent(request, visitor, case_id, OpinionPost(kept.fields))
    return sent.refused(InvalidRequestError("A file was not taken."), kept.faults)


@router.post("/reopen")
def reopen(
    case_id: UUID, request: Request, visitor: Visitor, form: ProtectedForm, policy: Policy
) -> Response:
    """Begin a new round of a decided case."""
    typed = form.get("reason", "").strip()
    try:
        asked = ReopenRequest.model_validate({"reason": typed, "expected_revision": form.get("revision")})
        with request.app.state.database.write() as session:
            service.reopen(
                session,
                case_id,
                reason=asked.reason,
                actor=visitor.actor,
                policy=policy,
                expected_revision=asked.expected_revision,
            )
    except ValidationError as error:
        faults = _faults_by_schema(error, [], words_of(request)) if typed else {}
        faults.setdefault("reopen", words_of(request).t("fault.reason_missing"))
        attempt = Attempt(InvalidRequestError("The form is incomplete."), reopening=typed, faults=faults)
        return page_of_case(request, visitor, case_id, attempt=attempt)
    except EXPECTED as error:
        return page_of_case(request, visitor, case_id, attempt=Attempt(error, reopening=typed))
    return back_to_case(case_id, "reopened")


def _sent(request: Request, visitor: SignedIn, case_id: UUID, post: OpinionPost) -> Sent:
    """Keep what was sent before it is judged, so that whatever happens nothing is lost."""
    kept = keep(request, visitor, case_id, post)
    with request.app.state.database.read() as session:
        stored = visible_case(session, case_id, actor=visitor.actor)
        case = case_view(session, stored, actor=visitor.actor)
    return Sent(request, visitor, case, read_form(kept.fields, case), words_of(request), kept.faults)


def _record(
    sent: Sent,
    shape: type[DecisionRequest] | type[ConfirmationRequest],
    *,
    required: set[str],
    policy: ReviewPolicy,
) -> Response:
    """Judge the form, then let the service judge and record the opinion."""
    missing = faults_of(sent.typed, sent.case, required=required)
    faults = sent.faults | {name: sent.words.t(key) for name, key in missing.items()}
    if erased_meanwhile(sent.typed, sent.case):
        return sent.refused(CaseStateError.told(Refusal("candidate-erased")), faults)
    if faults:
        return sent.refused(InvalidRequestError("The form is incomplete."), faults)
    try:
        asked = shape.model_validate(request_of(sent.typed, sent.case))
        give = decisions.decide if shape is DecisionRequest else decisions.confirm
        with sent.request.app.state.database.write() as session:
            give(
                session,
                sent.case.id,
                opinion=asked.as_opinion(),
                actor=sent.visitor.actor,
                policy=policy,
                expected_revision=asked.expected_revision,
            )
    except ValidationError as error:
        given = [key for key, entry in sent.typed.entries.items() if entry.conclusion]
        faults = _faults_by_schema(error, given, sent.words)
        return sent.refused(InvalidRequestError("The form is invalid."), faults)
    except EXPECTED as error:
        return sent.refused(error, _faults_by_rules(error, sent.words))
    return back_to_case(sent.case.id, "decided" if shape is DecisionRequest else "confirmed")


def _faults_by_schema(error: ValidationError, given: list[str], words: Words) -> Faults:
    """Say what the shapes of requests refuse, beside the fields of the form.

    Args:
        error: What pydantic found.
        given: The keys of the conclusions that were sent, in order.
        words: The page's.
    """
    found: Faults = {}
    for one in error.errors(include_url=False, include_input=False):
        location = one["loc"]
        if one["type"] == "string_pattern_mismatch":
            text = words.t("fault.level_code" if "level_code" in location else "fault.characters")
        else:
            told = field_faults([dict(one)], words.language)[0]
            text = words.t("fault.told", message=told["message"], remedy=told["remedy"])
        found.setdefault(_field(location, given), text)
    return found


def _field(location: tuple[int | str, ...], given: list[str]) -> str:
    match location:
        case ("conclusions", int(at), str(name), *_):
            return f"{name}-{given[at]}"
        case ("manual_conclusion", str(name), *_):
            return f"{'conclusion' if name == 'outcome' else name}-{MANUAL}"
        case ("registrations_to_cancel", *_):
            return "registration"
        case ("identity_established", *_):
            return "identity"
        case ("reason", *_):
            return "reopen"
    return "form"


def _faults_by_rules(error: ServiceError, words: Words) -> Faults:
    """Say what the rules refuse although the form found nothing, beside the field if it is known."""
    listed: list[dict[str, Any]] = error.extensions_in(words.language).get("errors", [])
    named = str(listed[0].get("field", "")) if listed else ""
    for start, field in (("identity_established", "identity"), ("registration", "registration")):
        if named.startswith(start):
            return {field: words.t("fault.told", message=listed[0]["message"], remedy=listed[0]["remedy"])}
    return {}
