"""Fills a scratch installation with enrolled persons: made-up templates, sealed as real ones are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import insert
from sqlalchemy.orm import Session

from index.pack import Pack
from index.types import Vectors
from scripts.benchmark_data import PROFILES, make_persons
from service.database import Database
from service.encryption.templates import sealed_template
from service.encryption.vault import Vault, vault_of
from service.galleries.repository import ENROL, append_changes
from service.months import Month
from service.persons.enrolment import FLAGGED
from service.portrait_store import PortraitStore, owner_of_person
from service.register.flags import FlagEvent, region_of
from service.tables import Person, PersonFlagEvent, Portrait, RegisterEntry, Template, now

BATCH = 5000
"""Persons of one transaction."""

DIVISIONS = [
    f"53{prefecture:02d}{county:02d}" for prefecture in (1, 3, 4, 5, 6, 7) for county in range(1, 10)
]
LANDMARKS = [[130.0, 205.0], [228.0, 205.0], [179.0, 262.0], [139.0, 315.0], [219.0, 315.0]]
QUALITY = {"inter_eye_px": 98.0, "sharpness": 0.6}


class ChecksData:
    """Enrols persons whose templates follow the scores of real ones."""

    def __init__(self, database: Database, store: PortraitStore, pack: Pack) -> None:
        """Write into a fresh installation."""
        self._database = database
        self._store = store
        self._pack = pack
        self._next = 1

    def enrol_strangers(self, count: int) -> None:
        """Enrol so many persons who resemble each other as strangers do; they have no picture."""
        vectors = make_persons(count, PROFILES["arcface"], dimension=self._pack.dimension, seed=1)
        for start in range(0, count, BATCH):
            self._enrol(vectors[start : start + BATCH], {})

    def enrol(self, portrait: bytes, template: Vectors) -> None:
        """Enrol somebody with a picture."""
        owner = owner_of_person(person_id(self._next))
        self._enrol(template[np.newaxis], {self._next: self._store.put(portrait, owner=owner)})

    def _enrol(self, vectors: Vectors, locations: dict[int, str]) -> None:
        numbers = range(self._next, self._next + len(vectors))
        with self._database.write() as session:
            self._write(session, numbers, vectors, locations)
        self._next = numbers.stop

    def _write(
        self, session: Session, numbers: Sequence[int], vectors: Vectors, locations: dict[int, str]
    ) -> None:
        """Write rows whose keys are given: nobody else writes into this database."""
        contract_id, vault = self._pack.contract_id, vault_of(session)
        persons = [_person(number) for number in numbers]
        session.execute(insert(Person), persons)
        session.execute(insert(RegisterEntry), [_entry(person) for person in persons])
        session.execute(insert(PersonFlagEvent), [_flagged(person) for person in persons])
        session.execute(insert(Portrait), [_portrait(number, locations) for number in numbers])
        session.execute(
            insert(Template),
            [
                _template(number, contract_id, vector.astype("<f4").tobytes(), vault)
                for number, vector in zip(numbers, vectors, strict=True)
            ],
        )
        append_changes(session, FLAGGED, [(ENROL, number, number) for number in numbers])


def person_id(number: int) -> str:
    """Return the key of a person, by their number from 1."""
    return f"B{number:08d}"


def _person(number: int) -> dict[str, Any]:
    return {
        "key": number,
        "person_id": person_id(number),
        "level_code": "30",
        "name": f"某{number}",
        "sex": str(number % 2 + 1),
        "division_code": DIVISIONS[number % len(DIVISIONS)],
        "gallery": FLAGGED,
    }


def _entry(person: dict[str, Any]) -> dict[str, Any]:
    """Return the line of the register that a flagged person has; the service would add it by and by."""
    moment = now()
    return {
        "person_id": person["person_id"],
        "division_code": person["division_code"],
        "flagged_at": moment,
        "changed_at": moment,
    }


def _flagged(person: dict[str, Any]) -> dict[str, Any]:
    moment = now()
    return {
        "person_id": person["person_id"],
        "kind": FlagEvent.FLAGGED,
        "region": region_of(person["division_code"]),
        "month": str(Month.of(moment)),
        "at": moment,
    }


def _portrait(number: int, locations: dict[int, str]) -> dict[str, Any]:
    return {
        "reference_id": number,
        "person_key": number,
        "sha256": f"{number:064d}",
        "format": "jpeg",
        "location": locations.get(number) or f"{number % 256:02x}/{number:032x}.sealed",
        "quality": QUALITY,
        "marks": [],
        "landmarks": LANDMARKS,
    }


def _template(number: int, contract_id: str, vector: bytes, vault: Vault) -> dict[str, Any]:
    return {
        "reference_id": number,
        "contract_id": contract_id,
        "vector": sealed_template(vault, number, contract_id, vector),
    }
