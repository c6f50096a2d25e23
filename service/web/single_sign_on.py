"""Signing in at the provider of single sign-on, and out of it."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from service.auth.cookies import cookie_name, is_https
from service.auth.external import sign_in
from service.auth.oidc import Attempt, Provider, ProviderAwayError, ProviderRefusedError
from service.auth.sessions import record_failure
from service.errors import NotFoundError, UnauthenticatedError
from service.settings import Settings
from service.web.access import safe_next, set_session_cookies, visit_of
from service.web.rendering import render

router = APIRouter(include_in_schema=False)

ATTEMPT_COOKIE, NEXT_COOKIE = "oneperson_oidc", "oneperson_oidc_next"
ATTEMPT_S = 600
"""Seconds to sign in at the provider."""

REFUSALS = {
    "no-account": "oidc.no_account",
    "another-subject": "oidc.no_account",
    "no-role": "oidc.no_role",
    "no-division": "oidc.no_role",
    "claims": "oidc.no_role",
}
"""What an officer is told by the reason; all else is one text, the reason is on record."""


@router.get("/sign-in/oidc")
def go_to_provider(request: Request) -> Response:
    """Send the browser to the provider; what it must bring back is in a cookie of its own."""
    attempt = Attempt.fresh()
    try:
        response = RedirectResponse(_provider(request).address_of(attempt), status_code=303)
    except ProviderAwayError:
        return _failed(request, "oidc.away", 503)
    settings: Settings = request.app.state.settings
    _remember(response, ATTEMPT_COOKIE, attempt.as_text(), settings)
    _remember(response, NEXT_COOKIE, safe_next(request.query_params.get("next")), settings)
    return response


@router.get("/sign-in/oidc/callback")
def come_back(request: Request) -> Response:
    """Take what the provider sent back, and begin the session.

    The answer is a page that goes on by itself: after a redirect that began at another site browsers do not
    send the session's strict cookie.
    """
    settings: Settings = request.app.state.settings
    attempt = Attempt.from_text(request.cookies.get(cookie_name(ATTEMPT_COOKIE, settings)))
    visit = visit_of(request)
    try:
        claims = _provider(request).identity(attempt, request.query_params)
        with request.app.state.database.write() as session:
            opened = sign_in(session, claims, visit, settings=settings)
    except ProviderAwayError:
        return _failed(request, "oidc.away", 503)
    except (ProviderRefusedError, UnauthenticatedError) as error:
        reason = error.reason if isinstance(error, ProviderRefusedError) else "disabled"
        with request.app.state.database.write() as session:
            record_failure(session, address=visit.address, result=f"oidc-{reason}")
        return _failed(request, REFUSALS.get(reason, "oidc.refused"), 401)
    place = safe_next(request.cookies.get(cookie_name(NEXT_COOKIE, settings)))
    response = render(request, "signing_in.html", address="/", place=place)
    set_session_cookies(response, opened, settings)
    _forget(response, settings)
    return response


@router.get("/signed-out")
def signed_out(request: Request) -> Response:
    """Say that the browser is signed out here, and lead to the provider's own place for it."""
    settings: Settings = request.app.state.settings
    provider = settings.oidc_name if settings.oidc_issuer is not None else None
    return render(request, "signed_out.html", provider=provider)


@router.get("/sign-out/oidc")
def sign_out_at_provider(request: Request) -> Response:
    """Send the browser to the provider's place for signing out."""
    return RedirectResponse(_provider(request).logout_address() or "/sign-in", status_code=303)


def _provider(request: Request) -> Provider:
    provider: Provider = request.app.state.oidc
    if request.app.state.settings.oidc_issuer is None:
        raise NotFoundError("Single sign-on is not configured.")
    return provider


def _remember(response: Response, name: str, value: str, settings: Settings) -> None:
    """Keep something until the provider sends the browser back; a strict cookie would not come along then."""
    response.set_cookie(
        cookie_name(name, settings),
        value,
        max_age=ATTEMPT_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_https(settings),
    )


def _forget(response: Response, settings: Settings) -> None:
    for name in (ATTEMPT_COOKIE, NEXT_COOKIE):
        response.delete_cookie(
            cookie_name(name, settings), path="/", httponly=True, samesite="lax", secure=is_https(settings)
        )


def _failed(request: Request, fault: str, status: int) -> Response:
    settings: Settings = request.app.state.settings
    response = render(
        request,
        "sign_in.html",
        status=status,
        address="/sign-in",
        next="/",
        fault=fault,
        login="",
        provider=settings.oidc_name,
    )
    _forget(response, settings)
    return response
