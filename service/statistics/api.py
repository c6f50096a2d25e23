"""`/v1/statistics`: the monthly table."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.dependencies import Caller, StoredIn
from service.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnauthenticatedError,
)
from service.months import Month
from service.problems import caller_language, responses_for
from service.statistics import files
from service.statistics.labels import Labels
from service.statistics.schemas import MonthlyAnswer, MonthlyQuery
from service.statistics.service import MonthlyTable, read_month

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

router = APIRouter(prefix="/v1/statistics", tags=["statistics"])


@router.get(
    "/monthly",
    summary="Read the monthly table",
    response_model=MonthlyAnswer,
    responses=responses_for(
        UnauthenticatedError, ForbiddenError, InvalidRequestError, NotFoundError, DatabaseUnavailableError
    )
    | {200: {"content": {"text/csv": {}, XLSX: {}}, "description": "The table in the form asked for."}},
)
def get_monthly(
    actor: Caller, stored_in: StoredIn, request: Request, query: Annotated[MonthlyQuery, Query()]
) -> Response:
    """Read one month's table: as it was closed, or, while it is not closed, as it is counted now.

    Clients need the scope `statistics` and get every region; officers get their own division.
    """
    with stored_in.read() as session:
        table = read_month(session, Month.parse(query.month), actor=actor, version=query.version)
    language = caller_language(request)
    with stored_in.write() as session:
        record_reading(session, table, actor=actor, form=query.format)
    answer = table_answer(table, query, Labels(language, request.app.state.codes))
    answer.headers["Content-Language"] = language
    answer.headers["Vary"] = "Accept-Language"
    return answer


def record_reading(session: Session, table: MonthlyTable, *, actor: Actor, form: str) -> None:
    """Put on record that somebody read or took a table."""
    kind = AuditKind.STATISTICS_VIEWED if form in ("json", "page") else AuditKind.STATISTICS_EXPORTED
    version = table.version.number if table.version is not None else None
    record(session, kind, actor=actor, subject=f"month:{table.month}", form=form, version=version)


def table_answer(table: MonthlyTable, query: MonthlyQuery, labels: Labels) -> Response:
    """Return a table in the form asked for; figures of persons are kept by nobody on the way."""
    name = f"oneperson-{table.month}"
    if query.format == "json":
        shown = MonthlyAnswer.of(table, labels.codes, labels.language)
        return Response(shown.model_dump_json(), media_type="application/json", headers=_headers(None))
    if query.format == "csv":
        data = files.as_csv(table, labels, encoding=query.encoding, bom=query.bom)
        kind = f"text/csv; charset={query.encoding}; header=present"
        return Response(data, media_type=kind, headers=_headers(f"{name}.csv"))
    return Response(files.as_xlsx(table, labels), media_type=XLSX, headers=_headers(f"{name}.xlsx"))


def _headers(file_name: str | None) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if file_name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return headers
