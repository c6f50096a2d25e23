"""What officers send from the page of a case: taken by the same rules as over the API, and never lost."""

from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from service.tables import Case, Person
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk
from tests.service.web.opinions import DIFFERENT, MANUAL, SAME, UNDETERMINED, Typed
from tests.service.web.pages import BROWSER, Page, checked_page, submit, use_language

pytestmark = SQLITE_ONLY


def send(desk: Desk, browser: TestClient, case_id: UUID, ending: str, typed: Typed, status: int) -> Page:
    """Open the page, fill its form in and send it."""
    answer = submit(browser, desk.read(browser, f"/cases/{case_id}"), ending, **typed)
    assert answer.status_code == status, answer.text
    return checked_page(answer, "en")


def stored(desk: Desk, case_id: UUID) -> Case:
    with desk.database.read() as session:
        return session.get_one(Case, case_id)


@pytest.mark.parametrize(
    ("typed", "state"),
    [(DIFFERENT, "cleared"), (UNDETERMINED, "undetermined"), (SAME, "awaiting_second_officer")],
)
def test_first_opinion_leads_to_its_state(desk: Desk, typed: Typed, state: str) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    page = send(desk, browser, case_id, "/decision", typed, 200)
    assert "The first opinion was recorded." in page.text
    assert stored(desk, case_id).state == state
    assert not page.has_form("/decision")


def test_two_officers_confirm_a_duplicate(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    send(desk, zhang, case_id, "/decision", SAME, 200)
    page = send(desk, wang, case_id, "/confirmation", SAME, 200)
    case = stored(desk, case_id)
    assert case.state == "duplicate_confirmed"
    assert [(d.stage, d.registrations_to_cancel) for d in case.decisions] == [
        ("first", ["C-1"]),
        ("second", ["C-1"]),
    ]
    assert case.decisions[0].conclusions[0].evidence == [
        {"kind": "document", "reference": "Birth record 1987/214"}
    ]
    assert all(
        text in page.text for text in ("Stop the transaction", "Cancellation request", "Qujing 530302")
    )


def test_disagreement_goes_to_a_supervisor(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    send(desk, zhang, case_id, "/decision", SAME, 200)
    page = send(desk, wang, case_id, "/confirmation", DIFFERENT, 200)
    assert "a supervisor takes the case from here" in page.text
    chen = desk.browser("chen", role="supervisor")
    send(desk, chen, case_id, "/decision", DIFFERENT, 200)
    assert stored(desk, case_id).state == "cleared"


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_identity_can_be_established_with_the_opinion(desk: Desk, language: str) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), language)
    identity = {"identity_person": "S-1", "identity_level": "10", "identity_reason": "DNA of both parents"}
    answer = submit(browser, page, "/decision", **DIFFERENT | identity)
    assert "DNA of both parents" in checked_page(answer, language).text
    decided = stored(desk, case_id).decisions[0].identity_established
    assert decided == {"person_id": "S-1", "level_code": "10", "reason": "DNA of both parents"}


def test_case_without_candidates_is_concluded_by_hand(desk: Desk) -> None:
    case_id, browser = desk.unsearchable_case(), desk.browser("zhang")
    page = send(desk, browser, case_id, "/decision", MANUAL, 200)
    assert stored(desk, case_id).state == "cleared"
    assert "Known to the village for forty years." in page.text


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({}, "conclusion-1", "Choose a conclusion"),
        ({"conclusion_1": "different_person"}, "reason-1", "Give a reason"),
        (
            {**SAME, "evidence_kind_1_1": "", "evidence_reference_1_1": ""},
            "evidence-1",
            "beyond the face is needed",
        ),
        ({**SAME, "evidence_reference_1_1": "  "}, "evidence-1", "needs a kind and a number or source"),
        ({**SAME, "evidence_kind_1_1": ""}, "evidence-1", "needs a kind and a number or source"),
        ({**SAME, "registration_2": ""}, "registration", "Choose the registration that must be cancelled"),
        ({**DIFFERENT, "registration_2": "C-1"}, "registration", "who is the same person"),
        ({**SAME, "registration_2": "X-2"}, "registration", "who is the same person"),
        ({**DIFFERENT, "identity_level": "10"}, "identity", "needs a registration, a new level code"),
        (
            {**DIFFERENT, "identity_person": "S-1", "identity_level": "30", "identity_reason": "x"},
            "identity",
            "means identity in doubt",
        ),
        (
            {**DIFFERENT, "identity_person": "S-1", "identity_level": "1-", "identity_reason": "x"},
            "identity",
            "1 to 8 letters or digits",
        ),
        ({**DIFFERENT, "reason_1": "x" * 2001}, "reason-1", "2000"),
        ({**DIFFERENT, "reason_1": "bell \x07"}, "reason-1", "control characters"),
        ({**DIFFERENT, "conclusion_1": "maybe"}, "conclusion-1", "same_person"),
        ({**SAME, "evidence_kind_1_1": "astrology"}, None, "has an unknown kind"),
    ],
)
def test_incomplete_opinion_comes_back_with_everything_typed(
    desk: Desk, typed: Typed, field: str | None, words: str
) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    page = send(desk, browser, case_id, "/decision", typed, 422)
    assert words in page.text
    if field is not None:
        assert f"#{field}" in [one.attributes["href"] for one in page.all("a")]
    kept = page.form("/decision").fields
    for name, value in typed.items():
        if value not in ("maybe", "X-2", "astrology"):
            assert kept.get(name.replace("_", "-"), "") == value.strip()
    assert stored(desk, case_id).decisions == []
    assert stored(desk, case_id).revision == 1


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_faults_are_said_in_both_languages(desk: Desk, language: str) -> None:
    case_id, browser = desk.unsearchable_case(), desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get(f"/cases/{case_id}", headers=BROWSER), language)
    answer = submit(browser, page, "/decision", conclusion_manual="cleared", identity_reason="x")
    assert answer.status_code == 422
    faults = [
        one.text for one in checked_page(answer, language).all("p") if one.attributes.get("class") == "fault"
    ]
    assert len(faults) == 2


def test_opinion_on_a_case_that_moved_on_is_not_lost(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    stale = desk.read(wang, f"/cases/{case_id}")
    send(desk, zhang, case_id, "/decision", SAME, 200)
    typed = {**DIFFERENT, "reason_1": "Different ears <b>"}
    answer = submit(wang, stale, "/decision", **typed)
    assert answer.status_code == 409
    page = checked_page(answer, "en")
    assert "The case has changed since you read it" in page.text
    kept = page.form("/confirmation").fields
    assert (kept["conclusion-1"], kept["reason-1"]) == ("different_person", "Different ears <b>")
    assert len(stored(desk, case_id).decisions) == 1


def test_opinion_on_a_claimed_case_is_shown_to_copy(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    stale = desk.read(wang, f"/cases/{case_id}")
    submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/claim")
    answer = submit(wang, stale, "/decision", **SAME)
    assert answer.status_code == 409
    page = checked_page(answer, "en")
    assert not page.has_form("/decision")
    assert "What you typed and was not taken" in page.text
    assert all(text in page.text for text in ("Same person", SAME["reason_1"], "Birth record 1987/214"))
    assert stored(desk, case_id).decisions == []


def test_opinion_on_a_withdrawn_case_is_shown_to_copy(desk: Desk) -> None:
    case_id, zhang = desk.case(), desk.browser("zhang")
    stale = desk.read(zhang, f"/cases/{case_id}")
    check_id = stored(desk, case_id).check_id
    assert desk.client.post(f"/v1/checks/{check_id}/withdraw", headers=desk.headers).is_success
    answer = submit(zhang, stale, "/decision", **DIFFERENT)
    assert answer.status_code == 409
    page = checked_page(answer, "en")
    assert "the transaction was withdrawn" in page.text
    assert "Met both in person." in page.text


def test_case_changed_between_two_looks_is_not_decided_unseen(desk: Desk) -> None:
    case_id, zhang = desk.case(), desk.browser("zhang")
    stale = desk.read(zhang, f"/cases/{case_id}")
    submit(zhang, desk.read(zhang, f"/cases/{case_id}"), "/claim")
    answer = submit(zhang, stale, "/decision", **DIFFERENT)
    assert answer.status_code == 409
    again = checked_page(answer, "en")
    assert again.form("/decision").fields["reason-1"] == "Met both in person."
    assert submit(zhang, again, "/decision").status_code == 200
    assert stored(desk, case_id).state == "cleared"


def test_a_candidate_erased_meanwhile_is_told_before_the_opinion_is_taken(desk: Desk) -> None:
    case_id, zhang = desk.case(), desk.browser("zhang")
    stale = desk.read(zhang, f"/cases/{case_id}")
    assert desk.client.delete("/v1/persons/C-1", headers=desk.headers).is_success
    answer = submit(zhang, stale, "/decision", **DIFFERENT)
    assert answer.status_code == 409
    again = checked_page(answer, "en")
    assert "cancelled or erased after you opened the page" in again.text
    assert again.form("/decision").fields["reason-1"] == "Met both in person."
    answer = submit(zhang, again, "/decision")
    assert answer.status_code == 200
    assert "erased after the comparison" in checked_page(answer, "en").text


def test_a_subject_erased_meanwhile_is_told_before_the_opinion_is_taken(desk: Desk) -> None:
    case_id, zhang = desk.case(), desk.browser("zhang")
    stale = desk.read(zhang, f"/cases/{case_id}")
    assert desk.client.delete("/v1/persons/S-1", headers=desk.headers).is_success
    answer = submit(zhang, stale, "/decision", **DIFFERENT)
    assert answer.status_code == 409
    again = checked_page(answer, "en")
    assert "of the subject was cancelled or erased after you opened the page" in again.text
    assert again.form("/decision").fields["reason-1"] == "Met both in person."
    assert submit(zhang, again, "/decision").status_code == 200


def test_first_officer_cannot_confirm_their_own_opinion(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    send(desk, zhang, case_id, "/decision", SAME, 200)
    form = desk.read(wang, f"/cases/{case_id}").form("/confirmation")
    csrf = desk.read(zhang, "/").form("/sign-out").fields["csrf"]
    typed = {name.replace("_", "-"): value for name, value in SAME.items()}
    fields = form.fields | typed | {"csrf": csrf}
    answer = zhang.post(form.action, data=fields, headers=BROWSER)
    assert answer.status_code == 409
    assert "another officer must give the second" in checked_page(answer, "en").text
    assert stored(desk, case_id).state == "awaiting_second_officer"


@pytest.mark.parametrize("ending", ["claim", "release", "decision", "confirmation", "reopen"])
def test_nothing_is_done_without_a_session_and_its_token(desk: Desk, ending: str) -> None:
    case_id, zhang = desk.case(), desk.browser("zhang")
    anonymous = TestClient(desk.app, raise_server_exceptions=False)
    answer = anonymous.post(f"/cases/{case_id}/{ending}", data={"csrf": "x"}, headers=BROWSER)
    assert answer.status_code == 401
    checked_page(answer, "en")
    forged = zhang.post(f"/cases/{case_id}/{ending}", data={"csrf": "x"}, headers=BROWSER)
    assert forged.status_code == 403
    assert stored(desk, case_id).revision == 1


@pytest.mark.parametrize("ending", ["claim", "decision", "confirmation", "reopen"])
def test_nothing_is_done_to_a_case_of_another_division(desk: Desk, ending: str) -> None:
    case_id, browser = desk.case(), desk.browser("wang", role="supervisor", division_code="530300")
    csrf = desk.read(browser, "/").form("/sign-out").fields["csrf"]
    data = {"csrf": csrf, "reason": "x"}
    assert browser.post(f"/cases/{case_id}/{ending}", data=data, headers=BROWSER).status_code == 404
    assert stored(desk, case_id).revision == 1


def test_key_of_an_api_client_opens_no_page(desk: Desk) -> None:
    case_id = desk.case()
    answer = desk.client.get(f"/cases/{case_id}", headers=desk.headers | BROWSER, follow_redirects=False)
    assert answer.headers["location"] == f"/sign-in?next=/cases/{case_id}"


def test_supervisor_reopens_with_a_reason(desk: Desk) -> None:
    case_id, zhang, chen = desk.case(), desk.browser("zhang"), desk.browser("chen", role="supervisor")
    send(desk, zhang, case_id, "/decision", DIFFERENT, 200)
    empty = send(desk, chen, case_id, "/reopen", {"reason": "  "}, 422)
    assert "Give a reason" in empty.text
    long = send(desk, chen, case_id, "/reopen", {"reason": "x" * 2001}, 422)
    assert len(long.form("/reopen").fields["reason"]) == 2001
    page = send(desk, chen, case_id, "/reopen", {"reason": "Appeal with a birth record"}, 200)
    assert "The case was reopened." in page.text
    assert "Round 2" in page.text
    assert "Reversal" in page.text
    assert stored(desk, case_id).round == 2


def test_second_opinion_covers_the_candidates_that_the_first_took_for_the_subject(desk: Desk) -> None:
    case_id, zhang, wang = desk.case(), desk.browser("zhang"), desk.browser("wang")
    with desk.database.write() as session:
        from service.tables import CaseCandidate

        person = Person(person_id="C-2", level_code="30")
        session.add(person)
        session.flush()
        figures = {"score": 0.4, "false_alarm_rate": 0.01, "false_alarm_low": 0.0, "false_alarm_high": 0.02}
        session.add(
            CaseCandidate(
                case_id=case_id,
                rank=2,
                person_id="C-2",
                person_key=person.key,
                reference_id=999,
                gallery="flagged",
                **figures,
            )
        )
    half = send(desk, zhang, case_id, "/decision", SAME, 422)
    assert "#conclusion-2" in [one.attributes["href"] for one in half.all("a")]
    both = {**SAME, "conclusion_2": "different_person", "reason_2": "Other ears."}
    send(desk, zhang, case_id, "/decision", both, 200)
    asked = desk.read(wang, f"/cases/{case_id}")
    legends = [one.text for one in asked.all("legend")]
    assert "Candidate 2 and the subject (optional)" in legends
    send(desk, wang, case_id, "/confirmation", SAME, 200)
    assert stored(desk, case_id).state == "duplicate_confirmed"
