"""Requests that many tests make, in the caller's own words."""

import base64
import json
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

from service.database import Database
from service.tables import Base, DataKey
from tests.synthetic import synthetic_portrait

Headers = dict[str, str]


def portrait(person: int, shot: int = 0, faces: int = 1) -> bytes:
    """A portrait of an invented person, as the synthetic pack understands it."""
    return synthetic_portrait(person, shot, faces=faces)


def in_base64(data: bytes) -> str:
    """The wire form of a picture."""
    return base64.b64encode(data).decode()


def put_person(
    client: TestClient, headers: Headers, person_id: str, *pictures: bytes, **fields: Any
) -> Response:
    """Store a registration, flagged unless the test says otherwise."""
    body: dict[str, Any] = {"level_code": "30", **fields}
    if "portraits" not in fields:
        body["portraits"] = [{"image": in_base64(picture)} for picture in pictures]
    if body["portraits"] is None:
        del body["portraits"]
    # httpx would refuse to send an unpaired surrogate; a hostile client would not.
    content = json.dumps(body).encode()
    return client.put(
        f"/v1/persons/{person_id}", content=content, headers=headers | {"content-type": "application/json"}
    )


def post_check(
    client: TestClient,
    headers: Headers,
    transaction_id: str,
    picture: bytes | None = None,
    *,
    person_id: str | None = None,
    kind: str = "household-transfer-in",
    authority: str = "530102",
) -> Response:
    """Ask about a transaction."""
    body: dict[str, Any] = {"transaction": {"id": transaction_id, "type": kind, "authority": authority}}
    if picture is not None:
        body["portrait"] = in_base64(picture)
    if person_id is not None:
        body["person_id"] = person_id
    return client.post("/v1/checks", json=body, headers=headers)


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the database but the audit trail and keys, to prove that a request changed nothing."""
    with database.read() as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(table.select())), key=repr)
            for table in Base.metadata.sorted_tables
            if not table.name.startswith("audit_") and table.name != DataKey.__tablename__
        }
