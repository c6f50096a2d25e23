"""The application as a whole: it starts, says that it is ready, and closes."""

from fastapi.testclient import TestClient


def test_the_application_starts_and_is_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.json()
    report = answer.json()
    assert report["ready"] is True
    assert {"database", "schema", "pack", "portrait_store", "gallery:flagged", "gallery:registered"} == set(
        report["parts"]
    )
