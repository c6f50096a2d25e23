"""Signing in with a password and a second factor, signing out, and the choice of language."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from service.auth.failures import WINDOW_S, FailureThrottle
from service.auth.passwords import LONGEST, SHORTEST
from service.auth.sessions import (
    SignedIn,
    SignInMethod,
    SignInStage,
    end_session,
    find_session,
    record_failure,
)
from service.auth.signing_in import Opened, PasswordFaultError, SigningIn, WrongCodeError
from service.dependencies import Transaction
from service.errors import OverloadedError, UnauthenticatedError
from service.language import LANGUAGES
from service.web.access import (
    FormFields,
    PostedForm,
    ProtectedForm,
    drop_session_cookie,
    require_token,
    safe_next,
    session_token,
    set_language_cookie,
    set_session_cookies,
    visit_of,
)
from service.web.rendering import render

router = APIRouter(include_in_schema=False)

Wanted = Annotated[str | None, Query(alias="next")]

PASSWORD_FAULTS = {
    "short": "password_fault.short",
    "long": "password_fault.long",
    "simple": "password_fault.simple",
    "own": "password_fault.own",
    "common": "password_fault.common",
    "same": "password_fault.same",
    "different": "password_fault.different",
}
"""Texts by fault; the last is a page's own, when the two fields differ."""

NEXT_PAGE = {SignInStage.FACTOR: "/sign-in/code", SignInStage.SET_UP: "/account/second-factor"}
"""Where a session that still lacks something goes."""


def rules_of(request: Request) -> SigningIn:
    """Return the rules of signing in over the application's collaborators."""
    return SigningIn(request.app.state.database, request.app.state.settings)


@router.get("/sign-in")
def sign_in_page(request: Request, wanted: Wanted = None) -> Response:
    """Show the form, or go on when the browser is signed in already."""
    visitor = half_way(request)
    if visitor is not None and visitor.stage is SignInStage.FULL:
        return RedirectResponse(safe_next(wanted), status_code=303)
    if visitor is not None and visitor.stage is SignInStage.SET_UP:
        return RedirectResponse(NEXT_PAGE[SignInStage.SET_UP], status_code=303)
    return _sign_in_form(request, wanted)


@router.post("/sign-in")
def sign_in(request: Request, form: PostedForm) -> Response:
    """Take login and password; a refusal does not say which was wrong."""
    login, password = form.get("login", "").strip(), form.get("password", "")

    def attempt() -> Opened:
        return rules_of(request).by_password(login, password, visit_of(request))

    def again(fault: str, status: int) -> Response:
        return _sign_in_form(request, form.get("next"), fault=fault, status=status, login=login)

    return _guarded(request, form, attempt, again)


@router.get("/sign-in/first")
def first_page(request: Request) -> Response:
    """Show the form for a first password."""
    return _first_form(request)


@router.post("/sign-in/first")
def first(request: Request, form: PostedForm) -> Response:
    """Take the operator's code and set the first password."""
    login = form.get("login", "").strip()

    def attempt() -> Opened:
        password = typed_twice(form)
        return rules_of(request).by_setup_code(login, form.get("code", ""), password, visit_of(request))

    def again(fault: str, status: int) -> Response:
        return _first_form(request, fault=fault, status=status, login=login)

    return _guarded(request, form, attempt, again, refused="first.refused")


@router.get("/sign-in/code")
def code_page(request: Request, wanted: Wanted = None) -> Response:
    """Ask for the second factor."""
    visitor = half_way(request)
    if visitor is None or visitor.stage is not SignInStage.FACTOR:
        return RedirectResponse("/sign-in", status_code=303)
    return _code_form(request, visitor, wanted)


@router.post("/sign-in/code")
def code(request: Request, form: PostedForm) -> Response:
    """Take a code of the second factor, or a recovery code."""
    visitor = half_way(request)
    if visitor is None or visitor.stage is not SignInStage.FACTOR:
        return RedirectResponse("/sign-in", status_code=303)
    require_token(form, visitor)
    token = session_token(request) or ""

    def attempt() -> Opened:
        return rules_of(request).by_code(token, form.get("code", ""), visit_of(request))

    def again(fault: str, status: int) -> Response:
        if fault == "code.refused":
            return _code_form(request, visitor, form.get("next"), fault=fault, status=status)
        return _sign_in_form(request, form.get("next"), fault=fault, status=status)

    return _guarded(request, form, attempt, again)


@router.post("/sign-out")
def sign_out(request: Request, _form: ProtectedForm, session: Transaction) -> Response:
    """End the session on both sides."""
    method = end_session(session, session_token(request) or "")
    single = method is SignInMethod.OIDC and request.app.state.settings.oidc_issuer is not None
    response = RedirectResponse("/signed-out" if single else "/sign-in", status_code=303)
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


def half_way(request: Request) -> SignedIn | None:
    """Return the browser's session, however far it has come; None if it has none."""
    token = session_token(request)
    if not token:
        return None
    try:
        with request.app.state.database.read() as session:
            return find_session(session, token, idle_minutes=request.app.state.settings.session_idle_minutes)
    except UnauthenticatedError:
        return None  # The session has ended: the form is what the visitor needs.


def went_in(request: Request, opened: Opened, wanted: str | None) -> Response:
    """Give the browser its cookies and send it on."""
    place, page = safe_next(wanted), NEXT_PAGE.get(opened.stage)
    if page is not None:
        place = page if place == "/" else f"{page}?next={quote(place, safe='/')}"
    response = RedirectResponse(place, status_code=303)
    set_session_cookies(response, opened, request.app.state.settings)
    return response


def _guarded(
    request: Request,
    form: FormFields,
    attempt: Callable[[], Opened],
    again: Callable[[str, int], Response],
    *,
    refused: str = "sign_in.refused",
) -> Response:
    """Try to sign in, unless the address has failed too often; a failure shows the form again."""
    throttle: FailureThrottle = request.app.state.sign_in_throttle
    visit = visit_of(request)
    blocked = throttle.is_blocked(visit.address)
    if blocked and not rules_of(request).is_known_browser(form.get("login", "").strip(), visit):
        if throttle.note_refusal(visit.address):
            with request.app.state.database.write() as session:
                record_failure(session, address=visit.address, result="throttled")
        page = again("sign_in.throttled", 429)
        page.headers["Retry-After"] = str(int(WINDOW_S))
        return page
    try:
        return went_in(request, attempt(), form.get("next"))
    except PasswordFaultError as error:
        return again(PASSWORD_FAULTS[error.fault], 422)
    except OverloadedError as error:
        page = again("sign_in.overloaded", error.status)
        page.headers["Retry-After"] = "5"
        return page
    except WrongCodeError:
        throttle.note_failure(visit.address)
        return again("code.refused", 401)
    except UnauthenticatedError:
        throttle.note_failure(visit.address)
        return again(refused, 401)


def typed_twice(form: FormFields) -> str:
    """Return a new password.

    Raises:
        PasswordFaultError: The two fields differ.
    """
    if form.get("new", "") != form.get("again", ""):
        raise PasswordFaultError("different")
    return form.get("new", "")


def _sign_in_form(
    request: Request, wanted: str | None, *, fault: str | None = None, status: int = 200, login: str = ""
) -> Response:
    settings = request.app.state.settings
    return render(
        request,
        "sign_in.html",
        status=status,
        address="/sign-in",
        next=safe_next(wanted),
        fault=fault,
        login=login[:64],
        provider=settings.oidc_name if settings.oidc_issuer is not None else None,
    )


def _first_form(
    request: Request, *, fault: str | None = None, status: int = 200, login: str = ""
) -> Response:
    return render(
        request,
        "first_password.html",
        status=status,
        address="/sign-in/first",
        fault=fault,
        login=login[:64],
        shortest=SHORTEST,
        longest=LONGEST,
    )


def _code_form(
    request: Request, visitor: SignedIn, wanted: str | None, *, fault: str | None = None, status: int = 200
) -> Response:
    return render(
        request,
        "sign_in_code.html",
        status=status,
        address="/sign-in/code",
        next=safe_next(wanted),
        csrf=visitor.csrf_token,
        fault=fault,
    )
