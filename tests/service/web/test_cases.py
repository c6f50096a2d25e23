"""The page of a case: what it shows to whom."""

from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from service.review.opinion import CaseKind
from service.review.service import NewCandidate, NewCase, open_case
from service.tables import Case, CaseCandidate, Check
from tests.service.calls import portrait, put_person
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk
from tests.service.web.opinions import SAME
from tests.service.web.pages import BROWSER, Page, checked_page, submit, use_language

pytestmark = SQLITE_ONLY


def images(page: Page) -> list[str]:
    return [one.attributes["src"] for one in page.all("img") if "/portraits/" in one.attributes["src"]]


def alter_candidate(desk: Desk, case_id: UUID, **values: object) -> None:
    with desk.database.write() as session:
        (candidate,) = session.get_one(Case, case_id).candidates
        for name, value in values.items():
            setattr(candidate, name, value)


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_case_page_is_whole_in_both_languages(desk: Desk, language: str) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), language)
    shown = {
        "zh-CN": [
            "户口迁入",
            "疑似同一人",
            "不同",
            "相同",
            "缺少信息",
            "仅为疑似",
            "存疑人员库",
            "待比对照片",
        ],
        "en": ["Household transfer in", "Suspected to be the same person", "Different", "Same", "Not known"],
    }
    assert [text for text in shown[language] if text not in page.text] == []


def test_both_registrations_are_compared_with_numbers_masked(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    answer = browser.get(f"/cases/{case_id}", headers=BROWSER)
    assert "110105********002X" in answer.text
    assert "11010519491231002X" not in answer.text
    rows = checked_page(answer, "en").all("tr")
    kinds = {name: row for name in ("Name", "Sex", "Citizen") for row in rows if row.text.startswith(name)}
    assert kinds["Name"].attributes["class"] == "is-different"
    assert kinds["Sex"].attributes["class"] == "is-same"
    assert kinds["Citizen"].attributes["class"] == "is-unknown"


def test_equal_masked_numbers_are_not_called_the_same(desk: Desk) -> None:
    fields = {"level_code": "10", "portraits": [], "citizen_id_number": "11010519491231002X"}
    assert put_person(desk.client, desk.headers, "S-1", **fields).is_success
    page = desk.read(desk.browser("zhang"), f"/cases/{desk.case()}")
    assert "Same as far as shown" in page.text


def test_score_is_shown_against_the_threshold_in_picture_and_text(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    alter_candidate(desk, case_id, score=0.625)
    with desk.database.write() as session:
        check = session.get_one(Check, session.get_one(Case, case_id).check_id)
        check.searches[0].threshold = 0.41
    page = desk.read(browser, f"/cases/{case_id}")
    (bar,) = [one for one in page.all("svg") if one.attributes["class"] == "bar"]
    assert bar.attributes["aria-label"] == "Similarity 0.625, threshold 0.410"
    rectangles = {one.attributes["class"]: one.attributes for one in page.all("rect")}
    assert rectangles["bar-score"]["width"] == "62.5"
    assert rectangles["bar-threshold"]["x"] == "41.0"


def test_false_alarm_rate_is_a_sentence_with_its_interval(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    rates = {"false_alarm_rate": 0.0005, "false_alarm_low": 0.00021, "false_alarm_high": 0.0011}
    alter_candidate(desk, case_id, **rates, extrapolated=False)
    page = desk.read(browser, f"/cases/{case_id}")
    assert "In this gallery about 1 of 2,000 searches by someone who is not in it finds" in page.text
    assert "1 of 4,800 to 1 of 910" in page.text
    assert "Extrapolated" not in page.text
    use_language(browser, "zh-CN")
    chinese = checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), "zh-CN")
    assert "约每 2,000 次中有 1 次会出现同样相似的候选人" in chinese.text


def test_extrapolated_rate_is_marked(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    rates = {"false_alarm_rate": 1e-5, "false_alarm_low": 0.0, "false_alarm_high": 0.001}
    alter_candidate(desk, case_id, **rates, extrapolated=True)
    page = desk.read(browser, f"/cases/{case_id}")
    assert "estimated 1 of 100,000" in page.text
    assert "95 % upper limit: 1 of 1,000" in page.text
    assert "Extrapolated" in page.text


def test_quality_marks_are_said_in_words(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    with desk.database.write() as session:
        check = session.get_one(Check, session.get_one(Case, case_id).check_id)
        check.quality = {**(check.quality or {}), "marks": ["blurred", "of-another-version"]}
    page = desk.read(browser, f"/cases/{case_id}")
    marks = [one.text.split() for one in page.all("ul") if one.attributes.get("class") == "marks"]
    assert ["Blurred", "of-another-version"] in marks


def test_subject_without_a_registration_is_told(desk: Desk) -> None:
    page = desk.read(desk.browser("zhang"), f"/cases/{desk.case(person_id=None)}")
    assert "No registration was named for the subject" in page.text


def test_portraits_of_the_subject_on_file_are_offered(desk: Desk) -> None:
    assert put_person(desk.client, desk.headers, "S-1", portrait(1, shot=2), level_code="30").is_success
    page = desk.read(desk.browser("zhang"), f"/cases/{desk.case()}")
    assert "Portraits of the subject on file (1)" in page.text
    assert len(images(page)) == 3


def test_candidate_erased_meanwhile_is_told_plainly(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    assert desk.client.delete("/v1/persons/C-1", headers=desk.headers).is_success
    page = desk.read(browser, f"/cases/{case_id}")
    assert "erased after the comparison" in page.text
    assert images(page) == [f"/cases/{case_id}/portraits/probe"]
    assert page.has_form("/decision")


def test_subject_erased_meanwhile_is_told_plainly(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    assert desk.client.delete("/v1/persons/S-1", headers=desk.headers).is_success
    page = desk.read(browser, f"/cases/{case_id}")
    assert "The subject's registration (S-1) is not held here" in page.text


def test_replaced_portrait_is_told_and_the_present_one_shown(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    assert put_person(desk.client, desk.headers, "C-1", portrait(1, shot=3)).is_success
    page = desk.read(browser, f"/cases/{case_id}")
    assert "(the one compared was replaced)" in page.text
    assert len(images(page)) == 2


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_case_without_candidates_gets_the_manual_form(desk: Desk, language: str) -> None:
    case_id, browser = desk.unsearchable_case(), desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), language)
    assert "conclusion-manual-cleared" in [one.attributes.get("id") for one in page.all("input")]
    assert {"zh-CN": "本系统中没有该人员的登记", "en": "The registration is not known here"}[
        language
    ] in page.text
    assert not page.all("fieldset")[0].attributes["id"].startswith("registration")


def test_sweep_case_shows_the_subjects_portrait_as_probe(desk: Desk) -> None:
    assert put_person(desk.client, desk.headers, "S-1", portrait(1, shot=2)).is_success
    case_id = desk.case()
    with desk.database.write() as session:
        (known,) = session.get_one(Case, case_id).candidates
        candidate = NewCandidate(
            1, "C-1", known.person_key, known.reference_id, "flagged", 0.7, 1e-5, 0.0, 1e-3
        )
        sweep = NewCase("530102", CaseKind.SWEEP, subject_person_id="S-1", candidates=[candidate])
        sweep_id = open_case(session, sweep).id
    browser = desk.browser("zhang")
    page = desk.read(browser, f"/cases/{sweep_id}")
    assert "Gallery sweep" in page.all("h1")[0].text
    assert browser.get(f"/cases/{sweep_id}/portraits/probe").status_code == 200


def test_every_view_is_on_record(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    desk.read(browser, f"/cases/{case_id}")
    assert [(e.actor, e.subject) for e in desk.events("case-viewed")] == [("zhang", f"case:{case_id}")]


def test_case_of_another_division_does_not_exist(desk: Desk) -> None:
    case_id = desk.case()
    page = desk.read(desk.browser("wang", division_code="530300"), f"/cases/{case_id}", status=404)
    assert "no such page" in page.text
    desk.read(desk.browser("li"), f"/cases/{uuid4()}", status=404)
    desk.read(desk.browser("he"), "/cases/not-a-case", status=404)
    assert desk.events("case-viewed") == []


def test_claim_and_release_are_buttons(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    answer = submit(browser, desk.read(browser, f"/cases/{case_id}"), "/claim")
    page = checked_page(answer, "en")
    assert answer.url.path == f"/cases/{case_id}"
    assert "You have claimed the case." in page.text
    assert not page.has_form("/claim")
    released = checked_page(submit(browser, page, "/release"), "en")
    assert "The claim was released." in released.text
    assert released.has_form("/claim")


def test_case_that_another_officer_works_on_offers_no_form(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    stale = desk.read(wang, f"/cases/{case_id}")
    submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/claim")
    page = desk.read(wang, f"/cases/{case_id}")
    assert "Another officer is working on this case." in page.text
    assert not page.has_form("/decision")
    assert not page.has_form("/release")
    answer = submit(wang, stale, "/claim")
    assert answer.status_code == 409
    assert "Another officer has claimed the case." in checked_page(answer, "en").text
    supervisor = desk.browser("chen", role="supervisor")
    assert desk.read(supervisor, f"/cases/{case_id}").has_form("/release")


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_whole_life_of_a_case_stays_readable(desk: Desk, language: str) -> None:
    case_id = desk.case()
    zhang, wang, chen = desk.browser("zhang"), desk.browser("wang"), desk.browser("chen", role="supervisor")
    for browser in (zhang, wang, chen):
        use_language(browser, language)

    def page(browser: TestClient) -> Page:
        return checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), language)

    for browser, ending in ((zhang, "/decision"), (wang, "/confirmation")):
        checked_page(submit(browser, page(browser), ending, **SAME), language)
    for browser in (zhang, wang, chen):
        closed = page(browser)
        assert not closed.has_form("/decision")
        assert closed.has_form("/queue/next"), "the way on"
        assert "Birth record 1987/214" in closed.text
    assert not page(zhang).has_form("/reopen")
    reopened = submit(chen, page(chen), "/reopen", reason="Appeal of 2026-03-01")
    assert "Appeal of 2026-03-01" in checked_page(reopened, language).text
    assert page(zhang).has_form("/decision")
    assert desk.client.post(
        f"/v1/checks/{case_check(desk, case_id)}/withdraw", headers=desk.headers
    ).is_success
    assert {"zh-CN": "业务已撤回", "en": "the transaction was withdrawn"}[language] in page(zhang).text


def case_check(desk: Desk, case_id: UUID) -> UUID | None:
    with desk.database.read() as session:
        return session.get_one(Case, case_id).check_id


def test_first_opinion_is_hidden_from_the_second_officer(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    reason = "Scar on the left hand"
    answer = submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/decision", **SAME | {"reason_1": reason})
    assert answer.status_code == 200
    own = desk.read(zhang, f"/cases/{case_id}")
    assert reason in own.text
    assert "another officer must give the second" in own.text
    assert not own.has_form("/confirmation")
    other = wang.get(f"/cases/{case_id}", headers=BROWSER)
    assert reason not in other.text
    assert "Birth record" not in other.text
    page = checked_page(other, "en")
    assert "hidden until the second opinion is recorded" in page.text
    assert "checked" not in page.by_id("conclusion-1-same_person").attributes
    ticks = [one for one in page.all("input") if one.attributes.get("name", "").startswith("registration-")]
    assert ticks
    assert not any("checked" in one.attributes for one in ticks)


def test_many_candidates_each_have_their_own_fields(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    with desk.database.write() as session:
        (first,) = session.get_one(Case, case_id).candidates
        for rank in range(2, 21):
            session.add(
                CaseCandidate(
                    case_id=case_id,
                    rank=rank,
                    person_id=f"G-{rank}",
                    person_key=10_000 + rank,
                    reference_id=10_000 + rank,
                    gallery="registered",
                    score=first.score - rank / 100,
                    false_alarm_rate=0.5,
                    false_alarm_low=0.4,
                    false_alarm_high=0.6,
                )
            )
    page = desk.read(browser, f"/cases/{case_id}")
    assert len([one for one in page.all("section") if "candidate-" in one.attributes.get("id", "")]) == 20
    assert "about 50 of 100 searches" in page.text
    ways = [one.attributes["href"] for one in page.all("a") if "#candidate-" in one.attributes["href"]]
    assert ways == [f"#candidate-{rank}" for rank in range(1, 21)]
