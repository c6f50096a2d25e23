"""The follow-up register: the list, one person's page, visits, and the workbook."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.responses import Response

from service.audit.service import AuditKind, record
from service.auth.sessions import SignedIn
from service.dependencies import StoredIn, Transaction
from service.errors import InvalidRequestError, ServiceError, VisitCorrectedError
from service.register import service
from service.register.export import write_register
from service.register.service import NewVisit, RegisterQuery, RegisterState
from service.web.access import FormFields, ProtectedForm, Visitor
from service.web.rendering import render, words_of

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PIECE = 2**18
"""Bytes of the workbook sent at once."""

FILTERS = ("state", "division", "overdue")
LONGEST_SOUGHT = 64
"""Characters of the longest key of a registration; names have at most 50."""

VISIT_FIELDS = ("visited_on", "place", "visitors", "found", "next_visit_on", "reason")
LONGEST = {"place": 200, "visitors": 200, "found": 2000, "reason": 500}

router = APIRouter(prefix="/register", include_in_schema=False)


@router.get("")
def register_page(request: Request, visitor: Visitor, session: Transaction) -> Response:
    """Show the officer's own division's flagged persons, on record."""
    return _list(request, visitor, session, _query(request))


@router.post("")
def search_register(
    request: Request, visitor: Visitor, form: ProtectedForm, session: Transaction
) -> Response:
    """Show whom an officer asks for; posted, because addresses are logged and names must not be.

    Raises:
        InvalidRequestError: What was typed is longer than any name or number.
    """
    sought = form.get("sought", "").strip()
    if len(sought) > LONGEST_SOUGHT:
        raise InvalidRequestError("Nobody's name or number is this long.")
    return _list(request, visitor, session, RegisterQuery(sought=sought))


def _list(request: Request, visitor: SignedIn, session: Transaction, query: RegisterQuery) -> Response:
    page = service.list_register(session, query, actor=visitor.actor)
    chosen = dict.fromkeys(FILTERS, "") if query.sought else _chosen(request)
    given = {name: value for name, value in chosen.items() if value}
    is_whole = page.next is None and query.after is None
    following = (
        urlencode({**given, "division_after": page.next[0], "after": page.next[1]}) if page.next else ""
    )
    return render(
        request,
        "register.html",
        visitor=visitor,
        lines=page.lines,
        number=len(page.lines) if is_whole else service.count_register(session, query, actor=visitor.actor),
        sought=query.sought,
        states=list(RegisterState),
        chosen=chosen,
        filtered=bool(given),
        following=f"/register?{following}" if following and not query.sought else None,
        later=query.after is not None,
        first=f"/register?{urlencode(given)}" if given else "/register",
        codes=request.app.state.codes,
    )


@router.post("/export")
def export(request: Request, visitor: Visitor, form: ProtectedForm, stored_in: StoredIn) -> Response:
    """Send the lines that the filters choose as a workbook, on record.

    The file is nameless as soon as it is written, so that nothing stays behind whoever breaks off.
    """
    query = _read_query(form)
    words = words_of(request)
    folder = request.app.state.settings.exports_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as within:
        path = Path(within) / "oneperson-register.xlsx"
        lines = write_register(
            stored_in, path, query, actor=visitor.actor, codes=words.codes, language=words.language
        )
        opened = os.open(path, os.O_RDONLY)
    with stored_in.write() as session:
        record(session, AuditKind.REGISTER_EXPORTED, actor=visitor.actor, lines=lines)
    headers = {
        "Content-Disposition": 'attachment; filename="oneperson-register.xlsx"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_pieces(opened), media_type=XLSX, headers=headers)


def _pieces(descriptor: int) -> Iterator[bytes]:
    with os.fdopen(descriptor, "rb") as file:
        while piece := file.read(PIECE):
            yield piece


@router.get("/{person_id}")
def person_page(person_id: str, request: Request, visitor: Visitor, session: Transaction) -> Response:
    """Show one person's file, on record; without a portrait and with the citizen number masked."""
    return _person(request, visitor, session, person_id)


@router.post("/{person_id}/number")
def open_number(
    person_id: str, request: Request, visitor: Visitor, _form: ProtectedForm, session: Transaction
) -> Response:
    """Show the same page with the full citizen number, on record of its own."""
    return _person(request, visitor, session, person_id, with_number=True)


@router.post("/{person_id}/visits")
def add_visit(
    person_id: str, request: Request, visitor: Visitor, form: ProtectedForm, stored_in: StoredIn
) -> Response:
    """Record a visit, or a correction; what cannot be taken comes back as it was typed."""
    try:
        new = _visit(form)
        with stored_in.write() as session:
            service.record_visit(session, person_id, new, actor=visitor.actor)
    except (InvalidRequestError, VisitCorrectedError) as error:
        with stored_in.write() as session:
            return _person(request, visitor, session, person_id, typed=form, error=error)
    return RedirectResponse(f"/register/{person_id}?done=visit#visits", status_code=303)


def _person(
    request: Request,
    visitor: SignedIn,
    session: Transaction,
    person_id: str,
    *,
    with_number: bool = False,
    typed: Mapping[str, str] | None = None,
    error: ServiceError | None = None,
) -> Response:
    found = service.read_person(session, person_id, actor=visitor.actor, with_number=with_number)
    fields = {name: (typed or {}).get(name, "") for name in (*VISIT_FIELDS, "corrects")}
    fields["corrects"] = fields["corrects"] or request.query_params.get("correct", "")
    corrected = next((one for one in found.visits if str(one.visit.id) == fields["corrects"]), None)
    if corrected is not None and typed is None:
        fields |= {name: _text(getattr(corrected.visit, name, "")) for name in VISIT_FIELDS[:-1]}
    faults = {item["field"] for item in error.extensions.get("errors", ())} if error is not None else set()
    return render(
        request,
        "register_person.html",
        status=error.status if error is not None else 200,
        visitor=visitor,
        address=f"/register/{person_id}",
        file=found,
        line=found.line,
        fields=fields,
        faults=faults,
        error=error,
        correcting=corrected,
        done=request.query_params.get("done") == "visit",
        codes=request.app.state.codes,
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _visit(form: FormFields) -> NewVisit:
    """Read a visit as it was typed.

    Raises:
        InvalidRequestError: A date is none, or a text is too long.
    """
    faults = [name for name, most in LONGEST.items() if len(form.get(name, "")) > most]
    days: dict[str, date | None] = {}
    for name in ("visited_on", "next_visit_on"):
        try:
            days[name] = date.fromisoformat(form[name].strip()) if form.get(name, "").strip() else None
        except ValueError:
            faults.append(name)
    visited_on, corrects = days.get("visited_on"), form.get("corrects", "")
    if visited_on is None or faults or (corrects and not corrects.isdecimal()):
        named = faults or ["visited_on"]
        errors = [{"field": name, "message": "is not valid", "remedy": "correct it"} for name in named]
        raise InvalidRequestError("See 'errors' for each field.", errors=errors)
    return NewVisit(
        visited_on=visited_on,
        place=form.get("place", ""),
        visitors=form.get("visitors", ""),
        found=form.get("found", ""),
        next_visit_on=days["next_visit_on"],
        corrects=int(corrects[:18]) if corrects else None,
        reason=form.get("reason", ""),
    )


def _chosen(request: Request) -> dict[str, str]:
    return {name: request.query_params.get(name, "").strip() for name in FILTERS}


def _query(request: Request) -> RegisterQuery:
    return _read_query(dict(request.query_params))


def _read_query(given: Mapping[str, str]) -> RegisterQuery:
    """Read the filters.

    Raises:
        InvalidRequestError: An address was put together by hand, and wrongly.
    """
    state, division = given.get("state", "").strip(), given.get("division", "").strip()
    known = not state or state in set(RegisterState)
    if not known or (division and not (division.isascii() and division.isdecimal() and len(division) <= 12)):
        raise InvalidRequestError("The filters of the register cannot be read.")
    place = (given.get("division_after", ""), given.get("after", ""))
    return RegisterQuery(
        state=RegisterState(state) if state else None,
        division=division or None,
        overdue=bool(given.get("overdue")),
        after=place if place[1] else None,
    )
