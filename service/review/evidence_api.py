"""`/v1/cases/{case_id}/attachments` and `…/appeals`: files of evidence, and objections to decisions."""

from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from service.dependencies import Transaction
from service.errors import CaseStateError, SealBrokenError, StorageUnavailableError
from service.problems import responses_for
from service.review.answers import AttachmentView, CaseView
from service.review.api import ONE_CASE, CaseOfficer
from service.review.appeals import NewAppeal, appeal, dismiss_appeal
from service.review.attachments import EvidenceFiles, NewFile, OpenedFile
from service.review.schemas import AppealRequest, AttachmentRequest, DismissalRequest
from service.review.views import attachment_view, case_view

router = APIRouter(prefix="/v1/cases/{case_id}", tags=["cases"])


def evidence_files(request: Request) -> EvidenceFiles:
    """Return what takes and hands out files."""
    return EvidenceFiles(request.app.state.database, request.app.state.evidence_store)


Files = Annotated[EvidenceFiles, Depends(evidence_files)]


@router.post(
    "/attachments",
    status_code=201,
    summary="Attach a file",
    responses=responses_for(*ONE_CASE, CaseStateError, StorageUnavailableError),
)
def post_attachment(
    case_id: UUID, body: AttachmentRequest, actor: CaseOfficer, files: Files
) -> AttachmentView:
    """Keep a file, to be named by a piece of evidence in an opinion of yours.

    Nobody else sees it before your opinion is recorded, and a second officer not before their own.
    """
    return attachment_view(files.attach(case_id, NewFile(body.name, body.content), actor=actor))


@router.get(
    "/attachments/{attachment_id}",
    summary="Read an attached file",
    responses=responses_for(*ONE_CASE, StorageUnavailableError, SealBrokenError)
    | {200: {"description": "The file, to be saved.", "content": {"application/octet-stream": {}}}},
    response_class=Response,
)
def get_attachment(case_id: UUID, attachment_id: UUID, actor: CaseOfficer, files: Files) -> Response:
    """Read a file, on record; what you may not know of is not found."""
    return as_download(files.open(case_id, attachment_id, actor=actor))


@router.delete(
    "/attachments/{attachment_id}",
    status_code=204,
    summary="Remove an attached file",
    responses=responses_for(*ONE_CASE, StorageUnavailableError),
)
def delete_attachment(case_id: UUID, attachment_id: UUID, actor: CaseOfficer, files: Files) -> None:
    """Remove a file of yours that no recorded opinion names."""
    files.remove(case_id, attachment_id, actor=actor)


@router.post("/appeals", summary="Record an appeal", responses=responses_for(*ONE_CASE, CaseStateError))
def post_appeal(case_id: UUID, body: AppealRequest, actor: CaseOfficer, session: Transaction) -> CaseView:
    """Record that somebody appealed against a decided case; a supervisor reopens it or dismisses that."""
    new = NewAppeal(body.appellant, body.appealed_on, body.grounds)
    case = appeal(session, case_id, new=new, actor=actor, expected_revision=body.expected_revision)
    return case_view(session, case, actor=actor)


@router.post(
    "/appeals/{appeal_id}/dismissal",
    summary="Dismiss an appeal",
    responses=responses_for(*ONE_CASE, CaseStateError),
)
def post_dismissal(
    case_id: UUID, appeal_id: UUID, body: DismissalRequest, actor: CaseOfficer, session: Transaction
) -> CaseView:
    """Answer an appeal without reopening the case, as a supervisor."""
    case = dismiss_appeal(session, case_id, appeal_id, reason=body.reason, actor=actor)
    return case_view(session, case, actor=actor)


def as_download(file: OpenedFile) -> Response:
    """Hand out a file to be saved: never shown in the page, never run, never guessed at."""
    return Response(
        file.data,
        media_type=file.media_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )
