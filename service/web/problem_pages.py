"""Shows problems to browsers as pages: the same facts that callers of the API get, in the page's language."""

import json
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.language import catalogue
from service.problems import MEDIA_TYPE
from service.web.rendering import render, words_of

API_PREFIXES = ("/v1/", "/problems/")
"""Answered in JSON whoever asks."""


class ProblemPages:
    """Turns problem documents into pages for browsers, and sends visitors without a session to sign in."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or not wants_page(Request(scope)):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def send_page(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    page = problem_page(Request(scope), start["status"], json.loads(body))
                    _keep_headers(page, start)
                    await page(scope, receive, send)

        await self._app(scope, receive, send_page)


def wants_page(request: Request) -> bool:
    """Tell whether a problem is to be shown as a page: a browser asks for one, outside the API."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(API_PREFIXES)


def problem_page(request: Request, status: int, problem: dict[str, object]) -> Response:
    """Return the page of a problem document.

    Args:
        request: What it answers.
        status: HTTP status.
        problem: The document.
    """
    if status == 401 and request.method in ("GET", "HEAD"):
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(wanted, safe='/')}", status_code=303)
    code = str(problem["type"]).rsplit("/", 1)[-1]
    words = words_of(request)
    own = f"problem_page.{code}"
    explained = [words.t(own)] if own in catalogue(words.language) else _explained(words.language, code)
    return render(
        request,
        "problem.html",
        status=status,
        title=words.t(f"problem.{code}.title"),
        explained=explained,
        request_id=str(problem.get("instance", "")).removeprefix("urn:uuid:"),
        sign_in=status == 401,
    )


def _explained(language: str, code: str) -> list[str]:
    texts = catalogue(language)
    return [texts[f"problem.{code}.meaning"], texts[f"problem.{code}.remedy"]]


def _is_problem(start: Message) -> bool:
    headers = dict(start["headers"])
    return bytes(headers.get(b"content-type", b"")).split(b";")[0] == MEDIA_TYPE.encode()


def _keep_headers(page: Response, start: Message) -> None:
    """Keep what surrounds every answer, such as the request's id and the security headers."""
    for name, value in start["headers"]:
        key = name.decode("latin-1")
        if key not in ("content-type", "content-length", "www-authenticate"):
            page.headers.setdefault(key, value.decode("latin-1"))
