"""`/v1/cases` over HTTP: the whole way of a check to its notices, and who may do what."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import select

from service.database import Database
from service.review.opinion import CaseKind
from service.tables import AuditEvent
from tests.service.calls import Headers, contents, portrait, post_check, put_person
from tests.service.conftest import ClientKeys, OfficerKeys
from tests.service.review.desk import add_case, add_person

DOCUMENT = [{"kind": "document", "reference": "Birth record 1987/214"}]
SAME = {
    "person_id": "P-first",
    "conclusion": "same_person",
    "reason": "The same scar.",
    "evidence": DOCUMENT,
}
DIFFERENT = {"person_id": "P-first", "conclusion": "different_person", "reason": "Met both."}
OTHER = {"person_id": "P-second", "conclusion": "different_person", "reason": "Met both."}
CLEARING = {"conclusions": [DIFFERENT, OTHER]}
SUSPECTING = {"conclusions": [SAME, OTHER], "registration_to_cancel": "P-first"}
AGREEING = {"conclusions": [SAME], "registration_to_cancel": "P-first"}


class Desk:
    """One officer's place of work."""

    def __init__(self, client: TestClient, key: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {key}"}

    def do(self, case_id: object, step: str, body: object = None) -> Response:
        """Post a step of a case."""
        url = f"/v1/cases/{case_id}/{step}"
        if body is None:
            return self.client.post(url, headers=self.headers)
        return self.client.post(url, json=body, headers=self.headers)

    def case(self, case_id: object) -> Any:
        """Read a case."""
        answer = self.client.get(f"/v1/cases/{case_id}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def queue(self, query: str = "") -> Any:
        """Read the queue."""
        answer = self.client.get(f"/v1/cases{query}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def desks(client: TestClient, officer_key: OfficerKeys) -> dict[str, Desk]:
    """Two officers and a supervisor of 530102."""
    return {
        name: Desk(client, officer_key(name, role=role, division_code="530102"))
        for name, role in (("first", "officer"), ("second", "officer"), ("supervisor", "supervisor"))
    }


@pytest.fixture
def case_id(database: Database) -> UUID:
    """A case of 530102 with two candidates."""
    with database.write() as session:
        add_person(session, "P-subject", level_code="30")
        return add_case(session).id


def test_a_duplicate_is_confirmed_from_the_check_to_the_notices(
    client: TestClient, headers: Headers, desks: dict[str, Desk]
) -> None:
    put_person(client, headers, "P1", portrait(1), division_code="530102")
    put_person(client, headers, "P1-again", portrait(1, 1), division_code="530302")
    check = post_check(client, headers, "T1", portrait(1, 2), person_id="P1").json()
    first, second = desks["first"], desks["second"]

    (line,) = first.queue()["items"]
    assert (line["id"], line["transaction"]["id"], line["candidates"]) == (check["case_id"], "T1", 1)
    shown = first.case(line["id"])
    assert shown["candidates"][0]["false_alarm_rate"] == check["candidates"][0]["false_alarm_rate"]
    assert shown["searches"][0]["threshold"] == check["threshold"]
    assert shown["subject"]["person_id"] == "P1"

    conclusion = SAME | {"person_id": "P1-again"}
    body = {"conclusions": [conclusion], "registration_to_cancel": "P1-again"}
    claimed = first.do(line["id"], "claim").json()
    assert claimed["claim"]["mine"] is True
    decided = first.do(line["id"], "decisions", body | {"expected_revision": claimed["revision"]})
    assert (decided.status_code, decided.json()["state"]) == (200, "awaiting_second_officer")
    status = client.get(f"/v1/checks/{check['check_id']}", headers=headers).json()["status"]
    assert status == "awaiting_second_officer"

    waiting = second.case(line["id"])
    assert waiting["to_confirm"] == ["P1-again"]
    assert waiting["decisions"][0]["concealed"] is True
    assert "scar" not in str(waiting)
    assert first.do(line["id"], "claim").json()["type"] == "/problems/same-officer"
    confirmed = second.do(line["id"], "confirmation", body).json()
    assert confirmed["state"] == "duplicate_confirmed"
    assert [decision["concealed"] for decision in confirmed["decisions"]] == [False, False]

    check_now = client.get(f"/v1/checks/{check['check_id']}", headers=headers).json()
    assert check_now["status"] == "duplicate_confirmed"
    notices = client.get("/v1/notices", headers=headers).json()["items"]
    assert [(n["kind"], n["recipient"], n["transaction_id"]) for n in notices] == [
        ("terminate", "population-system", "T1"),
        ("cancel_request", "530302", "T1"),
    ]
    withdrawal = client.post(f"/v1/checks/{check['check_id']}/withdraw", headers=headers)
    assert (withdrawal.status_code, withdrawal.json()["type"]) == (409, "/problems/check-settled")


def test_a_withdrawn_check_leaves_the_queue(
    client: TestClient, headers: Headers, desks: dict[str, Desk]
) -> None:
    put_person(client, headers, "P1", portrait(1))
    check = post_check(client, headers, "T1", portrait(1, 1)).json()
    desks["first"].do(check["case_id"], "claim")
    withdrawn = client.post(f"/v1/checks/{check['check_id']}/withdraw", headers=headers)
    assert withdrawn.json()["status"] == "withdrawn"
    assert desks["first"].queue()["items"] == []
    late = desks["first"].do(check["case_id"], "decisions", {"conclusions": [DIFFERENT]})
    assert (late.status_code, late.json()["type"], late.json()["state"]) == (
        409,
        "/problems/case-state",
        "withdrawn",
    )


def test_a_portrait_that_cannot_be_searched_is_settled_by_hand(
    client: TestClient, headers: Headers, desks: dict[str, Desk]
) -> None:
    put_person(client, headers, "P1")
    check = post_check(client, headers, "T1", person_id="P1").json()
    shown = desks["first"].case(check["case_id"])
    assert (shown["kind"], shown["candidates"], shown["reasons"]) == (
        "not_searchable",
        [],
        ["no-portrait"],
    )
    missing = desks["first"].do(check["case_id"], "decisions", {"conclusions": []})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "manual_conclusion")
    by_hand = {"outcome": "cleared", "reason": "Two witnesses."}
    bare = desks["first"].do(check["case_id"], "decisions", {"manual_conclusion": by_hand})
    assert (bare.status_code, bare.json()["type"]) == (422, "/problems/evidence-missing")
    body = {"manual_conclusion": by_hand | {"evidence": DOCUMENT}}
    assert desks["first"].do(check["case_id"], "decisions", body).json()["state"] == "cleared"
    (notice,) = client.get("/v1/notices", headers=headers).json()["items"]
    assert (notice["kind"], notice["payload"]["transaction"]["id"]) == ("release", "T1")


def test_disagreement_appeal_and_reversal(
    client: TestClient, headers: Headers, desks: dict[str, Desk], case_id: UUID
) -> None:
    desks["first"].do(case_id, "decisions", SUSPECTING)
    disputed = desks["second"].do(case_id, "confirmation", {"conclusions": [DIFFERENT]}).json()
    assert (disputed["state"], disputed["escalated"], disputed["round"]) == ("under_review", True, 2)
    assert desks["first"].do(case_id, "claim").status_code == 403
    cleared = desks["supervisor"].do(case_id, "decisions", CLEARING).json()
    assert cleared["state"] == "cleared"
    reason = {"reason": "Appeal with a new birth record."}
    assert desks["first"].do(case_id, "reopen", reason).status_code == 403
    reopened = desks["supervisor"].do(case_id, "reopen", reason).json()
    assert (reopened["state"], reopened["round"], reopened["closed_at"]) == ("under_review", 3, None)
    assert reopened["decisions"][-1]["reason"] == reason["reason"]
    release, reversal = client.get("/v1/notices", headers=headers).json()["items"]
    assert (release["kind"], reversal["kind"], reversal["reverses"]) == ("release", "reversal", release["id"])


def test_the_queue_pages_counts_and_filters(database: Database, desks: dict[str, Desk]) -> None:
    with database.write() as session:
        ids = [str(add_case(session).id) for _ in range(3)]
        ids.append(str(add_case(session, [], kind=CaseKind.NOT_SEARCHABLE).id))
    first = desks["first"]
    page = first.queue("?limit=3")
    assert [line["id"] for line in page["items"]] == ids[:3]
    assert [line["id"] for line in first.queue(f"?limit=3&after={page['next']}")["items"]] == ids[3:]
    assert page["counts"]["states"]["under_review"] == 4
    first.do(ids[1], "claim")
    assert [line["id"] for line in first.queue("?mine=true")["items"]] == [ids[1]]
    assert [line["id"] for line in first.queue("?kind=not_searchable")["items"]] == [ids[3]]
    assert first.queue("?state=cleared&state=withdrawn")["items"] == []


def test_reading_a_case_is_on_record(database: Database, desks: dict[str, Desk], case_id: UUID) -> None:
    desks["first"].case(case_id)
    with database.read() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.kind == "case-viewed")).one()
        assert (event.actor, event.subject, event.actor_kind) == ("first", f"case:{case_id}", "officer")
        assert event.request_id is not None


def test_clients_operators_and_auditors_are_kept_out(
    client: TestClient,
    database: Database,
    client_key: ClientKeys,
    officer_key: OfficerKeys,
    case_id: UUID,
) -> None:
    keys = [client_key(), officer_key(role="operator"), officer_key(role="auditor")]
    before = contents(database)
    for key in keys:
        outsider = Desk(client, key)
        assert client.get("/v1/cases", headers=outsider.headers).status_code == 403
        assert client.get(f"/v1/cases/{case_id}", headers=outsider.headers).status_code == 403
        for step in ("claim", "release", "decisions", "confirmation", "reopen"):
            answer = outsider.do(case_id, step, {"nonsense": 1})
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert client.get("/v1/cases").status_code == 401
    assert contents(database) == before


def test_another_divisions_case_answers_like_one_that_does_not_exist(
    client: TestClient, officer_key: OfficerKeys, case_id: UUID
) -> None:
    stranger = Desk(client, officer_key(role="supervisor", division_code="530300"))
    steps = {
        "claim": None,
        "release": None,
        "decisions": CLEARING,
        "confirmation": AGREEING,
        "reopen": {"reason": "x"},
    }
    for step, body in steps.items():
        theirs, nobodys = stranger.do(case_id, step, body), stranger.do(uuid4(), step, body)
        assert (theirs.status_code, nobodys.status_code) == (404, 404)
        assert {k: v for k, v in theirs.json().items() if k != "instance"} == {
            k: v for k, v in nobodys.json().items() if k != "instance"
        }
    assert client.get(f"/v1/cases/{case_id}", headers=stranger.headers).status_code == 404
    assert stranger.queue()["items"] == []


HOSTILE: list[Any] = [
    [],
    "text",
    {},
    {"conclusions": "all"},
    {"conclusions": [SAME]},
    {"conclusions": [SAME, SAME, OTHER], "registration_to_cancel": "P-first"},
    {"conclusions": [SAME, OTHER]},
    {"conclusions": [SAME, OTHER], "registration_to_cancel": "P-else"},
    {"conclusions": [DIFFERENT, OTHER], "registration_to_cancel": "P-first"},
    {"conclusions": [DIFFERENT | {"reason": ""}, OTHER]},
    {"conclusions": [DIFFERENT | {"reason": " \n "}, OTHER]},
    {"conclusions": [DIFFERENT | {"reason": "a\u0000b"}, OTHER]},
    {"conclusions": [DIFFERENT | {"reason": "x" * 2001}, OTHER]},
    {"conclusions": [DIFFERENT | {"conclusion": "duplicate"}, OTHER]},
    {"conclusions": [DIFFERENT | {"score": 0.9}, OTHER]},
    {"conclusions": [DIFFERENT, OTHER | {"person_id": "P-else"}]},
    {"conclusions": [SAME | {"evidence": []}, OTHER], "registration_to_cancel": "P-first"},
    {"conclusions": [SAME | {"evidence": [{"kind": "face", "reference": "x"}]}, OTHER]},
    {"conclusions": [SAME | {"evidence": [{"kind": "dna"}]}, OTHER]},
    {"conclusions": [SAME | {"evidence": DOCUMENT * 21}, OTHER]},
    {"conclusions": [DIFFERENT, OTHER] * 101},
    {"conclusions": [DIFFERENT, OTHER], "state": "cleared"},
    {"conclusions": [DIFFERENT, OTHER], "expected_revision": 0},
    {"conclusions": [DIFFERENT, OTHER], "manual_conclusion": {"outcome": "cleared", "reason": "x"}},
    {
        "conclusions": [DIFFERENT, OTHER],
        "identity_established": {"person_id": "P-subject", "level_code": "30", "reason": "x"},
    },
]


def test_malformed_opinions_change_nothing(database: Database, desks: dict[str, Desk], case_id: UUID) -> None:
    before = contents(database)
    for body in HOSTILE:
        answer = desks["first"].do(case_id, "decisions", body)
        assert answer.status_code == 422, (body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json", body
        assert answer.json()["type"] in ("/problems/invalid-request", "/problems/evidence-missing"), body
    assert contents(database) == before


HOSTILE_FILTERS = ["state=open", "kind=x", "division=53'", "division=%00", "after=x", "limit=0", "limit=201"]


def test_malformed_filters_are_refused(desks: dict[str, Desk]) -> None:
    for query in [*HOSTILE_FILTERS, "page=2"]:
        answer = desks["first"].client.get(f"/v1/cases?{query}", headers=desks["first"].headers)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request"), query


def test_a_case_that_moved_on_is_told_plainly(desks: dict[str, Desk], case_id: UUID) -> None:
    first, second = desks["first"], desks["second"]
    claimed = first.do(case_id, "claim", {"expected_revision": 1}).json()
    assert first.do(case_id, "claim", {"expected_revision": 1}).status_code == 200
    for step, body in (("claim", None), ("release", None), ("decisions", CLEARING)):
        answer = second.do(case_id, step, body)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/case-state")
        assert answer.json()["claimed_at"].startswith(claimed["claim"]["claimed_at"][:19])
        assert "first" not in answer.text
    stale = first.do(case_id, "decisions", CLEARING | {"expected_revision": 1})
    assert (stale.status_code, stale.json()["revision"]) == (409, 2)
    assert first.do(case_id, "release").json()["claim"] is None
    assert second.do(case_id, "decisions", CLEARING).json()["state"] == "cleared"
    assert second.do(case_id, "decisions", CLEARING).status_code == 409
