"""Who looks at a page: the session cookie, the token of forms, and where a browser may be sent."""

import hmac
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from service.auth.backoff import BROWSER_DAYS, Visit
from service.auth.cookies import cookie_name, is_https, session_cookie_name
from service.auth.sessions import SignedIn
from service.auth.signing_in import Opened
from service.errors import BodyTooLargeError, FormExpiredError, MalformedRequestError, UnauthenticatedError
from service.language import LANGUAGES
from service.settings import Settings

LANGUAGE_COOKIE = "oneperson_language"
BROWSER_COOKIE = "oneperson_browser"
"""Says that an officer has signed in with this browser; it opens nothing, see `service.auth.backoff`."""

LANGUAGE_COOKIE_S = 365 * 24 * 3600
LONGEST_NEXT = 500
LONGEST_FORM = 4 * 2**20
"""Bytes: 200 candidates with reasons of 2,000 Chinese characters each, percent-encoded, stay below."""

MOST_FIELDS = 4000
"""A decision on 200 candidates, the longest list that the settings allow, has 1,600."""

FormFields = dict[str, str]
"""The fields of a posted form; of one that came twice the last."""


def set_session_cookies(response: Response, opened: Opened, settings: Settings) -> None:
    """Give the browser its session, and what it is known by once it is signed in."""
    _set(response, session_cookie_name(settings), opened.token, settings, hours=settings.session_hours)
    if opened.browser is not None:
        name = cookie_name(BROWSER_COOKIE, settings)
        _set(response, name, opened.browser, settings, hours=BROWSER_DAYS * 24)


def _set(response: Response, name: str, value: str, settings: Settings, *, hours: float) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(hours * 3600),
        path="/",
        httponly=True,
        samesite="strict",
        secure=is_https(settings),
    )


def drop_session_cookie(response: Response, settings: Settings) -> None:
    """Make the browser forget its session."""
    response.delete_cookie(
        session_cookie_name(settings), path="/", httponly=True, samesite="strict", secure=is_https(settings)
    )


def visit_of(request: Request) -> Visit:
    """Return where a sign-in comes from."""
    browser = request.cookies.get(cookie_name(BROWSER_COOKIE, request.app.state.settings))
    return Visit(request.state.address, browser)


def set_language_cookie(response: Response, language: str, settings: Settings) -> None:
    """Make the browser remember a language."""
    response.set_cookie(
        LANGUAGE_COOKIE,
        language,
        max_age=LANGUAGE_COOKIE_S,
        path="/",
        httponly=True,
        samesite="strict",
        secure=is_https(settings),
    )


def page_language(request: Request) -> str:
    """Return the language that the browser remembers, else the one in the settings."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    default: str = request.app.state.settings.language
    return chosen if chosen in LANGUAGES else default


def session_token(request: Request) -> str | None:
    """Return the token that the browser sent, valid or not."""
    return request.cookies.get(session_cookie_name(request.app.state.settings))


def signed_in(request: Request) -> SignedIn:
    """Return whose browser this is, as `service.gate` found it.

    Raises:
        UnauthenticatedError: The address is not one that the policy table asks a session for.
    """
    found = getattr(request.state, "signed_in", None)
    if not isinstance(found, SignedIn):
        raise UnauthenticatedError("Sign in first.")
    return found


def is_same_origin(request: Request) -> bool:
    """Tell whether a form was sent by a page of ours, as far as the browser says."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return True  # Browsers always send one of the two with a form from elsewhere.
    ours = {request.headers.get("host"), urlsplit(request.app.state.settings.public_url).netloc}
    return urlsplit(origin).netloc in ours


async def posted_form(request: Request) -> FormFields:
    """Read a form that a page of ours sent.

    Raises:
        FormExpiredError: Another site's page sent it.
        BodyTooLargeError: It is longer than any page's form.
        MalformedRequestError: It is not an ordinary form.
    """
    if not is_same_origin(request):
        raise FormExpiredError("Send the form from the page that shows it.")
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and int(length) <= LONGEST_FORM):
        raise BodyTooLargeError(f"A form has at most {LONGEST_FORM} bytes, and says how many.")
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
        raise MalformedRequestError("Send the form as application/x-www-form-urlencoded.")
    form = await request.form(max_fields=MOST_FIELDS)
    return {name: value for name, value in form.items() if isinstance(value, str)}


Visitor = Annotated[SignedIn, Depends(signed_in)]
PostedForm = Annotated[FormFields, Depends(posted_form)]


def protected_form(visitor: Visitor, form: PostedForm) -> FormFields:
    """Read a form of the visitor's own session.

    Raises:
        UnauthenticatedError: Nobody is signed in.
        FormExpiredError: It lacks the session's token.
    """
    require_token(form, visitor)
    return form


def require_token(form: FormFields, visitor: SignedIn) -> None:
    """Let forms of a session pass.

    Raises:
        FormExpiredError: It lacks the session's token.
    """
    if not hmac.compare_digest(form.get("csrf", "").encode(), visitor.csrf_token.encode()):
        raise FormExpiredError("The form belongs to another session; open the page again.")


ProtectedForm = Annotated[FormFields, Depends(protected_form)]


def safe_next(wanted: str | None) -> str:
    """Return where a browser goes next if it is a path of ours, else the queue.

    Backslashes and control characters are refused because browsers read some of them as slashes or drop them.
    """
    if not wanted or len(wanted) > LONGEST_NEXT or not wanted.startswith("/") or wanted.startswith("//"):
        return "/"
    if "\\" in wanted or any(ord(character) <= 32 or ord(character) == 127 for character in wanted):
        return "/"
    return wanted
