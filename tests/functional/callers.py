"""The population system and the officers, calling a service process over real HTTP."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

AUTHORITY = "530102"
"""The authority that handles the transactions."""

TIMEOUT_S = 60.0


def in_base64(data: bytes) -> str:
    """The wire form of a picture."""
    return base64.b64encode(data).decode()


class Caller:
    """Somebody with a key."""

    def __init__(self, address: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Read something that must be there."""
        return expected(self._http.get(path, params=query), 200)

    def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Do something that must succeed."""
        return expected(self._http.post(path, json=body), status)

    def status_of(self, path: str) -> int:
        """Read something and tell only how it was answered."""
        return self._http.get(path).status_code

    def send_person(self, person_id: str, *pictures: bytes, **fields: Any) -> httpx.Response:
        """Store a registration, flagged unless told otherwise; without pictures those stored are kept."""
        body: dict[str, Any] = {"level_code": "30", "division_code": AUTHORITY, **fields}
        if pictures:
            body["portraits"] = [{"image": in_base64(picture)} for picture in pictures]
        return self._http.put(f"/v1/persons/{person_id}", json=body)

    def put_person(self, person_id: str, *pictures: bytes, **fields: Any) -> Any:
        """Store a registration that must be taken."""
        answer = self.send_person(person_id, *pictures, **fields)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    def delete_person(self, person_id: str) -> httpx.Response:
        """Erase a registration."""
        return self._http.delete(f"/v1/persons/{person_id}")

    def send_check(
        self,
        transaction_id: str,
        picture: bytes | None = None,
        *,
        person_id: str | None = None,
        authority: str = AUTHORITY,
    ) -> httpx.Response:
        """Ask about a household transfer."""
        transaction = {"id": transaction_id, "type": "household-transfer-in", "authority": authority}
        body: dict[str, Any] = {"transaction": transaction}
        if picture is not None:
            body["portrait"] = in_base64(picture)
        if person_id is not None:
            body["person_id"] = person_id
        return self._http.post("/v1/checks", json=body)

    def check(self, transaction_id: str, picture: bytes | None = None, **wanted: Any) -> Any:
        """Ask about a household transfer that must be answered."""
        return expected(self.send_check(transaction_id, picture, **wanted), 201)


@contextmanager
def calling(address: str, key: str) -> Iterator[Caller]:
    """A caller while the block runs."""
    caller = Caller(address, key)
    try:
        yield caller
    finally:
        caller.close()


def expected(answer: httpx.Response, status: int) -> Any:
    """Return the body of an answer that must have a status."""
    assert answer.status_code == status, answer.text
    return answer.json()
