"""Figures for Prometheus."""

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.settings import Settings
from tests.service.calls import portrait, post_check, put_person
from tests.service.conftest import SQLITE_ONLY

pytestmark = SQLITE_ONLY


def samples(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(client: TestClient) -> None:
    for person in ("P1", "P2", "P3"):
        client.get(f"/v1/persons/{person}")
    client.get("/nowhere/530102199003071234")
    client.request("SECRETMETHOD", "/healthz")
    found = samples(client)
    read = (("method", "GET"), ("route", "/v1/persons/{person_id}"), ("status", "401"))
    unknown = (("method", "GET"), ("route", "(none)"), ("status", "404"))
    odd = (("method", "other"), ("route", "/healthz"), ("status", "405"))
    assert found["oneperson_request_seconds_count", read] == 3
    assert found["oneperson_request_seconds_count", unknown] == 1
    assert found["oneperson_request_seconds_count", odd] == 1
    assert found["oneperson_problems_total", (("code", "unauthenticated"),)] == 3
    assert not any("530102" in str(key) or "SECRET" in str(key) for key in found)


def test_galleries_and_the_queue_are_shown(client: TestClient) -> None:
    found = samples(client)
    assert found["oneperson_queue_depth", ()] == 0
    for gallery in ("flagged", "registered"):
        assert found["oneperson_gallery_persons", (("gallery", gallery),)] == 0
        assert found["oneperson_gallery_ready", (("gallery", gallery),)] == 1


def test_two_applications_count_apart(client: TestClient, settings: Settings) -> None:
    client.get("/nowhere")
    with TestClient(create_app(settings)) as other:
        assert not any(name == "oneperson_problems_total" for name, _ in samples(other))


def test_checks_are_counted_once_by_outcome(client: TestClient, headers: dict[str, str]) -> None:
    put_person(client, headers, "P1", portrait(1))
    post_check(client, headers, "T1", portrait(2))
    post_check(client, headers, "T1", portrait(2))
    post_check(client, headers, "T2", portrait(1, shot=1))
    post_check(client, headers, "T3", portrait(3), authority="nowhere")
    found = samples(client)
    assert found["oneperson_checks_total", (("outcome", "no_candidates"),)] == 1
    assert found["oneperson_checks_total", (("outcome", "candidates"),)] == 1
    assert found["oneperson_gallery_persons", (("gallery", "flagged"),)] == 1
