"""`/v1/cases`: what officers see and decide; the same rules as on the pages."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from service.audit.service import AuditKind, record_listing
from service.auth.service import Actor, Role
from service.dependencies import Caller, StoredIn, Transaction, View
from service.errors import (
    CaseStateError,
    DatabaseUnavailableError,
    EvidenceMissingError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    SameOfficerError,
    UnauthenticatedError,
)
from service.problems import responses_for
from service.review import decisions, queue, service
from service.review.access import note_viewed, visible_case
from service.review.answers import CasePage, CaseView
from service.review.queue import QueuePolicy
from service.review.rules import CodeRules
from service.review.schemas import (
    ConfirmationRequest,
    DecisionRequest,
    NextQuery,
    QueueQuery,
    ReopenRequest,
    RevisionRequest,
)
from service.review.service import ReviewPolicy
from service.review.views import case_view

COMMON = (UnauthenticatedError, ForbiddenError, InvalidRequestError, DatabaseUnavailableError)
ONE_CASE = (*COMMON, NotFoundError)

router = APIRouter(prefix="/v1/cases", tags=["cases"])


def case_officer(caller: Caller) -> Actor:
    """Let officers and supervisors pass."""
    caller.require_role(Role.OFFICER, Role.SUPERVISOR)
    return caller


def review_policy(request: Request) -> ReviewPolicy:
    """Return what settings and code tables say about decisions and notices."""
    settings, codes = request.app.state.settings, request.app.state.codes
    return ReviewPolicy(
        notice_due_days=settings.notice_due_days,
        codes=CodeRules(evidence_kinds=tuple(codes.evidence_kinds), flagged_codes=settings.flagged_codes),
    )


CaseOfficer = Annotated[Actor, Depends(case_officer)]


def queue_policy(request: Request) -> QueuePolicy:
    """Return what settings say about the queue."""
    settings = request.app.state.settings
    return QueuePolicy(due_days=settings.case_due_days, blind=settings.blind_first_look)


Policy = Annotated[ReviewPolicy, Depends(review_policy)]
QueueRules = Annotated[QueuePolicy, Depends(queue_policy)]


@router.get("", summary="List cases", responses=responses_for(*COMMON))
def get_cases(
    actor: CaseOfficer,
    session: View,
    database: StoredIn,
    query: Annotated[QueueQuery, Query()],
    policy: QueueRules,
) -> CasePage:
    """List your own division's cases: open ones most urgent first, and then oldest first.

    A case's urgency never changes, so the pages behind `after` stay as they are while cases arrive. `counts`
    ignores `state`.
    """
    page = queue.list_cases(session, query, actor=actor, policy=policy)
    filters = sorted(query.model_fields_set)
    record_listing(database, AuditKind.CASES_LISTED, actor=actor, shown=len(page.items), filters=filters)
    return page


@router.post(
    "/next",
    summary="Claim the next case",
    responses=responses_for(*COMMON) | {204: {"description": "No case waits for you."}},
    response_model=CaseView,
)
def claim_next_case(
    actor: CaseOfficer, session: Transaction, policy: QueueRules, body: NextQuery | None = None
) -> CaseView | Response:
    """Claim the most urgent case that nobody has claimed and that you may work on."""
    case = queue.claim_next(session, body or NextQuery(), actor=actor, policy=policy)
    return case_view(session, case, actor=actor) if case is not None else Response(status_code=204)


@router.get("/{case_id}", summary="Read a case", responses=responses_for(*ONE_CASE))
def get_case(case_id: UUID, actor: CaseOfficer, database: StoredIn) -> CaseView:
    """Read a case, on record.

    While a second officer is awaited, the first opinion is concealed from everybody but its author.
    """
    with database.read() as session:
        seen = case_view(session, visible_case(session, case_id, actor=actor), actor=actor)
    note_viewed(database, case_id, actor=actor)
    return seen


@router.post(
    "/{case_id}/claim",
    summary="Claim a case",
    responses=responses_for(*ONE_CASE, CaseStateError, SameOfficerError),
)
def claim_case(
    case_id: UUID, actor: CaseOfficer, session: Transaction, body: RevisionRequest | None = None
) -> CaseView:
    """Take a case, so that nobody else works on it; again is the same.

    The second opinion is never the first officer's; a case on which officers disagreed is a supervisor's.
    """
    expected = body.expected_revision if body is not None else None
    case = service.claim(session, case_id, actor=actor, expected_revision=expected)
    return case_view(session, case, actor=actor)


@router.post(
    "/{case_id}/release", summary="Release a case", responses=responses_for(*ONE_CASE, CaseStateError)
)
def release_case(
    case_id: UUID, actor: CaseOfficer, session: Transaction, body: RevisionRequest | None = None
) -> CaseView:
    """Give a claimed case back; a supervisor may do so for somebody else."""
    expected = body.expected_revision if body is not None else None
    case = service.release(session, case_id, actor=actor, expected_revision=expected)
    return case_view(session, case, actor=actor)


@router.post(
    "/{case_id}/decisions",
    summary="Record the first opinion",
    responses=responses_for(*ONE_CASE, CaseStateError, EvidenceMissingError),
)
def post_decision(
    case_id: UUID, body: DecisionRequest, actor: CaseOfficer, session: Transaction, policy: Policy
) -> CaseView:
    """Conclude on every candidate, with reasons.

    All different: `cleared`. Any the same person, which needs evidence beyond the face:
    `awaiting_second_officer`. Otherwise `undetermined`. A case nobody has claimed needs no claim first.
    """
    case = decisions.decide(
        session,
        case_id,
        opinion=body.as_opinion(),
        actor=actor,
        policy=policy,
        expected_revision=body.expected_revision,
    )
    return case_view(session, case, actor=actor)


@router.post(
    "/{case_id}/confirmation",
    summary="Record the second opinion",
    responses=responses_for(*ONE_CASE, CaseStateError, SameOfficerError, EvidenceMissingError),
)
def post_confirmation(
    case_id: UUID, body: ConfirmationRequest, actor: CaseOfficer, session: Transaction, policy: Policy
) -> CaseView:
    """Conclude on the candidates in `to_confirm`, without knowing the first officer's reasons.

    Agreement on them and on the registration that must go: `duplicate_confirmed`. Otherwise the
    case goes back under review, with the supervisors.
    """
    case = decisions.confirm(
        session,
        case_id,
        opinion=body.as_opinion(),
        actor=actor,
        policy=policy,
        expected_revision=body.expected_revision,
    )
    return case_view(session, case, actor=actor)


@router.post("/{case_id}/reopen", summary="Reopen a case", responses=responses_for(*ONE_CASE, CaseStateError))
def reopen_case(
    case_id: UUID, body: ReopenRequest, actor: CaseOfficer, session: Transaction, policy: Policy
) -> CaseView:
    """Begin a new round of a decided case, as a supervisor; notices that still stand are reversed."""
    case = service.reopen(
        session,
        case_id,
        reason=body.reason,
        actor=actor,
        policy=policy,
        expected_revision=body.expected_revision,
    )
    return case_view(session, case, actor=actor)
