"""Drafts, files and appeals on the page of a case: kept, shown to their officer only, in both languages."""

from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.tables import Case
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk
from tests.service.web.opinions import DIFFERENT, SAME, Typed
from tests.service.web.pages import BROWSER, Page, checked_page, submit, use_language

pytestmark = SQLITE_ONLY

PDF = b"%PDF-1.7\n% birth record\n"
FILE = {"evidence-upload-1-1": ("出生证明.pdf", PDF, "application/pdf")}


def press(
    browser: TestClient,
    page: Page,
    action: str,
    typed: Typed,
    files: dict[str, tuple[str, bytes, str]] | None = None,
    accept: str = BROWSER["accept"],
) -> Response:
    """Press a button of the opinion's form, with files."""
    form = next(one for one in page.forms if one.action.endswith(("/decision", "/confirmation")))
    address = form.action.rsplit("/", 1)[0] + action
    fields = form.fields | {name.replace("_", "-"): value for name, value in typed.items()}
    return browser.post(address, data=fields, files=files or {}, headers={"accept": accept})


def stored(desk: Desk, case_id: UUID) -> Case:
    with desk.database.read() as session:
        return session.get_one(Case, case_id)


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_a_draft_with_its_file_comes_back_after_signing_out(desk: Desk, language: str) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), language)
    saved = checked_page(press(browser, page, "/draft", SAME, FILE), language)
    assert {"zh-CN": "草稿已保存", "en": "The draft is saved"}[language] in saved.text
    again = checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), language)
    kept = again.form("/decision").fields
    assert (kept["reason-1"], kept["registration-2"]) == (SAME["reason_1"], "C-1")
    assert len(kept["evidence-file-1-1"]) == 36
    assert "出生证明.pdf" in again.text
    submit(browser, again, "/draft/discard")
    empty = checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), language)
    assert empty.form("/decision").fields["reason-1"] == ""


def test_nobody_else_sees_a_draft_or_its_file(desk: Desk) -> None:
    case_id, zhang, chen = desk.case(), desk.browser("zhang"), desk.browser("chen", role="supervisor")
    press(zhang, desk.read(zhang, f"/cases/{case_id}"), "/draft", SAME, FILE)
    page = desk.read(zhang, f"/cases/{case_id}")
    link = next(one.attributes["href"] for one in page.all("a") if "/attachments/" in one.attributes["href"])
    other = desk.read(chen, f"/cases/{case_id}")
    assert SAME["reason_1"] not in other.text
    assert other.form("/decision").fields["reason-1"] == ""
    assert chen.get(link, headers=BROWSER).status_code == 404
    assert zhang.get(link).content == PDF


def test_the_first_ones_file_opens_to_the_second_after_their_own_opinion(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    answer = press(zhang, desk.read(zhang, f"/cases/{case_id}"), "/decision", SAME, FILE)
    assert answer.status_code == 200
    evidence = stored(desk, case_id).decisions[0].conclusions[0].evidence
    link = f"/cases/{case_id}/attachments/{evidence[0]['attachment']}"
    concealed = desk.read(wang, f"/cases/{case_id}")
    assert link not in str([one.attributes for one in concealed.elements])
    assert "出生证明" not in concealed.text
    assert wang.get(link, headers=BROWSER).status_code == 404
    submit(wang, concealed, "/confirmation", **SAME)
    opened = desk.read(wang, f"/cases/{case_id}")
    assert link in [one.attributes.get("href") for one in opened.all("a")]
    download = wang.get(link)
    assert download.content == PDF
    assert download.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert download.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in download.headers["content-security-policy"]
    assert [event.actor for event in desk.events("evidence-viewed")] == ["wang"]


def test_a_file_that_is_refused_loses_nothing_else(desk: Desk) -> None:
    case_id, zhang = desk.case(), desk.browser("zhang")
    page = desk.read(zhang, f"/cases/{case_id}")
    bad = {"evidence-upload-1-1": ("page.html", b"<script>", "text/html")}
    for action in ("/draft", "/decision"):
        answer = press(zhang, page, action, SAME, bad)
        assert answer.status_code == 422
        shown = checked_page(answer, "en")
        assert "is not a PDF, OFD, JPEG or PNG file" in shown.text
        assert shown.form("/decision").fields["reason-1"] == SAME["reason_1"]
    assert stored(desk, case_id).decisions == []


def test_a_script_is_answered_in_json(desk: Desk) -> None:
    case_id, zhang = desk.case(), desk.browser("zhang")
    page = desk.read(zhang, f"/cases/{case_id}")
    answer = press(zhang, page, "/draft", DIFFERENT, FILE, accept="application/json")
    assert list(answer.json()["fields"]) == ["evidence-file-1-1"]
    assert answer.json()["faults"] == {}
    forged = press(zhang, page, "/draft", {"csrf": "x"}, accept="application/json")
    assert forged.status_code == 403


def test_what_was_typed_is_kept_as_a_draft_when_a_colleague_was_faster(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    stale = desk.read(wang, f"/cases/{case_id}")
    submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/claim")
    assert press(wang, stale, "/decision", SAME, FILE).status_code == 409
    shown = desk.read(wang, f"/cases/{case_id}")
    assert SAME["reason_1"] in shown.text
    submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/release")
    back = desk.read(wang, f"/cases/{case_id}").form("/decision").fields
    assert (back["reason-1"], len(back["evidence-file-1-1"])) == (SAME["reason_1"], 36)


@pytest.mark.parametrize("gone", ["withdrawn", "claimed"])
def test_all_that_a_case_takes_no_more_is_shown_with_its_files(desk: Desk, gone: str) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    stale = desk.read(wang, f"/cases/{case_id}")
    if gone == "claimed":
        submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/claim")
    else:
        check = stored(desk, case_id).check_id
        assert desk.client.post(f"/v1/checks/{check}/withdraw", headers=desk.headers).is_success
    identity = {"identity_person": "S-1", "identity_level": "10", "identity_reason": "DNA of both parents"}
    answer = press(wang, stale, "/decision", SAME | identity, FILE)
    assert answer.status_code == 409
    for page in (checked_page(answer, "en"), desk.read(wang, f"/cases/{case_id}")):
        for told in (*SAME.values(), *identity.values(), "出生证明.pdf"):
            if told not in {"same_person", "document", "S-1"}:
                assert told in page.text, told
        link = next(
            one.attributes["href"] for one in page.all("a") if "/attachments/" in one.attributes["href"]
        )
        assert wang.get(link).content == PDF


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_an_appeal_is_recorded_dismissed_or_taken_up(desk: Desk, language: str) -> None:
    case_id, zhang, chen = desk.case(), desk.browser("zhang"), desk.browser("chen", role="supervisor")
    submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/decision", **DIFFERENT)
    use_language(zhang, language)
    use_language(chen, language)
    page = checked_page(zhang.get(f"/cases/{case_id}", headers=BROWSER), language)
    typed = {"appeal_appellant": "李芳", "appeal_grounds": "A birth record"}
    tomorrow = page.form("/appeals").fields | {name.replace("_", "-"): text for name, text in typed.items()}
    for day, status in (("2999-01-01", 422), ("soon", 422), ("2026-01-02", 200)):
        sent = tomorrow | {"appeal-appealed_on": day}
        answer = zhang.post(page.form("/appeals").action, data=sent, headers=BROWSER)
        assert answer.status_code == status, answer.text
        shown = checked_page(answer, language)
        assert "李芳" in shown.text + str(shown.form("/appeals").fields)
    pending = checked_page(chen.get(f"/cases/{case_id}", headers=BROWSER), language)
    answered = submit(chen, pending, "/dismissal", answer="It concerns somebody else.")
    assert "It concerns somebody else." in checked_page(answered, language).text


def test_what_a_faster_supervisor_left_no_place_for_is_given_back(desk: Desk) -> None:
    case_id, zhang = desk.case(), desk.browser("zhang")
    chen, li = desk.browser("chen", role="supervisor"), desk.browser("li", role="supervisor")
    submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/decision", **DIFFERENT)
    decided = desk.read(zhang, f"/cases/{case_id}")
    appeal = {
        "appeal-appellant": "李芳",
        "appeal-appealed_on": "2026-01-02",
        "appeal-grounds": "A birth record",
    }
    form = decided.form("/appeals")
    assert zhang.post(form.action, data=form.fields | appeal, headers=BROWSER).status_code == 200
    stale = desk.read(chen, f"/cases/{case_id}")
    submit(li, desk.read(li, f"/cases/{case_id}"), "/reopen", reason="New papers")
    late = {
        "appeal": zhang.post(form.action, data=form.fields | appeal, headers=BROWSER),
        "dismissal": submit(chen, stale, "/dismissal", answer="It concerns somebody else."),
        "reopening": submit(chen, stale, "/reopen", reason="My own careful reason"),
    }
    told = {
        "appeal": "A birth record",
        "dismissal": "It concerns somebody else.",
        "reopening": "My own careful reason",
    }
    for name, answer in late.items():
        assert answer.status_code == 409, name
        page = checked_page(answer, "en")
        assert told[name] in page.text, name
        assert "copy it if you still need it" in page.text, name
