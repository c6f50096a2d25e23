"""The page of the queue."""

from datetime import timedelta
from uuid import UUID

import pytest

from service.tables import Case, now
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk
from tests.service.web.pages import BROWSER, Page, checked_page, submit, use_language

pytestmark = SQLITE_ONLY


def titles(page: Page) -> list[str]:
    """The transactions that a page lists, in order."""
    return [one.text.strip() for one in page.all("a") if one.attributes["href"].startswith("/cases/")]


def change(desk: Desk, case_id: UUID, **values: object) -> None:
    with desk.database.write() as session:
        case = session.get_one(Case, case_id)
        for name, value in values.items():
            setattr(case, name, value)


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_empty_queue_says_so(desk: Desk, language: str) -> None:
    browser = desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get("/", headers=BROWSER), language)
    assert {"zh-CN": "没有待办案件", "en": "No open cases"}[language] in page.text
    filtered = checked_page(browser.get("/?mine=1", headers=BROWSER), language)
    assert {"zh-CN": "没有符合条件的案件", "en": "No case fits the filters"}[language] in filtered.text


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_queue_shows_what_an_officer_chooses_by(desk: Desk, language: str) -> None:
    case_id = desk.case()
    desk.unsearchable_case()
    change(desk, case_id, opened_at=now() - timedelta(days=2, hours=3, minutes=5))
    browser = desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get("/", headers=BROWSER), language)
    assert titles(page) == ["T-1", "T-9"]
    shown = {
        "zh-CN": ["2 天 3 小时", "户口迁入", "昆明市 530102", "核查中", "无法比对", "未认领", "候选人 1 名"],
        "en": ["2 d 3 h", "Household transfer in", "Kunming 530102", "Under review", "Not claimed"],
    }
    assert [text for text in shown[language] if text not in page.text] == []


def test_queue_holds_the_own_division_only(desk: Desk) -> None:
    desk.case()
    assert titles(desk.read(desk.browser("zhang", division_code="530100"), "/")) == ["T-1"]
    assert titles(desk.read(desk.browser("chen", division_code="530000"), "/")) == ["T-1"]
    assert titles(desk.read(desk.browser("wang", division_code="530300"), "/")) == []


def test_claims_are_told_apart(desk: Desk) -> None:
    case_id = desk.case()
    zhang, wang = desk.browser("zhang"), desk.browser("wang")
    csrf = desk.read(zhang, "/").form("/sign-out").fields["csrf"]
    assert zhang.post(f"/cases/{case_id}/claim", data={"csrf": csrf}).status_code == 200
    assert "Claimed by me" in desk.read(zhang, "/").all("table")[0].text
    assert "Claimed by zhang" in desk.read(wang, "/").all("table")[0].text


def test_filters_are_kept_in_the_form_and_work(desk: Desk) -> None:
    one, other = desk.case("T-1"), desk.case("T-2")
    desk.unsearchable_case("T-3")
    change(desk, one, state="cleared", closed_at=now())
    change(desk, other, escalated=True)
    browser = desk.browser("chen", role="supervisor")
    for query, expected in [
        ("", ["T-2", "T-3"]),
        ("?state=&kind=&division=", ["T-2", "T-3"]),
        ("?state=cleared", ["T-1"]),
        ("?kind=not_searchable", ["T-3"]),
        ("?escalated=1", ["T-2"]),
        ("?mine=1", []),
        ("?division=530102", ["T-2", "T-3"]),
        ("?division=530300", []),
    ]:
        assert titles(desk.read(browser, f"/{query}")) == expected, query
    page = desk.read(browser, "/?state=cleared&division=530102&escalated=1")
    fields = page.form("/").fields
    assert (fields["state"], fields["division"], fields["escalated"]) == ("cleared", "530102", "1")


@pytest.mark.parametrize(
    "query", ["?state=nonsense", "?division=x", "?after=nonsense", "?limit=0", "?mine=x"]
)
def test_address_put_together_wrongly_is_answered_with_a_page(desk: Desk, query: str) -> None:
    page = desk.read(desk.browser("zhang"), f"/{query}", status=422)
    assert "The filters" in page.text


def test_pages_stay_put_while_cases_arrive(desk: Desk) -> None:
    for number in range(1, 6):
        change(desk, desk.case(f"T-{number}"), opened_at=now() - timedelta(hours=10 - number))
    browser = desk.browser("zhang")
    first = desk.read(browser, "/?limit=2&division=530102")
    assert titles(first) == ["T-1", "T-2"]
    following = next(one for one in first.all("a") if one.attributes.get("rel") == "next")
    change(desk, desk.case("T-6"), opened_at=now())
    second = desk.read(browser, following.attributes["href"] + "&limit=2")
    assert titles(second) == ["T-3", "T-4"]
    assert "Back to the first page" in second.text
    assert "division=530102" in following.attributes["href"]


def test_names_in_the_queue_are_escaped(desk: Desk) -> None:
    desk.case("<script>alert(1)</script>")
    answer = desk.browser("zhang").get("/", headers=BROWSER)
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_closed_cases_are_called_so_and_in_their_own_order(desk: Desk, language: str) -> None:
    change(desk, desk.case(), state="cleared", closed_at=now())
    browser = desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get("/?state=cleared", headers=BROWSER), language)
    said = {
        "zh-CN": ("已办结案件", "按开案先后排列，最早的在前", "历时"),
        "en": ("Closed cases", "In the order in which they were opened, the oldest first", "Lasted"),
    }[language]
    assert page.all("h1")[0].text == said[0]
    assert said[1] in page.all("caption")[0].text
    heads = [one.text for one in page.all("th") if one.attributes.get("scope") == "col"]
    assert (len(heads), heads[1]) == (5, said[2])


def test_a_case_is_claimed_from_the_queue_by_those_who_may(desk: Desk) -> None:
    one, disputed = desk.case("T-1"), desk.case("T-2")
    change(desk, disputed, escalated=True)
    browser = desk.browser("zhang")
    page = desk.read(browser, "/")
    assert not page.has_form(f"/{disputed}/claim")
    assert "You have claimed the case." in checked_page(submit(browser, page, f"/{one}/claim"), "en").text
    chief = desk.read(desk.browser("chen", role="supervisor"), "/?escalated=1")
    assert chief.has_form(f"/{disputed}/claim")
    assert chief.form("/queue/next").fields["escalated"] == "1"


def test_next_case_is_claimed_and_opened(desk: Desk) -> None:
    desk.unsearchable_case("T-2")
    case_id, browser = desk.case("T-1"), desk.browser("zhang")
    answer = submit(browser, desk.read(browser, "/"), "/queue/next")
    page = checked_page(answer, "en")
    assert str(answer.url).endswith(f"/cases/{case_id}?done=claimed")
    assert "You have claimed the case." in page.text
    submit(browser, desk.read(browser, "/"), "/queue/next")
    empty = checked_page(submit(browser, desk.read(browser, "/"), "/queue/next"), "en")
    assert "No unclaimed case that you may work on is waiting now." in empty.text


def test_a_case_is_released_from_the_queue(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    submit(browser, desk.read(browser, "/"), "/queue/next")
    page = checked_page(submit(browser, desk.read(browser, "/?mine=1"), f"/{case_id}/release"), "en")
    assert titles(page) == []
    assert "Not claimed" in desk.read(browser, "/").text


def test_live_refresh_answers_only_what_changed(desk: Desk) -> None:
    desk.case("T-1")
    browser = desk.browser("zhang")
    first = browser.get("/queue/lines?division=530102")
    assert "T-1" in first.text
    assert "<html" not in first.text
    tag = {"If-None-Match": first.headers["etag"]}
    again = browser.get("/queue/lines?division=530102", headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    desk.case("T-2")
    changed = browser.get("/queue/lines?division=530102", headers=tag)
    assert "T-2" in changed.text
    assert changed.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_overdue_cases_are_counted_and_marked(desk: Desk, language: str) -> None:
    change(desk, desk.case("T-1"), opened_at=now() - timedelta(days=4))
    desk.case("T-2")
    browser = desk.browser("zhang")
    use_language(browser, language)
    page = checked_page(browser.get("/?overdue=1", headers=BROWSER), language)
    assert titles(page) == ["T-1"]
    word = {"zh-CN": "超期", "en": "Overdue"}[language]
    assert f"{word} 1" in page.text
    assert [one.text for one in page.all("span") if one.attributes.get("class") == "badge warn"] == [word]
