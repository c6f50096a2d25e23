"""The portraits of a case, drawn for comparison; every look is on record."""

from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.dependencies import StoredIn
from service.review.portraits import StoredPortrait, view_probe, view_reference
from service.web.access import Visitor
from service.web.portrait_view import draw_aligned, draw_whole

router = APIRouter(prefix="/cases/{case_id:uuid}/portraits", include_in_schema=False)

View = Literal["aligned", "original"]
"""Drawn for comparison by eye, or whole as it was stored."""


@router.get("/probe")
def probe(
    case_id: UUID, request: Request, visitor: Visitor, stored_in: StoredIn, view: View = "aligned"
) -> Response:
    """Show the portrait that was searched."""
    with stored_in.write() as session:
        found = view_probe(session, case_id, actor=visitor.actor)
        data = request.app.state.portrait_store.get(found.location, owner=found.owner)
    return _picture(data, found, view)


@router.get("/{reference_id:int}")
def reference(
    case_id: UUID,
    reference_id: int,
    request: Request,
    visitor: Visitor,
    stored_in: StoredIn,
    *,
    view: View = "aligned",
) -> Response:
    """Show a portrait on file of the subject or of a candidate."""
    with stored_in.write() as session:
        found = view_reference(session, case_id, reference_id=reference_id, actor=visitor.actor)
        data = request.app.state.portrait_store.get(found.location, owner=found.owner)
    return _picture(data, found, view)


def _picture(data: bytes, portrait: StoredPortrait, view: View) -> Response:
    """Draw a portrait; outside the transaction, which on SQLite keeps other writers waiting."""
    return Response(
        draw_whole(data) if view == "original" else draw_aligned(data, portrait.landmarks),
        media_type="image/jpeg",
        headers={"Cache-Control": "no-store", "Content-Disposition": "inline"},
    )
