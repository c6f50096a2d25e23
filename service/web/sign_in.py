"""Signing in and out, and the choice of language."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from service.auth.sessions import end_session, find_session, officer_by_key, record_failure, start_session
from service.database import Database
from service.dependencies import StoredIn, Transaction
from service.errors import UnauthenticatedError
from service.language import LANGUAGES
from service.web.access import (
    FormFields,
    PostedForm,
    ProtectedForm,
    drop_session_cookie,
    safe_next,
    session_token,
    set_language_cookie,
    set_session_cookie,
)
from service.web.rendering import render
from service.web.throttle import WINDOW_S, FailureThrottle

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
def sign_in_page(
    request: Request, stored_in: StoredIn, wanted: Annotated[str | None, Query(alias="next")] = None
) -> Response:
    """Show the form, or go on when the browser is signed in already."""
    token = session_token(request)
    if token:
        try:
            with stored_in.read() as session:
                find_session(session, token)
            return RedirectResponse(safe_next(wanted), status_code=303)
        except UnauthenticatedError:
            pass  # The session has ended: the form is what the visitor needs.
    return render(request, "sign_in.html", next=safe_next(wanted), fault=None)


@router.post("/sign-in")
def sign_in(request: Request, form: PostedForm, stored_in: StoredIn) -> Response:
    """Take an access key; a refusal does not say why."""
    throttle: FailureThrottle = request.app.state.sign_in_throttle
    address = request.client.host if request.client is not None else "unknown"
    if throttle.is_blocked(address):
        if throttle.note_refusal(address):
            _record(stored_in, address=address, throttled=True)
        page = _form_again(request, form, fault="sign_in.throttled", status=429)
        page.headers["Retry-After"] = str(int(WINDOW_S))
        return page
    try:
        with stored_in.write() as session:
            officer = officer_by_key(session, form.get("key", "").strip())
            token = start_session(session, officer, hours=request.app.state.settings.session_hours)
    except UnauthenticatedError:
        throttle.note_failure(address)
        _record(stored_in, address=address, throttled=False)
        return _form_again(request, form, fault="sign_in.refused", status=401)
    throttle.forget(address)
    response = RedirectResponse(safe_next(form.get("next")), status_code=303)
    set_session_cookie(response, token, request.app.state.settings)
    return response


@router.post("/sign-out")
def sign_out(request: Request, _form: ProtectedForm, session: Transaction) -> Response:
    """End the session on both sides."""
    end_session(session, session_token(request) or "")
    response = RedirectResponse("/sign-in", status_code=303)
    drop_session_cookie(response, request.app.state.settings)
    return response


@router.post("/language")
def choose_language(request: Request, form: PostedForm) -> Response:
    """Remember a language and go back to the page."""
    response = RedirectResponse(safe_next(form.get("next")), status_code=303)
    chosen = form.get("language")
    if chosen in LANGUAGES:
        set_language_cookie(response, chosen, request.app.state.settings)
    return response


def _record(stored_in: Database, *, address: str, throttled: bool) -> None:
    """Put a failure on record in a transaction of its own: that of the attempt was rolled back."""
    with stored_in.write() as session:
        record_failure(session, address=address, throttled=throttled)


def _form_again(request: Request, form: FormFields, *, fault: str, status: int) -> Response:
    wanted = safe_next(form.get("next"))
    return render(request, "sign_in.html", status=status, address="/sign-in", next=wanted, fault=fault)
