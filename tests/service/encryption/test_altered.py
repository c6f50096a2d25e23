"""Single bits changed on the disk and in the database: all found, none served."""

import random
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from index.errors import GenerationError
from index.pack import Pack, load_pack
from index.snapshot import current, load_generation
from service.app import create_app
from service.database import Database
from service.encryption.soundness import altered_templates
from service.errors import GalleryNotReadyError
from service.examination import examine
from service.galleries import repository
from service.galleries.keeper import gallery_place, generation_cipher
from service.galleries.service import Galleries
from service.settings import Settings
from service.tables import DataKey, Template
from tests.service.calls import Headers, portrait, post_check, put_person
from tests.service.conftest import SQLITE_ONLY
from tests.service.galleries.filling import fill, unit_vectors

CHANGES = 200
SEED = 20261126


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


def flipped(data: bytes, rng: random.Random) -> bytes:
    altered = bytearray(data)
    bit = rng.randrange(8 * len(altered))
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


@SQLITE_ONLY
def test_two_hundred_changed_bits_of_a_generation_are_found(
    database: Database, settings: Settings, pack: Pack
) -> None:
    vectors = unit_vectors(30, pack.dimension)
    fill(database, vectors, contract_id=pack.contract_id)
    Galleries(database=database, settings=settings, pack=pack).open()
    place = gallery_place(settings, "flagged", contract_id=pack.contract_id, dimension=pack.dimension)
    generation = current(place.directory)
    assert generation is not None
    files = sorted(generation.iterdir())
    assert len(files) == 7
    rng = random.Random(SEED)
    with database.read() as session:
        cipher = generation_cipher(session, place)
        other = generation_cipher(
            session, gallery_place(settings, "registered", contract_id=pack.contract_id, dimension=64)
        )
        for number in range(CHANGES):
            file = files[number % len(files)]
            whole = file.read_bytes()
            file.write_bytes(flipped(whole, rng))
            with pytest.raises(GenerationError):
                load_generation(generation, contract_id=pack.contract_id, cipher=cipher)
            file.write_bytes(whole)
        with pytest.raises(GenerationError):  # Moved to another gallery.
            load_generation(generation, contract_id=pack.contract_id, cipher=other)
        references, _ = load_generation(generation, contract_id=pack.contract_id, cipher=cipher)
    assert np.array_equal(references.vectors, vectors)


@SQLITE_ONLY
def test_a_column_of_another_generation_of_the_same_gallery_is_refused(
    database: Database, settings: Settings, pack: Pack
) -> None:
    fill(database, unit_vectors(10, pack.dimension), contract_id=pack.contract_id)
    galleries = Galleries(database=database, settings=settings, pack=pack)
    galleries.open()
    place = galleries.place("flagged")
    first = current(place.directory)
    with database.read() as session:
        galleries._backend.write(session, place, switch=True)
        second = current(place.directory)
        assert first is not None
        assert second is not None
        (second / "vectors.npy").write_bytes((first / "vectors.npy").read_bytes())
        with pytest.raises(GenerationError, match="altered"):
            load_generation(second, contract_id=pack.contract_id, cipher=generation_cipher(session, place))


def test_two_hundred_changed_bits_of_templates_are_found_and_none_is_served(
    database: Database, settings: Settings, pack: Pack
) -> None:
    vectors = unit_vectors(CHANGES + 1, pack.dimension)
    fill(database, vectors, contract_id=pack.contract_id)
    rng = random.Random(SEED)
    with database.write() as session:
        for row in session.scalars(select(Template).order_by(Template.reference_id).limit(CHANGES)):
            row.vector = flipped(row.vector, rng)
    with database.read() as session:
        read, damaged = repository.load_references(session, "flagged", pack.contract_id, pack.dimension)
        assert damaged == set(range(1, CHANGES + 1))
        assert np.array_equal(read.vectors, vectors[CHANGES:])
        assert len(altered_templates(session)) == CHANGES
    galleries = Galleries(database=database, settings=settings, pack=pack)
    galleries.open()
    assert not galleries.states()[0].ready
    with pytest.raises(GalleryNotReadyError):
        galleries.search(["flagged"], vectors[-1], exclude=frozenset(), limit=3)


@SQLITE_ONLY
def test_a_template_in_another_persons_row_is_not_served_and_the_doctor_names_both(
    database: Database, settings: Settings, headers: Headers, app: FastAPI
) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        for person in (1, 2, 3):
            put_person(client, headers, f"P{person}", portrait(person))
        assert post_check(client, headers, "T0", portrait(1, 1)).status_code == 201
        with database.write() as session:
            first, second = session.scalars(select(Template).order_by(Template.reference_id)).all()[:2]
            first.vector, second.vector = second.vector, first.vector
        # The running gallery has what was enrolled; it goes on until it has to read the rows again.
        assert post_check(client, headers, "T1", portrait(1, 1)).json()["candidates"][0]["person_id"] == "P1"
        for name in ("P1", "P2"):
            answer = post_check(client, headers, f"T-{name}", person_id=name)
            assert answer.status_code == 503
            assert answer.json()["type"] == "/problems/gallery-not-ready"
        assert post_check(client, headers, "T3", person_id="P3").status_code == 201
    findings = {finding.part: finding for finding in examine(settings)}
    assert not findings["templates"].ok
    assert findings["templates"].detail.endswith("2 persons were altered outside OnePerson: P1, P2")


@SQLITE_ONLY
def test_a_key_that_is_not_given_shows_in_readyz(settings: Settings, database: Database) -> None:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert client.get("/readyz").json()["parts"]["encryption"]["ready"]
        with database.write() as session:
            session.add(DataKey(master_key_id="f" * 16, algorithm="aes-256-gcm", wrapped=bytes(80)))
        client.app.state.readiness._last = None  # type: ignore[attr-defined]
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "f" * 16 in answer.json()["parts"]["encryption"]["detail"]
