"""`/docs`, `/openapi.json` and `/problems/…`: what the API offers, readable without a network."""

import functools
import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.staticfiles import StaticFiles

from service.errors import (
    BodyTooLargeError,
    DatabaseUnavailableError,
    InvalidRequestError,
    MalformedRequestError,
    NotFoundError,
    RequestTimeoutError,
    ServiceError,
    UnauthenticatedError,
)
from service.language import LANGUAGES, translate
from service.problems import MEDIA_TYPE, problem_classes, responses_for

FIELD_WORDS = Path(__file__).parent / "field_words.toml"
OUR_FILES = Path(__file__).parent / "web" / "static"
UI_FILES = Path(str(files("fastapi_offline"))) / "static"
"""Swagger UI as a package on PyPI ships it, so that nothing is copied here or fetched from outside."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>OnePerson API</title>
<link rel="stylesheet" href="/docs/ui/swagger-ui.css">
<link rel="icon" href="/docs/ui/favicon.png">
</head>
<body>
<div id="api"></div>
<script src="/docs/ui/swagger-ui-bundle.js"></script>
<script src="/static/api-docs.js"></script>
</body>
</html>
"""
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
"""Swagger UI draws its icons from data: addresses; nothing else is let in beyond what every page may do."""

DESCRIPTION = """\
Finds people who hold more than one household registration, by comparing portraits.

Every error is a problem document (RFC 9457, `application/problem+json`); the codes are explained under
`/problems/{code}`. Titles come in Chinese or English, as `Accept-Language` asks. Every answer carries
`X-Request-ID`, which the service's log names too. Answers with 503 can be repeated after `Retry-After`.
"""
TAGS = [
    {"name": "checks", "description": "Asked at every transaction."},
    {"name": "persons", "description": "Registrations as the population system keeps them."},
    {"name": "cases", "description": "The officers' queue and decisions."},
    {"name": "notices", "description": "What the population system must do."},
    {"name": "statistics", "description": "The monthly table."},
    {"name": "operation", "description": "Liveness, readiness, figures and explanations."},
]
EVERYWHERE: tuple[type[ServiceError], ...] = (
    UnauthenticatedError,
    InvalidRequestError,
    BodyTooLargeError,
    DatabaseUnavailableError,
    ServiceError,
)
"""Problems that any call under /v1 may answer."""

WITH_BODY: tuple[type[ServiceError], ...] = (MalformedRequestError, RequestTimeoutError)
"""Further ones of calls with a body: it is no text in UTF-8, or does not come."""

router = APIRouter(tags=["operation"])


class Problem(BaseModel):
    """Problem details, RFC 9457; further members by code."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`/problems/<code>`.", examples=["/problems/not-found"])
    title: str = Field(description="The code in words, in the caller's language.")
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="What to do, free of personal data.")
    instance: str = Field(description="`urn:uuid:` and the request's id.")


class Explanation(BaseModel):
    """One code in one language."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(description="The code in words.")
    meaning: str = Field(description="When it is answered, and what has or has not happened then.")
    remedy: str = Field(description="What to do.")


class ProblemExplained(BaseModel):
    """One code in every language."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(description="The last part of a problem's `type`.", examples=["not-found"])
    status: int = Field(description="The HTTP status that it comes with.", examples=[404])
    languages: dict[str, Explanation] = Field(description="By language tag: `zh-CN` and `en`.")


@router.get("/problems/{code}", summary="Explain a problem's code", responses=responses_for(NotFoundError))
def explain_problem(code: str) -> ProblemExplained:
    """Tell what a problem's code means and what to do, in both languages."""
    found = problem_classes().get(code)
    if found is None:
        raise NotFoundError("There is no problem with this code.")
    return ProblemExplained(
        code=found.code,
        status=found.status,
        languages={language: _explanation(language, found.code) for language in LANGUAGES},
    )


@router.get("/docs", include_in_schema=False)
def docs() -> Response:
    """Serve the page that shows the API."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": PAGE_POLICY})


def install_documentation(app: FastAPI) -> None:
    """Serve the page's files, and describe the problems and the key in the OpenAPI document."""
    app.mount("/docs/ui", StaticFiles(directory=UI_FILES), name="docs-ui")
    app.mount("/static", StaticFiles(directory=OUR_FILES), name="static")
    app.include_router(router)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    @functools.cache
    def written() -> bytes:
        return json.dumps(openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    def answer(_: Request) -> Response:
        return Response(written(), media_type="application/json")

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it.
    # FastAPI's own address writes the document anew for whoever asks, on the event loop.
    app.add_route("/openapi.json", answer, include_in_schema=False)


def _explanation(language: str, code: str) -> Explanation:
    return Explanation(
        **{part: translate(language, f"problem.{code}.{part}") for part in Explanation.model_fields}
    )


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _describe_fields(schemas)
    components["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A client's or an officer's key, `op_…`, as 'oneperson client add' printed it.",
        }
    }
    common = responses_for(*EVERYWHERE)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            further = responses_for(*WITH_BODY) if "requestBody" in operation else {}
            _complete(operation, common | further if path.startswith("/v1/") else {})
    return document


def _describe_fields(schemas: dict[str, Any]) -> None:
    """Describe fields that mean the same everywhere and so have no words of their own."""
    words = tomllib.loads(FIELD_WORDS.read_text(encoding="utf-8"))
    for schema in schemas.values():
        for name, described in schema.get("properties", {}).items():
            if name in words:
                described.setdefault("description", words[name])


def _complete(operation: dict[str, Any], common: dict[int | str, dict[str, Any]]) -> None:
    """Say which problems and which key belong to an operation."""
    responses = operation["responses"]
    invalid = responses.get("422", {})
    if MEDIA_TYPE not in invalid.get("content", {}):
        responses.pop("422", None)
        responses |= {str(status): found for status, found in responses_for(InvalidRequestError).items()}
    for status, response in common.items():
        responses.setdefault(str(status), response)
    if common:
        operation.setdefault("security", [{"key": []}])
