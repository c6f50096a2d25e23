"""An installation with one of everything that the pages can show, made by the API and the service's rules.

All persons are invented; whose face is in the portraits is the caller's matter.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.auth.passwords import hash_password
from service.auth.service import SYSTEM
from service.auth.sessions import SignInStage
from service.errors import MonthStateError
from service.language import LANGUAGES
from service.months import BEIJING, Month
from service.notices.delivery import Delivery, DeliveryPolicy
from service.notices.service import NoticeKind
from service.register.service import NewVisit, record_visit
from service.review.drafts import save_draft
from service.statistics.service import close_month, this_month
from service.tables import AuditEvent, Case, Check, LocalAccount, Notice, PersonFlagEvent, RegisterEntry, now
from tests.functional.browsing import Colleague, LiveService
from tests.service.calls import in_base64
from tests.service.notices.receiving import allowing, target_at

PEOPLE = (
    ("李芳", "2", "07", "530102", "1989-04-12", "05"),
    ("王建国", "1", "01", "530102", "1992-06-03", "02"),
    ("普秀兰", "2", "07", "530103", "1985-11-20", "06"),
    ("杨志强", "1", "14", "532901", "1978-02-09", "03"),
    ("和玉梅", "2", "27", "530302", "1990-09-15", "01"),
    ("刀明", "1", "18", "530102", "1994-01-30", "11"),
    ("马丽", "2", "03", "530124", "1987-07-07", "04"),
    ("陈老三", "1", "01", "530111", "1969-12-01", "09"),
)
"""Name, sex, ethnicity, division, date of birth and category of the flagged persons C-1 to C-8."""

OTHERS = (
    ("李秀英", "2", "07", "530302", "1989-04-12"),
    ("王建军", "1", "01", "530102", "1992-06-03"),
    ("普小兰", "2", "07", "530102", "1986-11-20"),
    ("杨志刚", "1", "14", "530102", "1978-02-09"),
    ("和玉美", "2", "27", "530102", "1990-09-15"),
    ("刀小明", "1", "18", "530102", "1994-01-30"),
    ("马莉", "2", "03", "530124", "1987-07-07"),
    ("陈有福", "1", "01", "530102", "1969-12-01"),
)
"""The same people's other registrations, S-1 to S-8: name, sex, ethnicity, division and date of birth."""

FLAGGED_TWICE = 6
"""Both registrations of this person are flagged."""

NUMBERS = ("530102198904120021", "530102199206030014")
PARENT = "530102196501010028"
WITHOUT_CODES = tuple(f"codes-{language}" for language in LANGUAGES)
"""Officers who may set up a second factor, one for each language: it can be done once."""

PASSED_DAYS = 70
"""Days for which everybody has been flagged, so that two months are over."""

CLOSED_PORT = "http://127.0.0.1:9/"
"""Where nobody listens: the discard port, which is not used any more."""

SAME: dict[str, object] = {
    "conclusion": "same_person",
    "reason": "左手旧伤疤与档案记载一致，母亲和两名邻居当面确认。",
    "evidence": [
        {"kind": "interview", "reference": "2026-031"},
        {"kind": "visit", "reference": "第 17 号"},
    ],
}
DIFFERENT: dict[str, object] = {"conclusion": "different_person", "reason": "两人同时到所，当面核对。"}
FOUND = "本人在家，无固定职业，自述在外地上过户口。"

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


@dataclass
class Tour:
    """Where everything is.

    Attributes:
        service: The running service.
        people: Officers by what they do.
        paths: Paths of cases, notices and events by name.
    """

    service: LiveService
    people: dict[str, Colleague] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)


def make_tour(service: LiveService) -> Tour:
    """Fill an installation."""
    tour = Tour(service)
    _officers(tour)
    _registrations(service)
    _open_cases(tour)
    _decided_cases(tour)
    _register(tour)
    _time_passes(tour)
    _notices(tour)
    return tour


def _officers(tour: Tour) -> None:
    wanted = (
        ("first", "张敏", "officer", "530100"),
        ("second", "李强", "officer", "530100"),
        ("supervisor", "王芳", "supervisor", "530100"),
        ("province", "赵刚", "supervisor", "530000"),
        ("operator", "孙伟", "operator", "530000"),
        ("auditor", "周静", "auditor", "530000"),
        ("elsewhere", "钱进", "officer", "530700"),
        *((login, "吴丽", "officer", "530700") for login in WITHOUT_CODES),
    )
    for login, name, role, division in wanted:
        tour.people[login] = tour.service.colleague(login, name=name, role=role, division_code=division)
    tour.people["half-way"] = tour.service.colleague("half-way", stage=SignInStage.FACTOR)
    with tour.service.database.write() as session:
        password_hash = hash_password("a sentence that nobody has to type")
        for login in ("first", "supervisor", *WITHOUT_CODES):
            account = LocalAccount(officer_id=tour.people[login].actor.id, password_set_at=now())
            account.password_hash = password_hash
            session.add(account)


def _registrations(service: LiveService) -> None:
    for number, (name, sex, ethnicity, division, born, category) in enumerate(PEOPLE, start=1):
        shots = (0, 3, 4) if number == 1 else (0, 2) if number == 2 else (0,)
        body: dict[str, object] = {
            "level_code": "30",
            "name": name,
            "sex": sex,
            "ethnicity": ethnicity,
            "division_code": division,
            "birth_date": born,
            "category": category,
            "portraits": [service.image(number, shot, taken_on=f"{2008 + 3 * shot}-05-04") for shot in shots],
        }
        service.put(f"C-{number}", body | _more(number, 0))
    for number, (name, sex, ethnicity, division, born) in enumerate(OTHERS, start=1):
        body = {
            "level_code": "30" if number == FLAGGED_TWICE else "10",
            "name": name,
            "sex": sex,
            "ethnicity": ethnicity,
            "division_code": division,
            "birth_date": born,
        }
        service.put(f"S-{number}", body | _more(number, 1))


def _more(number: int, which: int) -> dict[str, object]:
    """Numbers for the first person, and a common mother for the second, who may be a twin."""
    if number == 1:
        return {"citizen_id_number": _valid(NUMBERS[0] if not which else "530302198904120024")}
    return {"mother_id_number": _valid(PARENT)} if number == 2 else {}


def _valid(number: str) -> str:
    """Give a number the check character of GB 11643."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, number[:17], strict=True))
    return number[:17] + "10X98765432"[total % 11]


def _open_cases(tour: Tour) -> None:
    service, paths = tour.service, tour.paths
    first, second = tour.people["first"], tour.people["second"]
    paths["open"] = service.check("530102-2026-00117")
    paths["draft"] = service.check("530102-2026-00121", person=2, subject="S-2", kind="id-card-renewal")
    _draft(tour, paths["draft"])
    paths["awaiting"] = service.check("530102-2026-00098", person=3, subject="S-3")
    _decide(tour, first, paths["awaiting"], same=True)
    paths["escalated"] = service.check("530102-2026-00093", person=4, subject="S-4", kind="restoration")
    _decide(tour, first, paths["escalated"], same=True)
    _confirm(tour, second, paths["escalated"], same=False)
    paths["manual"] = service.check(
        "530102-2026-00125", person=None, subject="X-77", kind="late-registration"
    )
    paths["erased"] = service.check("530102-2026-00119", person=8, subject="S-8", kind="id-card-issue")
    service.http.delete("/v1/persons/C-8").raise_for_status()


def _decided_cases(tour: Tour) -> None:
    service, paths = tour.service, tour.paths
    first, second, supervisor = (tour.people[name] for name in ("first", "second", "supervisor"))
    paths["confirmed"] = service.check("530102-2026-00051", person=5, subject="S-5")
    _decide(tour, first, paths["confirmed"], same=True)
    _confirm(tour, second, paths["confirmed"], same=True)
    paths["reopened"] = service.check("530102-2026-00047", person=6, subject="S-6")
    _decide(tour, first, paths["reopened"], same=False)
    reason = {"reason": "申请人提交了新的出生医学证明，须重新核查。"}
    service.call(supervisor, f"/v1{paths['reopened']}/reopen", reason)
    paths["appealed"] = service.check("530102-2026-00039", person=7, subject="S-7")
    _decide(tour, second, paths["appealed"], same=False)
    grounds = {
        "appellant": "马丽",
        "appealed_on": now().astimezone(BEIJING).date().isoformat(),
        "grounds": "对方的登记是我本人早年所办，应合并。",
    }
    service.call(first, f"/v1{paths['appealed']}/appeals", grounds)
    paths["withdrawn"] = service.check("530102-2026-00110", person=6, subject="S-6")
    found = service.http.get("/v1/checks", params={"transaction_id": "530102-2026-00110"}).json()
    service.http.post(f"/v1/checks/{found['check_id']}/withdraw").raise_for_status()


def _draft(tour: Tour, path: str) -> None:
    """A claimed case with half an opinion and a file."""
    officer, service = tour.people["first"], tour.service
    service.call(officer, f"/v1{path}/claim")
    file = {"name": "出生医学证明.pdf", "content": in_base64(PDF)}
    attached = service.call(officer, f"/v1{path}/attachments", file)
    fields = {
        "conclusion-1": "same_person",
        "reason-1": "走访邻居三户，均称只有一人，没有同胞兄弟。",
        "evidence-kind-1-1": "document",
        "evidence-reference-1-1": "出生医学证明 D530012345",
        "evidence-file-1-1": attached["id"],
    }
    with service.database.write() as session:
        save_draft(session, _id(path), fields=fields, actor=officer.actor)


def _decide(tour: Tour, officer: Colleague, path: str, *, same: bool) -> None:
    tour.service.call(officer, f"/v1{path}/decisions", _opinion(tour, officer, path, same=same))


def _confirm(tour: Tour, officer: Colleague, path: str, *, same: bool) -> None:
    tour.service.call(officer, f"/v1{path}/confirmation", _opinion(tour, officer, path, same=same))


def _opinion(tour: Tour, officer: Colleague, path: str, *, same: bool) -> dict[str, object]:
    """Conclude alike on every candidate."""
    headers = {"Authorization": f"Bearer {officer.key}"}
    case = tour.service.http.get(f"/v1{path}", headers=headers).json()
    told = SAME if same else DIFFERENT
    persons = [one["person_id"] for one in case["candidates"]]
    opinion: dict[str, object] = {"conclusions": [told | {"person_id": person} for person in persons]}
    return opinion | ({"registration_to_cancel": persons[0]} if same else {})


def _register(tour: Tour) -> None:
    actor = tour.people["first"].actor
    today = now().astimezone(BEIJING).date()
    visited = today - timedelta(days=50)
    with tour.service.database.write() as session:
        for person, days in (("C-1", 30), ("C-6", 70)):
            following = visited + timedelta(days=days)
            new = NewVisit(visited, "盘龙区东华街道", "张敏、李强", FOUND, following)
            record_visit(session, person, new, actor=actor)


def _time_passes(tour: Tour) -> None:
    """Put the flags two months and a few checks one month back, and close the months that are over."""
    before = timedelta(days=PASSED_DAYS)
    month = Month.of(now() - before)
    with tour.service.database.write() as session:
        session.execute(update(PersonFlagEvent).values(at=now() - before, month=str(month)))
        session.execute(update(RegisterEntry).values(flagged_at=now() - before))
        for name, days in (("confirmed", 34), ("reopened", 36), ("appealed", 64), ("escalated", 6)):
            _put_back(session, _id(tour.paths[name]), timedelta(days=days))
    while month < this_month():
        with suppress(MonthStateError):  # The service closes months by itself, and may be first.
            close_month(tour.service.database, month, actor=SYSTEM)
        month = month.later(1)


def _put_back(session: Session, case_id: UUID, by: timedelta) -> None:
    """Move a case and all that was done on it into the past."""
    case = session.get_one(Case, case_id)
    check = session.get_one(Check, case.check_id)
    check.created_at -= by
    case.opened_at -= by
    case.closed_at = case.closed_at - by if case.closed_at is not None else None
    for decision in case.decisions:
        decision.decided_at -= by


def _notices(tour: Tour) -> None:
    """Let one notice fail to be delivered, and a letter be overdue."""
    hopeless = DeliveryPolicy(timeout_s=2.0, give_up_after=timedelta(0))
    database = tour.service.database
    with database.write() as session:
        notices = list(session.scalars(select(Notice).order_by(Notice.sequence)))
        for notice in notices:
            if notice.kind == NoticeKind.CANCEL_REQUEST:
                notice.created_at -= timedelta(days=20)
                notice.due_at -= timedelta(days=20)
        tour.paths["letter"] = next(
            f"/notices/{notice.id}" for notice in notices if notice.kind == NoticeKind.CANCEL_REQUEST
        )
        tour.paths["terminate"] = next(
            f"/notices/{notice.id}" for notice in notices if notice.kind == NoticeKind.TERMINATE
        )
    target = target_at(CLOSED_PORT, "population-system")
    Delivery(target, database=database, allowed=allowing(CLOSED_PORT), policy=hopeless).turn()
    with database.read() as session:
        newest = session.scalar(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1))
    tour.paths["present"] = f"/statistics?month={this_month()}"
    tour.paths["event"] = f"/audit/events/{newest}"


def _id(path: str) -> UUID:
    """Return the id at the end of a path."""
    return UUID(path.rpartition("/")[2])
