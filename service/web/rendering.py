"""Turns templates into pages; templates are given finished words and never run queries."""

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service.auth.sessions import SignedIn
from service.language import LANGUAGES
from service.web.access import page_language
from service.web.assets import asset
from service.web.navigation import destinations, is_current
from service.web.words import Words

HERE = Path(__file__).parent

LANGUAGE_NAMES = {"zh-CN": "中文", "en": "English"}
"""Each language in its own words, so that whoever needs it finds it."""

PAGE_HEADERS = {"Referrer-Policy": "same-origin", "Vary": "Cookie"}
"""With the stricter `no-referrer` browsers hide a form's origin, by which forgeries are told apart."""

ENVIRONMENT = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def words_of(request: Request) -> Words:
    """Return the words of the page's language."""
    return Words(page_language(request), request.app.state.codes)


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    visitor: SignedIn | None = None,
    address: str | None = None,
    **context: Any,
) -> HTMLResponse:
    """Render a page.

    Args:
        request: What it answers.
        template: Name of the template.
        status: HTTP status.
        visitor: Who is signed in.
        address: Path under which the page can be read again; default: the one of a GET request.
        context: What the template shows.
    """
    words = words_of(request)
    html = ENVIRONMENT.get_template(template).render(
        w=words,
        t=words.t,
        language=words.language,
        languages=[(tag, LANGUAGE_NAMES[tag]) for tag in LANGUAGES if tag != words.language],
        visitor=visitor,
        address=address or _address(request),
        navigation=_navigation(request, visitor),
        asset=asset,
        **context,
    )
    headers = PAGE_HEADERS | {"Content-Language": words.language}
    return HTMLResponse(html, status_code=status, headers=headers)


def _navigation(request: Request, visitor: SignedIn | None) -> list[dict[str, Any]]:
    """Return the pages in the head; a single one is where the visitor is, so it needs no line."""
    wanted = list(destinations(visitor.actor.role)) if visitor is not None else []
    return [
        {"address": item.address, "key": item.key, "current": is_current(item, request.url.path)}
        for item in wanted
    ]


def _address(request: Request) -> str:
    if request.method not in ("GET", "HEAD"):
        return "/"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")
