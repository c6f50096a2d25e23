"""The page of the monthly table: figures, balance, charts, closing and restating, files."""

from collections.abc import Callable
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.responses import Response

from service.auth.sessions import SignedIn
from service.dependencies import StoredIn
from service.errors import ForbiddenError, InvalidRequestError, MonthStateError, ServiceError
from service.months import Month
from service.statistics import service
from service.statistics.api import record_reading, table_answer
from service.statistics.figures import FIGURES, STOCKS, FigureRow, Level
from service.statistics.files import version_text
from service.statistics.labels import Labels
from service.statistics.schemas import MonthlyQuery
from service.web.access import ProtectedForm, Visitor
from service.web.charts import Chart, bar_chart
from service.web.rendering import render, words_of

MONTHS_CHARTED = 24

CHARTS: dict[str, Callable[[FigureRow], float | None]] = {
    "checks": lambda row: row.month["checks"],
    "candidates": lambda row: row.month["with_candidates"],
    "confirmed": lambda row: row.month["duplicates_confirmed"],
    "established": lambda row: row.month["established"],
    "waiting": lambda row: row.waiting_h,
}
"""What is charted, by its key below `chart` in the catalogues."""

router = APIRouter(prefix="/statistics", include_in_schema=False)


@router.get("")
def statistics_page(request: Request, visitor: Visitor, stored_in: StoredIn) -> Response:
    """Show a month's table and the charts of the closed months."""
    return _page(request, visitor, stored_in)


@router.get("/file")
def statistics_file(request: Request, visitor: Visitor, stored_in: StoredIn) -> Response:
    """Send a month's table as a file, on record."""
    try:
        query = MonthlyQuery.model_validate(dict(request.query_params))
    except ValidationError:
        raise InvalidRequestError("The address of the file cannot be read.") from None
    with stored_in.read() as session:
        table = service.read_month(
            session, Month.parse(query.month), actor=visitor.actor, version=query.version
        )
    with stored_in.write() as session:
        record_reading(session, table, actor=visitor.actor, form=query.format)
    words = words_of(request)
    return table_answer(table, query, Labels(words.language, words.codes))


@router.post("/close")
def close(request: Request, visitor: Visitor, form: ProtectedForm, stored_in: StoredIn) -> Response:
    """Close a month, or with a reason restate it."""
    month = _month(form.get("month", ""))
    reason = form.get("reason")
    try:
        service.close_month(stored_in, month, actor=visitor.actor, reason=reason)
    except (MonthStateError, InvalidRequestError) as error:
        return _page(request, visitor, stored_in, month=month, error=error, typed=reason or "")
    done = "restated" if reason is not None else "closed"
    return RedirectResponse(f"/statistics?{urlencode({'month': str(month), 'done': done})}", status_code=303)


def _page(
    request: Request,
    visitor: SignedIn,
    stored_in: StoredIn,
    *,
    month: Month | None = None,
    error: ServiceError | None = None,
    typed: str = "",
) -> Response:
    words = words_of(request)
    labels = Labels(words.language, words.codes)
    with stored_in.read() as session:
        months = service.known_months(session)
        asked = request.query_params.get("month", "")
        chosen = month or (_month(asked) if asked else _usual(months))
        table = service.read_month(session, chosen, actor=visitor.actor, version=_version(request))
        past = service.series(session, actor=visitor.actor, months=MONTHS_CHARTED)
    with stored_in.write() as session:
        record_reading(session, table, actor=visitor.actor, form="page")
    return render(
        request,
        "statistics.html",
        status=error.status if error is not None else 200,
        visitor=visitor,
        address=f"/statistics?month={chosen}",
        table=table,
        months=months,
        rows=[(row, labels.region(row)) for row in table.rows],
        figures=FIGURES,
        stocks=STOCKS,
        levels=Level,
        version_text=version_text(table, labels),
        charts=_charts(past),
        may_close=_may_close(visitor),
        is_over=chosen < service.this_month(),
        done=request.query_params.get("done", ""),
        error=error,
        typed=typed,
    )


def _usual(months: list[tuple[Month, int]]) -> Month:
    """Return the latest closed month, which is read most; before there is one the present month."""
    return next((month for month, versions in months if versions), months[0][0])


def _charts(past: list[tuple[Month, FigureRow]]) -> list[Chart]:
    if not past:
        return []
    return [
        bar_chart(key, at % 4 + 1, [(str(month), value(row)) for month, row in past])
        for at, (key, value) in enumerate(CHARTS.items())
    ]


def _may_close(visitor: SignedIn) -> bool:
    try:
        service.may_close(visitor.actor)
    except ForbiddenError:
        return False
    return True


def _version(request: Request) -> int | None:
    given = request.query_params.get("version", "")
    if not given:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) < 9):
        raise InvalidRequestError("A version is a number, 0 for a fresh count.")
    return int(given)


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError:
        raise InvalidRequestError("Write the month as YYYY-MM.") from None
