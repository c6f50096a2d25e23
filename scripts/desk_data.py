"""Fills a scratch installation with open cases, as many as a province might have in a bad week."""

import io
import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from PIL import Image
from sqlalchemy import insert
from sqlalchemy.orm import Session

from service.auth.service import Role, add_officer
from service.auth.sessions import start_session
from service.database import Database
from service.encryption.vault import vault_of
from service.portrait_store import PortraitStore, owner_of_check, owner_of_person
from service.review.urgency import urgency_of
from service.settings import Settings
from service.tables import Case, CaseCandidate, Check, Officer, Person, Portrait, now

WIDTH, HEIGHT = 358, 441
"""Pixels of an ID-card portrait. Source: GA 461."""

EYES_AND_MOUTH = [[130.0, 205.0], [228.0, 205.0], [179.0, 262.0], [139.0, 315.0], [219.0, 315.0]]
"""Landmarks of such a portrait: eyes 98 pixels apart, at least 207 above the bottom."""

DIVISIONS = [
    f"53{prefecture:02d}{county:02d}" for prefecture in (1, 3, 4, 5, 6, 7) for county in range(1, 10)
]
TYPES = ("household-transfer-in", "household-transfer-out", "id-card-renewal", "late-registration")
PERSONS = 300
"""Registrations that candidates are taken from; each has two portraits."""

WITH_PROBE = 200
"""The most urgent cases, which are the ones that are opened, have the portrait that was searched."""

BATCH = 2000


class DeskData:
    """Writes what the desk shows, the same for the same number of cases."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Write into a fresh installation."""
        self._database = database
        self._store = PortraitStore(settings.portraits_dir, vault_of(database.info))
        self._chance = random.Random(5301)

    def officer(self) -> str:
        """Make an officer of the province and return the token of a page session."""
        with self._database.write() as session:
            officer, _ = add_officer(
                session, "bench", name="Bench", role=Role.OFFICER, division_code="530000"
            )
            return start_session(session, session.get_one(Officer, officer.id), hours=8)

    def fill(self, cases: int) -> None:
        """Write registrations with portraits, and open cases about them."""
        keys = self._persons()
        rows = [self._case(number, cases) for number in range(cases)]
        for number, row in enumerate(sorted(rows, key=lambda row: (row["urgency"], row["opened_at"]))):
            row["probe"] = number < WITH_PROBE
        for start in range(0, cases, BATCH):
            batch = rows[start : start + BATCH]
            with self._database.write() as session:
                self._write(session, batch, keys)

    def _persons(self) -> list[int]:
        with self._database.write() as session:
            persons = [self._person(number) for number in range(PERSONS)]
            session.add_all(persons)
            session.flush()
            return [person.key for person in persons]

    def _person(self, number: int) -> Person:
        person_id = f"P{number:06d}"
        return Person(
            person_id=person_id,
            level_code="30",
            citizen_id_number="11010519491231002X",
            name=f"某{number}",
            sex="2",
            division_code=self._chance.choice(DIVISIONS),
            portraits=[
                Portrait(
                    sha256=f"{number:032d}{shot:032d}",
                    format="jpeg",
                    location=self._store.put(self._picture(), owner=owner_of_person(person_id)),
                    quality={},
                    marks=[],
                    landmarks=EYES_AND_MOUTH,
                )
                for shot in range(2)
            ],
        )

    def _picture(self) -> bytes:
        """Return a portrait-sized JPEG of 14 to 20 KB, which nobody's face is in."""
        noise = np.random.default_rng(self._chance.randrange(2**32)).normal(0, 9, (HEIGHT, WIDTH, 3))
        shade = np.linspace(70, 220, HEIGHT)[:, None, None]
        file = io.BytesIO()
        Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=60)
        return file.getvalue()

    def _case(self, number: int, cases: int) -> dict[str, Any]:
        waits = self._chance.random() < 0.9
        rates = [10 ** self._chance.uniform(-6, -2) for _ in range(self._chance.randint(1, 3))]
        kind = self._chance.choice(TYPES) if waits else None
        return {
            "id": uuid4(),
            "kind": "transaction" if waits else "sweep",
            "check_id": uuid4() if waits else None,
            "transaction_type": kind,
            "division_code": self._chance.choice(DIVISIONS),
            "urgency": urgency_of(waits=waits, lowest_false_alarm_rate=min(rates)),
            "opened_at": now() - timedelta(minutes=10 * (cases - number) / 50),
            "rates": sorted(rates),
            "number": number,
        }

    def _write(self, session: Session, batch: Sequence[dict[str, Any]], keys: Sequence[int]) -> None:
        session.execute(insert(Check), [self._check(row) for row in batch if row["check_id"] is not None])
        columns = ("id", "kind", "check_id", "transaction_type", "division_code", "urgency", "opened_at")
        session.execute(
            insert(Case), [{name: row[name] for name in columns} | {"state": "under_review"} for row in batch]
        )
        session.execute(insert(CaseCandidate), [one for row in batch for one in self._candidates(row, keys)])

    def _check(self, row: dict[str, Any]) -> dict[str, Any]:
        transaction_id = f"T-{row['number']:07d}"
        probe: dict[str, Any] = dict.fromkeys(("probe_location", "probe_format", "probe_landmarks"))
        if row["probe"]:
            location = self._store.put(self._picture(), owner=owner_of_check(transaction_id))
            probe = {
                "probe_location": location,
                "probe_format": "jpeg",
                "probe_landmarks": EYES_AND_MOUTH,
            }
        return probe | {
            "id": row["check_id"],
            "transaction_id": transaction_id,
            "transaction_type": row["transaction_type"],
            "authority": row["division_code"],
            "fingerprint": "0" * 64,
            "outcome": "candidates",
            "instruction": "hold",
            "reasons": [],
            "pack": "benchmark",
            "contract_id": "0" * 64,
            "timings_ms": {},
            "client": "benchmark",
            "created_at": row["opened_at"],
        }

    def _candidates(self, row: dict[str, Any], keys: Sequence[int]) -> Iterator[dict[str, Any]]:
        case_id: UUID = row["id"]
        for rank, (place, rate) in enumerate(
            zip(self._chance.sample(range(len(keys)), len(row["rates"])), row["rates"], strict=True), start=1
        ):
            yield {
                "case_id": case_id,
                "rank": rank,
                "person_id": f"P{place:06d}",
                "person_key": keys[place],
                "reference_id": 2 * place + 1,
                "gallery": "flagged",
                "score": 0.7 - rank / 20,
                "false_alarm_rate": rate,
                "false_alarm_low": rate / 3,
                "false_alarm_high": rate * 3,
                "extrapolated": False,
            }
