"""Keeps what officers type and attach on the page of a case, so that nothing of it is lost."""

from dataclasses import dataclass
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session
from starlette.responses import Response

from service.auth.service import Actor
from service.auth.sessions import SignedIn
from service.errors import InvalidRequestError, ServiceError
from service.review.access import visible_case
from service.review.attachments import NewFile, own_files
from service.review.drafts import drop_draft, save_draft
from service.review.evidence_api import Files, as_download, evidence_files
from service.web.access import FormFields, ProtectedForm, Visitor
from service.web.opinion_form import OpinionForm, fields_of, with_files
from service.web.rendering import words_of
from service.web.uploads import OpinionPost
from service.web.words import Words

router = APIRouter(prefix="/cases/{case_id:uuid}", include_in_schema=False)

UPLOAD, FILE = "evidence-upload-", "evidence-file-"
"""What a chosen file is sent as, and the field that names it once it is kept."""

Faults = dict[str, str]
"""What is wrong, in words, by the field beside which it is said."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of a form.

    Attributes:
        fields: With the ids of the files that came with it.
        faults: Why files were not kept, by field.
    """

    fields: FormFields
    faults: Faults


def keep(request: Request, visitor: SignedIn, case_id: UUID, post: OpinionPost) -> Kept:
    """Attach the files that came and save the rest as the officer's draft.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division.
    """
    fields, faults, words = dict(post.fields), Faults(), words_of(request)
    files = evidence_files(request)
    for name, file in post.files.items():
        if name.startswith(UPLOAD):
            row = name.removeprefix(UPLOAD)
            try:
                attached = files.attach(case_id, file, actor=visitor.actor, whatever_state=True)
                fields[FILE + row] = str(attached.id)
            except InvalidRequestError as error:
                faults[f"evidence-{row.rpartition('-')[0]}"] = _why(error, file, words)
    with request.app.state.database.write() as session:
        save_draft(session, case_id, fields=fields_of(fields), actor=visitor.actor)
    return Kept(fields, faults)


def named_files(session: Session, case_id: UUID, form: OpinionForm, *, actor: Actor) -> OpinionForm:
    """Name the files that a form attaches, as far as they are there and the officer's own."""
    own = own_files(session, case_id, actor=actor)
    names = {str(one.id): (one.name, f"/cases/{case_id}/attachments/{one.id}") for one in own.values()}
    return with_files(form, names)


@router.post("/draft/discard")
def discard(case_id: UUID, request: Request, visitor: Visitor, _form: ProtectedForm) -> Response:
    """Forget the officer's draft."""
    with request.app.state.database.write() as session:
        visible_case(session, case_id, actor=visitor.actor)
        drop_draft(session, case_id, actor=visitor.actor)
    return RedirectResponse(f"/cases/{case_id}?done=draft_discarded", status_code=303)


@router.get("/attachments/{attachment_id:uuid}")
def attachment(case_id: UUID, attachment_id: UUID, visitor: Visitor, files: Files) -> Response:
    """Hand out a file to be saved, on record."""
    return as_download(files.open(case_id, attachment_id, actor=visitor.actor))


def _why(error: ServiceError, file: NewFile, words: Words) -> str:
    listed = error.extensions_in(words.language).get("errors")
    if not listed:
        return words.t("fault.file", name=file.name, why=error.detail_in(words.language))
    why = words.t("fault.told", message=listed[0]["message"], remedy=listed[0]["remedy"])
    return words.t("fault.file", name=file.name, why=why)
