"""`/v1/checks`: asked at every transaction."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response, status

from service.auth.service import Actor, Scope
from service.checks.schemas import CheckAnswer, CheckRequest, WithdrawRequest
from service.checks.search import ProbeSearch
from service.checks.service import Checks
from service.dependencies import Caller, Transaction
from service.errors import (
    BodyTooLargeError,
    CheckNotRequiredError,
    CheckSettledError,
    DatabaseUnavailableError,
    ForbiddenError,
    GalleryNotReadyError,
    InadmissiblePortraitError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    SearchTimeoutError,
    StorageUnavailableError,
    TransactionConflictError,
    UnauthenticatedError,
)
from service.metrics import Metrics
from service.portrait_input import decode_base64
from service.problems import responses_for
from service.switching import Line

COMMON = (UnauthenticatedError, ForbiddenError, InvalidRequestError, DatabaseUnavailableError)

router = APIRouter(prefix="/v1/checks", tags=["checks"])


async def checks(request: Request) -> Checks:
    """Return the service over the application's collaborators."""
    state = request.app.state
    line: Line = state.line  # Once: it may be another one the next moment.
    search = ProbeSearch(
        database=state.database,
        engine=line.engine,
        galleries=line.galleries,
        codes=state.codes,
        settings=state.settings,
    )
    manifest = line.engine.pack.manifest
    return Checks(
        database=state.database,
        search=search,
        store=state.portrait_store,
        settings=state.settings,
        pack=f"{manifest.name} {manifest.version}",
    )


async def checks_client(caller: Caller) -> Actor:
    """Let clients with the scope `checks` pass."""
    caller.require_scope(Scope.CHECKS)
    return caller


Service = Annotated[Checks, Depends(checks)]
Client = Annotated[Actor, Depends(checks_client)]


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=CheckAnswer,
    summary="Check a transaction",
    responses=responses_for(
        *COMMON,
        InadmissiblePortraitError,
        CheckNotRequiredError,
        TransactionConflictError,
        BodyTooLargeError,
        GalleryNotReadyError,
        OverloadedError,
        SearchTimeoutError,
        StorageUnavailableError,
    ),
)
def post_check(body: CheckRequest, request: Request, actor: Client, service: Service) -> Response:
    """Search the galleries for the transaction's subject.

    Idempotent on `transaction.id`: the same request gets the same check again (with the header
    `Idempotent-Replayed: true` and its status now), a different one is answered with 409.
    `proceed` is only answered when every gallery was searched whole; any doubt is an error.
    """
    if body.person_id is None and body.portrait is None:
        raise InvalidRequestError(
            "Neither person_id nor portrait was given.",
            errors=[
                {
                    "field": "portrait",
                    "message": "is missing, and so is person_id",
                    "remedy": "send the subject's portrait, the subject's person_id, or both",
                }
            ],
        )
    portrait = None if body.portrait is None else decode_base64(body.portrait, "portrait")
    made = service.make(body, portrait, actor=actor)
    # Written here: FastAPI would check the answer once more, in yet another thread.
    answer = Response(
        made.answer.model_dump_json(), status_code=status.HTTP_201_CREATED, media_type="application/json"
    )
    if made.created:
        metrics: Metrics = request.app.state.metrics
        metrics.checked(made.answer.outcome)
        request.state.check_made = True
    else:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


@router.get("", summary="Read a transaction's check", responses=responses_for(*COMMON, NotFoundError))
def get_check_of_transaction(
    transaction_id: Annotated[str, Query(min_length=1, max_length=128, description="The transaction's id.")],
    actor: Client,
    service: Service,
    session: Transaction,
) -> CheckAnswer:
    """Read the check of a transaction, with its status now."""
    return service.read_by_transaction(session, transaction_id, actor=actor)


@router.get("/{check_id}", summary="Read a check", responses=responses_for(*COMMON, NotFoundError))
def get_check(check_id: UUID, actor: Client, service: Service, session: Transaction) -> CheckAnswer:
    """Read a check, with its status now."""
    return service.read(session, check_id, actor=actor)


@router.post(
    "/{check_id}/withdraw",
    summary="Withdraw a check",
    responses=responses_for(*COMMON, NotFoundError, CheckSettledError),
)
def withdraw_check(
    check_id: UUID,
    actor: Client,
    service: Service,
    session: Transaction,
    body: WithdrawRequest | None = None,
) -> CheckAnswer:
    """Say that the transaction was withdrawn: its case leaves the officers' queue."""
    return service.withdraw(session, check_id, reason=body.reason if body else None, actor=actor)
