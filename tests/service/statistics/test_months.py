"""Closed months stay as they are, are restated as new versions, and reach their readers as files."""

import csv
import io
from datetime import timedelta

import openpyxl
import pytest
from fastapi.testclient import TestClient

from service.auth.service import SYSTEM, Actor, Role, actor_of, add_officer
from service.database import Database
from service.errors import ForbiddenError, MonthStateError, NotFoundError
from service.months import Month
from service.register.flags import FlagBook
from service.register.reconciling import reconcile
from service.statistics import service
from service.statistics.figures import FIGURES
from service.tables import AuditEvent, Person, PersonFlagEvent, now
from tests.service.calls import Headers, portrait, put_person
from tests.service.conftest import SQLITE_ONLY, OfficerKeys
from tests.service.statistics.histories import standing

LAST = Month.of(now()).later(-1)


def flag(database: Database, person_id: str, region: str, month: Month = LAST) -> None:
    """Flag somebody in the middle of a month, as late data would."""
    with database.write() as session:
        event = PersonFlagEvent(
            person_id=person_id,
            kind="flagged",
            region=region,
            month=str(month),
            at=month.start + timedelta(days=9),
        )
        session.add(event)


def end(database: Database, **wanted: int) -> int:
    with database.read() as session:
        return service.read_month(session, LAST, actor=SYSTEM, **wanted).rows[0].month["flagged_end"]


def test_a_closed_month_never_changes_and_corrections_are_versions_of_their_own(database: Database) -> None:
    flag(database, "P-1", "530102")
    closed = service.close_month(database, LAST, actor=SYSTEM)
    assert closed.version is not None
    flag(database, "P-2", "530302")
    assert (end(database), end(database, version=0)) == (1, 2)
    with pytest.raises(MonthStateError):
        service.close_month(database, LAST, actor=SYSTEM)
    restated = service.close_month(database, LAST, actor=SYSTEM, reason="P-2 came late")
    assert [version.reason for version in restated.versions] == [None, "P-2 came late"]
    assert (end(database, version=1), end(database, version=2), end(database)) == (1, 2, 2)
    with database.read() as session:
        kinds = [event.kind for event in session.query(AuditEvent).order_by(AuditEvent.id)]
        assert [kind for kind in kinds if kind.startswith("month-")] == ["month-frozen", "month-restated"]
        assert [str(month) for month, _row in service.series(session, actor=SYSTEM, months=24)] == [str(LAST)]
        with pytest.raises(NotFoundError):
            service.read_month(session, LAST, actor=SYSTEM, version=3)


def test_months_are_closed_by_themselves_on_their_day_and_not_before_they_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(database, "P-1", "530102")
    at = LAST.end + timedelta(days=4, seconds=-1)
    monkeypatch.setattr(service, "_now", lambda: at)
    with database.read() as session:
        assert service.due_month(session, close_day=5) is None
        monkeypatch.setattr(service, "_now", lambda: at + timedelta(seconds=1))
        assert service.due_month(session, close_day=5) == LAST
        assert service.due_month(session, close_day=0) is None
    with pytest.raises(MonthStateError):
        service.close_month(database, LAST.later(1), actor=SYSTEM)


def test_only_those_who_answer_for_the_whole_may_close(database: Database) -> None:
    def person(login: str, role: Role, division: str) -> Actor:
        with database.write() as session:
            account, _key = add_officer(session, login, name=login, role=role, division_code=division)
            return actor_of(account)

    service.may_close(person("a", Role.SUPERVISOR, "530000"))
    for login, role, division in (("b", Role.SUPERVISOR, "530100"), ("c", Role.OFFICER, "530000")):
        with pytest.raises(ForbiddenError):
            service.may_close(person(login, role, division))


def test_other_settings_move_persons_into_and_out_of_the_register(database: Database) -> None:
    with database.write() as session:
        session.add(Person(person_id="P-1", level_code="31", division_code="530102"))
        book = FlagBook()
        book.note("P-gone", None, standing("530302"))
        book.record(session)
    assert reconcile(database, {"31"}) == 2
    assert reconcile(database, {"31"}) == 0
    assert reconcile(database, {"30"}) == 1
    with database.read() as session:
        kinds = [(e.person_id, e.kind) for e in session.query(PersonFlagEvent).order_by(PersonFlagEvent.id)]
    assert kinds[-3:] == [("P-1", "flagged"), ("P-gone", "cancelled"), ("P-1", "other")]


def test_the_api_answers_json_csv_and_xlsx(
    client: TestClient, headers: Headers, database: Database, officer_key: OfficerKeys
) -> None:
    for person_id, division in (("P-1", "530102"), ("P-2", "530302001")):
        assert put_person(client, headers, person_id, portrait(1), division_code=division).is_success
    assert put_person(client, headers, "P-1", level_code="10", division_code="530102").is_success
    address, month = "/v1/statistics/monthly", str(Month.of(now()))
    table = client.get(address, params={"month": month}, headers=headers).json()
    total = table["rows"][0]
    assert (table["version"], table["balanced"], total["level"]) == (None, True, "total")
    assert [total["month"][n] for n in ("newly_flagged", "established", "flagged_end")] == [2, 1, 1]
    assert set(total["month"]) == set(FIGURES)
    assert [row["division_code"] for row in table["rows"]] == [None, "530100", "530102", "530300", "530302"]

    query = {"month": month, "format": "csv", "encoding": "gb18030"}
    chinese = client.get(address, params=query, headers=headers | {"accept-language": "zh-CN"})
    rows = list(csv.reader(io.StringIO(chinese.content.decode("gb18030"))))
    assert (rows[0][0], rows[1][0], rows[2][0], rows[3][0]) == ("地区", "合计", "昆明市", "530102")
    with_mark = client.get(address, params={"month": month, "format": "csv", "bom": True}, headers=headers)
    assert with_mark.content.startswith(b"\xef\xbb\xbfRegion,")

    book = client.get(address, params={"month": month, "format": "xlsx"}, headers=headers)
    sheet = openpyxl.load_workbook(io.BytesIO(book.content)).active
    assert sheet is not None
    assert sheet.freeze_panes == "C6"
    assert sheet.print_title_rows == "$4:$5"
    assert sheet.page_setup.orientation == "landscape"
    names = [cell.value for cell in sheet["A"]]
    assert names[5:] == ["Total", "Kunming", "530102", "Qujing", "530302"]
    assert sheet["C6"].number_format == "#,##0"

    officer = {"Authorization": f"Bearer {officer_key(division_code='530300')}"}
    own = client.get(address, params={"month": month}, headers=officer).json()
    assert [row["division_code"] for row in own["rows"]] == ["530300", "530302"]
    assert client.get(address, params={"month": "2026-13"}, headers=headers).status_code == 422
    assert client.get(address, params={"month": "2026-01", "version": 7}, headers=headers).status_code == 404


@SQLITE_ONLY
def test_other_scopes_do_not_suffice(client: TestClient, database: Database, client_key: OfficerKeys) -> None:
    key = {"Authorization": f"Bearer {client_key('persons', 'checks', 'notices')}"}
    assert client.get("/v1/statistics/monthly", params={"month": str(LAST)}, headers=key).status_code == 403
