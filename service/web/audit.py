"""The auditors' pages: the log with its filters, one event, and exports. No portrait is ever shown here."""

import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.responses import Response

from service.audit.anchors import anchor_file
from service.audit.export_files import manifest_path
from service.audit.exports import export_period
from service.audit.keys import load_keys
from service.audit.listing import ChainState, EventFilter, chain_state, event_view, list_events
from service.audit.service import AuditKind, record
from service.errors import InvalidRequestError
from service.language import catalogue
from service.settings import Settings
from service.tables import AuditEvent
from service.web.access import ProtectedForm, Visitor
from service.web.rendering import render, words_of
from service.web.words import BEIJING, Words

router = APIRouter(prefix="/audit", include_in_schema=False)

FILTERS = ("since", "until", "actor", "kind", "subject", "result", "person")
FORMATS = ("jsonl", "csv")
LONGEST_FILTER = 160
"""Characters of the longest object that an event can name."""


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event as the list shows it; every text is in the page's language."""

    number: int
    at: str
    kind: str
    actor: str
    actor_detail: str
    subject: str
    purpose: str
    result: str
    failed: bool


@router.get("")
def audit_page(request: Request, visitor: Visitor) -> Response:
    """Show the log, on record."""
    chosen = {name: request.query_params.get(name, "").strip()[:LONGEST_FILTER] for name in FILTERS}
    given = {name: value for name, value in chosen.items() if value}
    wanted = _filter(given, request.query_params.get("before"))
    with request.app.state.database.write() as session:
        about = f"person:{wanted.person}" if wanted.person else None
        record(session, AuditKind.AUDIT_LISTED, actor=visitor.actor, subject=about, filters=sorted(given))
        page = list_events(session, wanted)
        state = chain_state(session)
    words = words_of(request)
    following = urlencode({**given, "before": page.following}) if page.following is not None else None
    return render(
        request,
        "audit.html",
        visitor=visitor,
        chosen=chosen,
        filtered=bool(given),
        kinds=sorted(AuditKind, key=lambda kind: words.named("audit_kind", kind)),
        lines=[_line(event, words) for event in page.events],
        following=f"/audit?{following}" if following else None,
        later_page=wanted.before is not None,
        first=f"/audit?{urlencode(given)}" if given else "/audit",
        state=_state(state, request.app.state.settings, words),
        today=datetime.now(BEIJING).date().isoformat(),
    )


@router.get("/events/{number:int}")
def event_page(number: int, request: Request, visitor: Visitor) -> Response:
    """Show one event with its place in the chain, on record."""
    keys = load_keys(request.app.state.settings)
    with request.app.state.database.write() as session:
        shown = event_view(session, number, keys)
        record(session, AuditKind.AUDIT_VIEWED, actor=visitor.actor, subject=f"event:{number}")
    words = words_of(request)
    return render(
        request,
        "audit_event.html",
        visitor=visitor,
        shown=shown,
        line=_line(shown.event, words),
        division=words.division(shown.event.division_code),
        details=[(name, _told(value)) for name, value in shown.event.details.items()],
    )


@router.post("/export")
def export(request: Request, visitor: Visitor, form: ProtectedForm) -> Response:
    """Send the records of a period with their signed manifest in one archive, on record."""
    since, until = _day(form.get("since", "")), _day(form.get("until", ""))
    ending = form.get("format", "")
    if since is None or until is None or ending not in FORMATS or until < since:
        raise InvalidRequestError("Choose the first and the last day of the export, and its format.")
    settings: Settings = request.app.state.settings
    name = f"audit-{since:%Y%m%d}-{until:%Y%m%d}"
    folder = tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".audit-export-")
    try:
        path = Path(folder.name) / f"{name}.{ending}"
        export_period(
            request.app.state.database,
            load_keys(settings),
            path,
            since=since,
            until=until + timedelta(days=1),
            actor=visitor.actor,
        )
        packed = Path(folder.name) / f"{name}.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in (path, manifest_path(path)):
                archive.write(part, part.name)
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(
        packed, filename=packed.name, media_type="application/zip", background=BackgroundTask(folder.cleanup)
    )


def _filter(given: Mapping[str, str], before: str | None) -> EventFilter:
    """Read the filters.

    Raises:
        InvalidRequestError: An address was put together by hand, and wrongly.
    """
    since, until = _day(given.get("since", "")), _day(given.get("until", ""))
    wrong_day = (since is None and "since" in given) or (until is None and "until" in given)
    kind = given.get("kind")
    wrong_number = bool(before) and not (before or "").isdecimal()
    if wrong_day or wrong_number or (kind is not None and kind not in set(AuditKind)):
        raise InvalidRequestError("The filters of the audit log cannot be read.")
    return EventFilter(
        since=since,
        until=until + timedelta(days=1) if until is not None else None,
        actor=given.get("actor"),
        kind=AuditKind(kind) if kind is not None else None,
        subject=given.get("subject"),
        result=given.get("result"),
        person=given.get("person"),
        before=min(int(before), 2**62) if before else None,
    )


def _day(text: str) -> datetime | None:
    """Return the first moment of a day of Beijing time; None for anything else."""
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(), BEIJING) if 1 < day.year < 9999 else None
    except ValueError:
        return None


def _line(event: AuditEvent, words: Words) -> EventLine:
    details = [words.named("role", event.role)] if event.role else []
    details += [words.division(event.division_code)] if event.division_code else []
    return EventLine(
        number=event.id,
        at=event.at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
        kind=words.named("audit_kind", event.kind),
        actor=words.t("audit.system") if event.actor_kind == "system" else event.actor,
        actor_detail=" · ".join(details) or words.named("actor_kind", event.actor_kind),
        subject=event.subject or "",
        purpose=event.purpose or "",
        result=_result(event.result, words),
        failed=event.result in ("refused", "throttled", "failed", "damaged", "lost"),
    )


def _result(code: str, words: Words) -> str:
    """Return the word for a result: of the log's own, of a delivery, or of a problem."""
    known = catalogue(words.language)
    keys = (f"audit_result.{code}", f"delivery_outcome.{code}", f"problem.{code}.title")
    return next((known[key] for key in keys if key in known), code)


def _told(value: object) -> str:
    """Return a detail as text."""
    if isinstance(value, dict):
        return " · ".join(f"{name} = {_told(each)}" for name, each in value.items()) or "—"
    if isinstance(value, list):
        return " · ".join(map(_told, value)) or "—"
    return "—" if value is None else str(value)


def _state(state: ChainState, settings: Settings, words: Words) -> dict[str, str]:
    anchor = anchor_file(settings, load_keys(settings)).last()
    verified = state.verified
    anchored = datetime.fromisoformat(f"{anchor.at}+00:00") if anchor is not None else None
    return {
        "events": words.count(state.events),
        "key": state.key_tag,
        "anchored": words.t("audit.anchored_at", n=words.count(anchor.sequence), at=words.moment(anchored))
        if anchor is not None and anchored is not None
        else words.t("audit.never"),
        "verified": words.moment(verified.at) if verified is not None else words.t("audit.never"),
        "verified_result": words.named("audit_result", verified.result) if verified is not None else "",
        "damaged": "1" if verified is not None and verified.result == "damaged" else "",
    }
