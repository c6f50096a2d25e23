"""Who looks at a page: the session cookie, the token of forms, and where a browser may be sent."""

import hmac
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from service.auth.sessions import SignedIn, find_session
from service.errors import BodyTooLargeError, FormExpiredError, MalformedRequestError, UnauthenticatedError
from service.language import LANGUAGES
from service.settings import Settings

LANGUAGE_COOKIE = "oneperson_language"
LANGUAGE_COOKIE_S = 365 * 24 * 3600
LONGEST_NEXT = 500
LONGEST_FORM = 4 * 2**20
"""Bytes: 200 candidates with reasons of 2,000 Chinese characters each, percent-encoded, stay below."""

MOST_FIELDS = 4000
"""A decision on 200 candidates, the longest list that the settings allow, has 1,600."""

FormFields = dict[str, str]
"""The fields of a posted form; of one that came twice the last."""


def is_https(settings: Settings) -> bool:
    """Tell whether officers reach the pages by https."""
    return settings.public_url.lower().startswith("https://")


def session_cookie_name(settings: Settings) -> str:
    """Return the cookie's name; over https browsers bind `__Host-` names to this very host."""
    return "__Host-oneperson_session" if is_https(settings) else "oneperson_session"


def set_session_cookie(response: Response, token: str, settings: Settings) -> None:
    """Give the browser its session."""
    response.set_cookie(
        session_cookie_name(settings),
        token,
        max_age=int(settings.session_hours * 3600),
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
    """Find whose browser this is.

    Raises:
        UnauthenticatedError: Nobody's, or the session has ended.
    """
    token = session_token(request)
    if not token:
        raise UnauthenticatedError("Sign in first.")
    with request.app.state.database.read() as session:
        return find_session(session, token)


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
    if not hmac.compare_digest(form.get("csrf", "").encode(), visitor.csrf_token.encode()):
        raise FormExpiredError("The form belongs to another session; open the page again.")
    return form


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
