"""The only builder of error responses: RFC 9457 problem details, in the caller's language."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from index.errors import NotReadyError, PortraitError
from service import errors as known_errors
from service.errors import (
    BodyTooLargeError,
    GalleryNotReadyError,
    InadmissiblePortraitError,
    InvalidRequestError,
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    RequestTimeoutError,
    ServiceError,
    TooManyRequestsError,
    UnauthenticatedError,
)
from service.language import choose_language, translate
from service.metrics import Metrics
from service.request_faults import field_faults, unstorable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
"""What 503 answers ask callers to wait: galleries catch up and queues drain within seconds."""

BY_STATUS: dict[int, type[ServiceError]] = {
    404: NotFoundError,
    405: MethodNotAllowedError,
    408: RequestTimeoutError,
    413: BodyTooLargeError,
    503: OverloadedError,
}

log = structlog.get_logger(__name__)


def problem_classes() -> dict[str, type[ServiceError]]:
    """Return every class of problem by its code."""
    known: list[type[ServiceError]] = [ServiceError, *_subclasses(ServiceError)]
    return {cls.code: cls for cls in known}


def caller_language(request: Request) -> str:
    """Return the language that the caller asks for, or the one in the settings."""
    return choose_language(request.headers.get("accept-language"), request.app.state.settings.language)


def as_problem(
    request: Request, error: ServiceError, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Render an error as problem details.

    Args:
        request: The request that failed.
        error: Why.
        headers: Further headers of the answer.
    """
    language = caller_language(request)
    metrics: Metrics = request.app.state.metrics
    metrics.refused(error.code)
    members = {
        "type": f"/problems/{error.code}",
        "title": translate(language, f"problem.{error.code}.title"),
        "status": error.status,
        "detail": error.detail_in(language),
        "instance": f"urn:uuid:{request.scope.get('state', {}).get('request_id', '')}",
    }
    return JSONResponse(
        error.extensions_in(language) | members,
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=_headers(error, language) | dict(headers or {}),
    )


def unexpected_problem(request: Request) -> JSONResponse:
    """Render a fault of ours; the answer says nothing about it but the request's id."""
    return as_problem(request, ServiceError("The request failed; the service's log has the details."))


def responses_for(*classes: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that an endpoint may answer, for `responses=`.

    Args:
        classes: Error classes; several may share a status. Whoever must say who they are is also counted
            and may be told to wait, so that is described with it.
    """
    by_status: dict[int | str, dict[str, Any]] = {}
    counted: set[type[ServiceError]] = set()
    if UnauthenticatedError in classes:
        counted = {TooManyRequestsError, OverloadedError}
    for cls in sorted({*classes, *counted}, key=lambda cls: cls.code):
        response = by_status.setdefault(
            cls.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        title = translate("en", f"problem.{cls.code}.title")
        response["description"] += f"{'; ' if response['description'] else ''}`{cls.code}`: {title}"
        response["content"][MEDIA_TYPE]["examples"][cls.code] = {"summary": title, "value": _example(cls)}
    return by_status


def install_handlers(app: FastAPI) -> None:
    """Answer every foreseeable error of an application with problem details."""
    for kind, handler in (
        (ServiceError, _on_service_error),
        (RequestValidationError, _on_invalid_request),
        (HTTPException, _on_http_exception),
        (PortraitError, _on_portrait_error),
        (NotReadyError, _on_not_ready),
        (DataError, _on_unstorable),
    ):
        app.add_exception_handler(kind, handler)


async def _on_service_error(request: Request, error: Exception) -> JSONResponse:
    known = cast(ServiceError, error)
    request.state.refusal = known  # The gate puts refused access on record.
    if known.status >= 500:
        log.warning("problem", code=known.code, detail=known.detail)
    return as_problem(request, known)


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    faults = field_faults(cast(RequestValidationError, error).errors(), caller_language(request))
    return as_problem(request, InvalidRequestError("See 'errors' for each field.", errors=faults))


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    raised = cast(HTTPException, error)
    if raised.status_code >= 500 and raised.status_code not in BY_STATUS:
        return unexpected_problem(request)
    problem = BY_STATUS.get(raised.status_code, MalformedRequestError)
    headers = dict(raised.headers or {})
    if problem is MethodNotAllowedError:
        headers["Allow"] = _allowed_methods(request) or headers.get("Allow", "")
    return as_problem(request, problem(_detail(request, problem)), headers=headers)


async def _on_portrait_error(request: Request, error: Exception) -> JSONResponse:
    refused = cast(PortraitError, error)
    return as_problem(request, InadmissiblePortraitError(refused.detail, reasons=[refused.reason]))


async def _on_not_ready(request: Request, error: Exception) -> JSONResponse:
    log.warning("problem", code=GalleryNotReadyError.code, detail=str(error))
    return as_problem(request, GalleryNotReadyError("The gallery is not loaded; nothing was searched."))


async def _on_unstorable(request: Request, _error: Exception) -> JSONResponse:
    faults = unstorable(caller_language(request))
    return as_problem(request, InvalidRequestError("See 'errors' for each field.", errors=faults))


def _allowed_methods(request: Request) -> str:
    """List an address's methods; the router names only those of the first route that it tried."""
    path = getattr(request.scope.get("route"), "path", None)
    return ", ".join(sorted(method.upper() for method in request.app.openapi()["paths"].get(path, {})))


def _detail(request: Request, problem: type[ServiceError]) -> str:
    if problem is BodyTooLargeError:
        return f"The body is over {request.app.state.settings.max_body_bytes} bytes."
    return translate("en", f"problem.{problem.code}.remedy")


def _headers(error: ServiceError, language: str) -> dict[str, str]:
    headers = {"Content-Language": language, "Cache-Control": "no-store"}
    if error.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, TooManyRequestsError | OverloadedError):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = 'Bearer realm="oneperson"'
    return headers


def _example(cls: type[ServiceError]) -> dict[str, Any]:
    return {
        "type": f"/problems/{cls.code}",
        "title": translate("en", f"problem.{cls.code}.title"),
        "status": cls.status,
        "detail": translate("en", f"problem.{cls.code}.remedy"),
        "instance": "urn:uuid:6f8b2c1e-3a54-4d0b-9a53-7f0c1f3f8f0e",
    }


def _subclasses(cls: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for child in cls.__subclasses__():
        if child.__module__ == known_errors.__name__:
            yield child
        yield from _subclasses(child)
