"""The pages of notices: who sees which, acknowledging, sending again, the letter."""

from datetime import timedelta
from uuid import UUID

import pytest

from service.auth.service import SYSTEM
from service.notices.delivery import Delivery, DeliveryPolicy
from service.notices.service import POPULATION_SYSTEM, NewNotice, NoticeKind, issue
from service.tables import Notice, now
from tests.service.conftest import SQLITE_ONLY
from tests.service.notices.receiving import allowing, target_at
from tests.service.web.conftest import Desk
from tests.service.web.pages import BROWSER, checked_page, submit, use_language

CLOSED = "http://127.0.0.1:9/"


def issued(desk: Desk, case_id: UUID, kind: NoticeKind, recipient: str, *, due_days: int = 15) -> Notice:
    with desk.database.write() as session:
        payload = {"registrations_of_one_person": ["C-1", "S-1"]}
        new = NewNotice(kind, recipient, case_id, transaction_id="T-1", person_id="C-1", payload=payload)
        return issue(session, new, due_days=due_days, actor=SYSTEM)


@SQLITE_ONLY
def test_notices_are_seen_acknowledged_sent_again_and_printed(desk: Desk) -> None:
    case_id = desk.case()
    cancel = issued(desk, case_id, NoticeKind.CANCEL_REQUEST, "530302", due_days=0)
    issued(desk, case_id, NoticeKind.TERMINATE, POPULATION_SYSTEM)
    hopeless = DeliveryPolicy(timeout_s=2.0, give_up_after=timedelta(0))
    Delivery(target_at(CLOSED), database=desk.database, allowed=allowing(CLOSED), policy=hopeless).turn()

    stranger = desk.browser("stranger", division_code="530400")
    assert "/notices/" not in stranger.get("/notices", headers=BROWSER).text.replace("/notices?", "")
    desk.read(stranger, f"/notices/{cancel.id}", status=404)

    own = desk.browser("own", role="supervisor")
    table = desk.read(own, "/notices")
    assert "delivery failed" in table.text.lower()
    assert len([a for a in desk.read(own, "/notices?progress=overdue").all("th") if "1" in a.text]) == 1
    assert "There are no" not in table.text
    assert own.get("/notices?kind=nonsense", headers=BROWSER).status_code == 422
    for language in ("zh-CN", "en"):
        use_language(own, language)
        for address in ("/notices", f"/notices/{cancel.id}"):
            checked_page(own.get(address, headers=BROWSER), language)

    page = desk.read(own, f"/notices/{cancel.id}")
    assert "could not be reached" in page.text
    done = submit(own, page, "/resend")
    assert "will be sent again" in checked_page(done, "en").text
    refused = submit(own, page, "/acknowledgement", note="", on=now().date().isoformat())
    assert "Not recorded" in checked_page(refused, "en").text
    today = now().date().isoformat()
    future = submit(own, page, "/acknowledgement", note="已于今日注销", on="2999-01-01")
    kept = checked_page(future, "en").form("/acknowledgement").fields
    assert (kept["note"], kept["on"]) == ("已于今日注销", "2999-01-01")
    done = submit(own, page, "/acknowledgement", note="已于今日注销", on=today)
    shown = checked_page(done, "en").text
    assert "已于今日注销" in shown
    assert "an officer's entry" in shown
    late = submit(own, page, "/acknowledgement", note="已告知，待办", on=today)
    assert late.status_code == 409
    assert "已告知，待办" in checked_page(late, "en").text
    letter = own.get(f"/notices/{cancel.id}/letter.pdf")
    assert (letter.status_code, letter.headers["content-type"]) == (200, "application/pdf")
    (event,) = desk.events("letter-printed")
    assert event.details["registrations"] == ["C-1", "S-1"]
    assert desk.events("notice-resent")[0].result == "queued"


@SQLITE_ONLY
@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_operators_keep_delivery_going_and_auditors_see_no_notices(desk: Desk, role: str) -> None:
    notice = issued(desk, desk.case(), NoticeKind.CANCEL_REQUEST, "530302")
    browser = desk.browser("somebody", role=role)
    expected = 200 if role == "operator" else 403
    page = desk.read(browser, f"/notices/{notice.id}", status=expected)
    assert not page.has_form("/acknowledgement")
    assert browser.get(f"/notices/{notice.id}/letter.pdf", headers=BROWSER).status_code == 403
