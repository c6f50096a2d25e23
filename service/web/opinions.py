"""Takes the opinions that officers send from the page of a case; whatever is refused stays as typed."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from service.auth.sessions import SignedIn
from service.errors import CaseStateError, InvalidRequestError, ServiceError
from service.request_faults import field_faults
from service.review import decisions, service
from service.review.access import visible_case
from service.review.answers import CaseView
from service.review.api import Policy
from service.review.schemas import ConfirmationRequest, DecisionRequest, ReopenRequest
from service.review.service import ReviewPolicy
from service.review.views import case_view
from service.web.access import FormFields, ProtectedForm, Visitor
from service.web.case_turn import turn_of
from service.web.cases import EXPECTED, Attempt, back_to_case, page_of_case
from service.web.opinion_form import MANUAL, OpinionForm, faults_of, read_form, request_of
from service.web.rendering import words_of
from service.web.words import Words

router = APIRouter(prefix="/cases/{case_id:uuid}", include_in_schema=False)

Faults = dict[str, str]
"""What is wrong, in words, by the field beside which it is said."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An opinion as it came, with what is needed to judge it."""

    request: Request
    visitor: SignedIn
    case: CaseView
    typed: OpinionForm
    words: Words

    def refused(self, error: ServiceError, faults: Faults) -> Response:
        """Show the page again, with everything typed."""
        attempt = Attempt(error, form=self.typed, faults=faults)
        return page_of_case(self.request, self.visitor, self.case.id, attempt=attempt)


@router.post("/decision")
def decide(
    case_id: UUID, request: Request, visitor: Visitor, form: ProtectedForm, policy: Policy
) -> Response:
    """Take the first opinion."""
    sent = _sent(request, visitor, case_id, form)
    if not turn_of(sent.case, visitor.actor).may_decide:
        return sent.refused(CaseStateError("The case takes no first opinion of this officer now."), {})
    return _record(sent, DecisionRequest, required=set(sent.typed.entries), policy=policy)


@router.post("/confirmation")
def confirm(
    case_id: UUID, request: Request, visitor: Visitor, form: ProtectedForm, policy: Policy
) -> Response:
    """Take the second opinion."""
    sent = _sent(request, visitor, case_id, form)
    if not turn_of(sent.case, visitor.actor).may_confirm:
        return sent.refused(CaseStateError("The case takes no second opinion of this officer now."), {})
    asked = {str(one.rank) for one in sent.case.candidates if one.person_id in sent.case.to_confirm}
    return _record(sent, ConfirmationRequest, required=asked, policy=policy)


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


def _sent(request: Request, visitor: SignedIn, case_id: UUID, form: FormFields) -> Sent:
    with request.app.state.database.read() as session:
        stored = visible_case(session, case_id, actor=visitor.actor)
        case = case_view(session, stored, actor=visitor.actor)
    return Sent(request, visitor, case, read_form(form, case), words_of(request))


def _record(
    sent: Sent,
    shape: type[DecisionRequest] | type[ConfirmationRequest],
    *,
    required: set[str],
    policy: ReviewPolicy,
) -> Response:
    """Judge the form, then let the service judge and record the opinion."""
    missing = faults_of(sent.typed, sent.case, required=required)
    faults = {name: sent.words.t(key) for name, key in missing.items()}
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
        case ("registration_to_cancel", *_):
            return "registration"
        case ("identity_established", *_):
            return "identity"
        case ("reason", *_):
            return "reopen"
    return "form"


def _faults_by_rules(error: ServiceError, words: Words) -> Faults:
    """Say what the rules refuse although the form found nothing, beside the field if it is known."""
    listed: list[dict[str, Any]] = error.extensions.get("errors", [])
    named = str(listed[0].get("field", "")) if listed else ""
    if named.startswith("identity_established"):
        return {"identity": words.t("fault.identity_refused")}
    if named.startswith("registration_to_cancel"):
        return {"registration": words.t("fault.registration_not_concerned")}
    return {}
