"""The page of a case: opened ID numbers, the first look without figures, references, hints and the help."""

from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.codes import load_codes
from service.review.answers import RegistrationView
from service.settings import Settings
from service.tables import Case, CaseCandidate, Portrait
from service.web.registrations import compared
from service.web.words import Words
from tests.service.calls import in_base64, portrait, put_person
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk
from tests.service.web.pages import BROWSER, Page, checked_page, submit, use_language

NUMBER, OTHER = "11010519491231002X", "440524188001010014"


@pytest.fixture
def blind(settings: Settings) -> Settings:
    """Settings with which figures wait for the first look."""
    return settings.model_copy(update={"blind_first_look": True})


@pytest.fixture
def blind_desk(blind: Settings, desk: Desk) -> Desk:
    """A desk at which figures wait for the first look."""
    desk.app.state.settings = blind
    return desk


def open_number(browser: TestClient, page: Page, person_id: str, **typed: str) -> Response:
    """Press the button beside a number, with what was typed in the form that it stands in."""
    button = next(one for one in page.all("button") if one.attributes.get("value") == person_id)
    form = next(form for form in page.forms if "opened" in form.fields)
    fields = form.fields | {name.replace("_", "-"): text for name, text in typed.items()}
    address = button.attributes.get("formaction", form.action)
    return browser.post(address, data=fields | {"open": person_id}, headers=BROWSER)


def add_candidate(desk: Desk, case_id: UUID, person_id: str, person: int) -> None:
    """Store another registration and make it a candidate, behind the others."""
    assert put_person(desk.client, desk.headers, person_id, portrait(person)).is_success
    with desk.database.write() as session:
        case = session.get_one(Case, case_id)
        (reference,) = session.query(Portrait).filter(Portrait.person.has(person_id=person_id))
        first = case.candidates[0]
        session.add(
            CaseCandidate(
                case_id=case_id,
                rank=len(case.candidates) + 1,
                person_id=person_id,
                person_key=reference.person_key,
                reference_id=reference.reference_id,
                gallery=first.gallery,
                score=first.score - 0.1,
                false_alarm_rate=first.false_alarm_rate,
                false_alarm_low=first.false_alarm_low,
                false_alarm_high=first.false_alarm_high,
            )
        )


def test_number_is_masked_until_it_is_opened_and_the_opening_is_on_record(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    page = desk.read(browser, f"/cases/{case_id}")
    assert NUMBER not in page.text
    answer = open_number(browser, page, "C-1", reason_1="Half a reason")
    assert answer.status_code == 200
    opened = checked_page(answer, "en")
    assert NUMBER in opened.text
    assert opened.form("/decision").fields["reason-1"] == "Half a reason"
    assert "Full citizen number opened" in opened.text
    (event,) = desk.events("id-number-opened")
    assert (event.actor, event.subject, event.purpose) == ("zhang", "person:C-1", f"case:{case_id}")
    assert NUMBER not in desk.read(browser, f"/cases/{case_id}").text


def test_two_open_numbers_are_compared_in_full(desk: Desk) -> None:
    fields = {"level_code": "10", "portraits": [], "citizen_id_number": OTHER}
    assert put_person(desk.client, desk.headers, "S-1", **fields).is_success
    case_id, browser = desk.case(), desk.browser("zhang")
    first = checked_page(open_number(browser, desk.read(browser, f"/cases/{case_id}"), "C-1"), "en")
    row = next(one for one in first.all("tr") if one.text.startswith("Citizen"))
    assert row.attributes["class"] == "is-different", "the ends that are shown differ"
    both = checked_page(open_number(browser, first, "S-1"), "en")
    assert NUMBER in both.text
    assert OTHER in both.text
    row = next(one for one in both.all("tr") if one.text.startswith("Citizen"))
    assert row.attributes["class"] == "is-different"


def test_open_number_beside_a_masked_one_with_the_same_ends_tells_nothing() -> None:
    shown = RegistrationView(person_id="S-1", erased=False, citizen_id_number_masked="110105********002X")
    other = shown.model_copy(update={"person_id": "C-1"})
    rows = compared(shown, other, opened={"C-1": NUMBER}, words=Words("en", load_codes()))
    assert next(row for row in rows if row.name == "citizen_id_number_masked").difference == "unknown"


@SQLITE_ONLY
def test_number_of_somebody_else_or_of_another_division_is_not_opened(desk: Desk) -> None:
    assert put_person(desk.client, desk.headers, "O-1", portrait(7), citizen_id_number=OTHER).is_success
    case_id, browser, stranger = (
        desk.case(),
        desk.browser("zhang"),
        desk.browser("wang", division_code="530300"),
    )
    page = desk.read(browser, f"/cases/{case_id}")
    fields = page.form("/decision").fields
    for person_id in ("O-1", "S-1", "nobody"):
        answer = browser.post(
            f"/cases/{case_id}/id-numbers", data=fields | {"open": person_id}, headers=BROWSER
        )
        assert answer.status_code == 404
        assert OTHER not in answer.text
    own = next(form.fields["csrf"] for form in desk.read(stranger, "/").forms if "csrf" in form.fields)
    answer = stranger.post(f"/cases/{case_id}/id-numbers", data={"csrf": own, "open": "C-1"}, headers=BROWSER)
    assert answer.status_code == 404
    assert desk.events("id-number-opened") == []


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_figures_wait_for_the_first_look(blind_desk: Desk, language: str) -> None:
    desk, case_id = blind_desk, blind_desk.case()
    add_candidate(desk, case_id, "C-2", 2)
    zhang, wang = desk.browser("zhang"), desk.browser("wang")
    for browser in (zhang, wang):
        use_language(browser, language)
    page = checked_page(zhang.get(f"/cases/{case_id}", headers=BROWSER), language)
    assert not page.all("svg")
    assert {"A", "B"} == {
        one.attributes["id"].removeprefix("candidate-")
        for one in page.all("section")
        if one.attributes.get("id", "").startswith("candidate-")
    }
    assert not page.has_form("/decision")
    assert page.has_form("/claim")
    shown = checked_page(submit(zhang, page, "/look"), language)
    assert len(shown.all("svg")) == 2
    assert shown.has_form("/decision")
    (event,) = desk.events("scores-opened")
    assert (event.actor, event.subject) == ("zhang", f"case:{case_id}")
    submit(zhang, page, "/look")
    assert len(desk.events("scores-opened")) == 1, "the second press changes nothing"
    other = checked_page(wang.get(f"/cases/{case_id}", headers=BROWSER), language)
    assert not other.all("svg"), "everybody looks for themselves"


@SQLITE_ONLY
def test_neutral_order_stays_and_hides_ranks_in_addresses(blind_desk: Desk) -> None:
    desk, case_id = blind_desk, blind_desk.case()
    for number in range(2, 6):
        add_candidate(desk, case_id, f"C-{number}", number)
    browser = desk.browser("zhang")
    orders = [
        [one.text for one in desk.read(browser, f"/cases/{case_id}").all("h2") if "C-" in one.text]
        for _ in range(2)
    ]
    assert orders[0] == orders[1]
    assert len(orders[0]) == 5
    assert "candidate-1" not in browser.get(f"/cases/{case_id}", headers=BROWSER).text


@SQLITE_ONLY
def test_figures_are_shown_at_once_unless_the_operator_wishes_otherwise(desk: Desk) -> None:
    page = desk.read(desk.browser("zhang"), f"/cases/{desk.case()}")
    assert page.all("svg")
    assert not page.has_form("/look")


@SQLITE_ONLY
def test_all_references_of_a_candidate_are_offered_with_their_dates(desk: Desk) -> None:
    pictures = [
        {"image": in_base64(portrait(1, shot)), "taken_on": taken_on}
        for shot, taken_on in ((0, "2019-05-04"), (3, "2008-01-20"), (4, None))
    ]
    assert put_person(desk.client, desk.headers, "C-1", portraits=pictures).is_success
    case_id, browser = desk.case(), desk.browser("zhang")
    page = desk.read(browser, f"/cases/{case_id}")
    assert "All portraits of the candidate (3)" in page.text
    assert "2019-05-04" in page.text
    assert "2008-01-20" in page.text
    chosen = [one.attributes["data-choose"] for one in page.all("button") if "data-choose" in one.attributes]
    assert len(set(chosen)) == 3
    original = browser.get(f"{chosen[1]}?view=original")
    assert original.headers["content-type"] == "image/jpeg"
    assert original.headers["cache-control"] == "no-store"
    assert len(desk.events("portrait-viewed")) == 1


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("birth_date", "said"), [("1987-03-12", "Possibly twins"), ("1990-01-01", "Possibly siblings")]
)
def test_common_parent_is_a_hint(desk: Desk, birth_date: str, said: str) -> None:
    shared = {"mother_id_number": NUMBER}
    assert put_person(
        desk.client, desk.headers, "C-1", portrait(1), birth_date="1987-03-12", **shared
    ).is_success
    assert put_person(
        desk.client, desk.headers, "S-1", level_code="10", portraits=[], birth_date=birth_date, **shared
    ).is_success
    answer = desk.browser("zhang").get(f"/cases/{desk.case()}", headers=BROWSER)
    assert said in checked_page(answer, "en").text
    assert NUMBER not in answer.text, "the parent's number itself is not shown"


@SQLITE_ONLY
def test_marks_are_explained_and_keys_listed_without_script(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    with desk.database.write() as session:
        for stored in session.query(Portrait):
            stored.marks = ["blurred"]
    page = desk.read(browser, f"/cases/{case_id}")
    assert "moles and scars cannot be made out" in page.text
    assert "Keyboard shortcuts" in page.by_id("help").text
    script = next(one for one in page.all("script") if one.attributes["src"].endswith("/case.js"))
    assert script.attributes["type"] == "module"
    served = browser.get(script.attributes["src"])
    assert served.status_code == 200
    assert "immutable" in served.headers["cache-control"]
    folder = script.attributes["src"].rsplit("/", 1)[0]
    assert browser.get(f"{folder}/comparison.js").status_code == 200
    assert browser.get(f"{folder}/../case_view.py").status_code == 404
