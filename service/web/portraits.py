"""The portraits of a case, drawn for comparison; every look is on record."""

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.dependencies import Transaction
from service.review.portraits import StoredPortrait, view_probe, view_reference
from service.web.access import Visitor
from service.web.portrait_view import draw_aligned

router = APIRouter(prefix="/cases/{case_id:uuid}/portraits", include_in_schema=False)


@router.get("/probe")
def probe(case_id: UUID, request: Request, visitor: Visitor, session: Transaction) -> Response:
    """Show the portrait that was searched."""
    return _picture(request, view_probe(session, case_id, actor=visitor.actor))


@router.get("/{reference_id:int}")
def reference(
    case_id: UUID, reference_id: int, request: Request, visitor: Visitor, session: Transaction
) -> Response:
    """Show a portrait on file of the subject or of a candidate."""
    found = view_reference(session, case_id, reference_id=reference_id, actor=visitor.actor)
    return _picture(request, found)


def _picture(request: Request, portrait: StoredPortrait) -> Response:
    data = request.app.state.portrait_store.get(portrait.location)
    return Response(
        draw_aligned(data, portrait.landmarks),
        media_type="image/jpeg",
        headers={"Cache-Control": "no-store", "Content-Disposition": "inline"},
    )
