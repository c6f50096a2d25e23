"""The auditors' pages: filters, who looked at a person, one event, exports; and that nobody else gets in."""

import io
import zipfile

from sqlalchemy import text

from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk
from tests.service.web.pages import BROWSER, checked_page, submit, use_language


def test_an_auditor_finds_who_looked_at_a_person(desk: Desk) -> None:
    case_id = desk.case()
    officer = desk.browser("li")
    desk.read(officer, f"/cases/{case_id}")
    assert officer.get(f"/cases/{case_id}/portraits/probe").status_code == 200
    auditor = desk.browser("shen", role="auditor")
    page = desk.read(auditor, "/audit?person=S-1")
    for told in ("Who looked at S-1", "Portrait comparison made", "Case viewed", "Portrait viewed", "li"):
        assert told in page.text
    assert page.text.count("Signed in") == 1  # Only among the kinds to choose from.
    assert not [element for element in page.elements if "portrait" in element.attributes.get("src", "")]
    assert desk.read(auditor, "/audit?person=nobody").text.count("Case viewed") == 1
    assert [event.subject for event in desk.events("audit-listed")] == ["person:S-1", "person:nobody"]


@SQLITE_ONLY
def test_filters_and_pages_lead_through_the_log(desk: Desk) -> None:
    case_id = desk.case()
    officer = desk.browser("li")
    for _ in range(60):
        officer.get(f"/cases/{case_id}", headers=BROWSER)
    auditor = desk.browser("shen", role="auditor")
    first = desk.read(auditor, f"/audit?kind=case-viewed&actor=li&subject=case:{case_id}")
    older = next(e.attributes["href"] for e in first.elements if e.attributes.get("rel") == "next")
    assert sum(e.tag == "tr" for e in first.elements) == 51
    second = desk.read(auditor, older)
    assert sum(e.tag == "tr" for e in second.elements) == 11
    assert "Nothing is on record" in desk.read(auditor, "/audit?until=2020-01-01").text
    for wrong in ("kind=no-kind", "since=yesterday", "before=x"):
        assert auditor.get(f"/audit?{wrong}", headers=BROWSER).status_code == 422
    use_language(auditor, "zh-CN")
    checked_page(auditor.get("/audit", headers=BROWSER), "zh-CN")


@SQLITE_ONLY
def test_an_event_tells_whether_it_was_changed(desk: Desk) -> None:
    desk.case()
    auditor = desk.browser("shen", role="auditor")
    assert "as it was written" in desk.read(auditor, "/audit/events/3").text
    with desk.database.engine.begin() as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'other' WHERE id = 3"))
    assert "changed after it was written" in desk.read(auditor, "/audit/events/3").text
    desk.read(auditor, "/audit/events/999999", 404)


@SQLITE_ONLY
def test_an_export_holds_records_and_manifest_and_is_on_record(desk: Desk) -> None:
    desk.case()
    auditor = desk.browser("shen", role="auditor")
    answer = submit(auditor, desk.read(auditor, "/audit"), "/export", format="jsonl")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = sorted(archive.namelist())
    assert [name.partition(".")[2] for name in names] == ["jsonl", "jsonl.manifest.json"]
    assert desk.events("audit-exported")[0].actor == "shen"
    assert not list(desk.app.state.settings.data_dir.glob(".audit-export-*"))


@SQLITE_ONLY
def test_an_auditor_comes_to_the_log_and_an_officer_does_not(desk: Desk) -> None:
    auditor = desk.browser("shen", role="auditor")
    assert auditor.get("/", headers=BROWSER).url.path == "/audit"
    assert desk.browser("li").get("/audit", headers=BROWSER).status_code == 403
