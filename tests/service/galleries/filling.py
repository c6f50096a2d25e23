"""Persons straight into the database, for tests that need many or need none of the encoding."""

import numpy as np

from index.types import Vectors
from service.database import Database
from service.encryption.templates import sealed_template
from service.encryption.vault import vault_of
from service.persons.enrolment import ChangeBook
from service.tables import Person, Portrait, Template


def unit_vectors(count: int, dimension: int, seed: int = 0) -> Vectors:
    """Independent random directions, shape (count, dimension)."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def fill(
    database: Database, vectors: Vectors, *, contract_id: str, gallery: str = "flagged", prefix: str = "P"
) -> list[int]:
    """Enrol one person per vector and return their keys."""
    with database.write() as session:
        book = ChangeBook()
        keys = []
        for at, vector in enumerate(vectors):
            person = Person(person_id=f"{prefix}{at}", level_code="30", gallery=gallery)
            session.add(person)
            session.flush()
            portrait = Portrait(
                person_key=person.key,
                sha256=f"{at:064d}",
                format="jpeg",
                location=f"00/{at:032x}.jpeg",
                quality={},
                marks=[],
                landmarks=[],
            )
            session.add(portrait)
            session.flush()
            session.add(
                Template(
                    reference_id=portrait.reference_id,
                    contract_id=contract_id,
                    vector=sealed_template(
                        vault_of(session),
                        portrait.reference_id,
                        contract_id,
                        vector.astype("<f4").tobytes(),
                    ),
                )
            )
            book.enrol(gallery, portrait.reference_id, person.key)
            keys.append(person.key)
        session.flush()
        book.record(session)
    return keys
