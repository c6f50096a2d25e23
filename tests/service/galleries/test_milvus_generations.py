"""Galleries on a Milvus server against the database: restarts, switches, rollback, a server that fails."""

import secrets
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from index.errors import BackendError, GenerationError
from index.pack import Pack, load_pack
from index.types import Vectors
from service.database import Database
from service.encryption.templates import sealed_template
from service.encryption.vault import vault_of
from service.errors import GalleryNotReadyError
from service.galleries.keeper import IncompleteError, gallery_place
from service.galleries.rebuild import write_generations
from service.galleries.repository import append_changes
from service.galleries.service import Galleries
from service.retention.collections import purge_collections, stale_collections
from service.settings import Settings
from service.tables import GalleryHead, Person, Template
from tests.milvus import needed
from tests.service.conftest import SQLITE_ONLY
from tests.service.galleries.filling import fill, unit_vectors

needed()

from index.milvus_gallery import MilvusGallery  # noqa: E402 - imports the extra
from index.milvus_server import MilvusServer  # noqa: E402 - imports the extra
from service.galleries.milvus_generations import MilvusGenerations, alias_of  # noqa: E402 - imports the extra

pytestmark = [pytest.mark.milvus, SQLITE_ONLY]


@pytest.fixture
def pack(settings: Settings) -> Pack:
    return load_pack(Path(settings.pack))


@pytest.fixture
def on_milvus(
    database: Database, settings: Settings, milvus_uri: str, milvus_server: MilvusServer
) -> Settings:
    """Settings with Milvus; the database, a copy of one made for many tests, gets a mark of its own."""
    with database.write() as session:
        session.execute(update(GalleryHead).values(epoch=secrets.token_hex(16)))
    return settings.model_copy(
        update={"gallery_backend": "milvus", "milvus_uri": milvus_uri, "keep_generations": 1}
    )


@pytest.fixture
def vectors(pack: Pack) -> Vectors:
    return unit_vectors(9, pack.dimension)


def opened(database: Database, settings: Settings, pack: Pack) -> Galleries:
    galleries = Galleries(database=database, settings=settings, pack=pack)
    galleries.open()
    return galleries


def found(galleries: Galleries, vector: Vectors) -> list[int]:
    (answer,) = galleries.search(("flagged",), vector, exclude=frozenset(), limit=5)
    return [candidate.person_key for candidate in answer.candidates]


def generation(galleries: Galleries) -> str:
    name = galleries.states()[0].generation
    assert name is not None
    return name


def collections(database: Database, galleries: Galleries, server: MilvusServer) -> list[str]:
    with database.read() as session:
        return server.names(f"{alias_of(session, galleries.place('flagged'))}_")


def erase(database: Database, key: int, reference_id: int) -> None:
    with database.write() as session:
        session.delete(session.get_one(Person, key))
        session.flush()
        append_changes(session, "flagged", [("remove", reference_id, key)])


def test_changes_are_seen_at_once_and_a_restart_goes_on_with_the_same_collection(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors
) -> None:
    first = opened(database, on_milvus, pack)
    keys = fill(database, vectors[:6], contract_id=pack.contract_id)
    assert found(first, vectors[3]) == [keys[3]]
    erase(database, keys[3], 4)
    assert found(first, vectors[3]) == []
    later = fill(database, vectors[6:], contract_id=pack.contract_id, prefix="Q")
    second = opened(database, on_milvus, pack)
    assert generation(second) == generation(first)
    assert second.states()[0].position == 10
    assert found(second, vectors[7]) == [later[1]]
    assert (second.states()[0].persons, second.states()[0].references) == (8, 8)


def test_a_restart_sends_nothing_that_is_there(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    opened(database, on_milvus, pack)

    def refuse(*_: object) -> None:
        raise AssertionError("a reference was sent although nothing has changed")

    monkeypatch.setattr(MilvusGallery, "fill", refuse)
    monkeypatch.setattr(MilvusGallery, "enrol", refuse)
    assert found(opened(database, on_milvus, pack), vectors[2]) == [keys[2]]


def test_a_collection_that_lost_a_reference_is_set_aside_and_made_again(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors, milvus_server: MilvusServer
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    first = opened(database, on_milvus, pack)
    milvus_server.open(generation(first), dimension=pack.dimension).delete([5])
    second = opened(database, on_milvus, pack)
    assert generation(second) != generation(first)
    assert found(second, vectors[4]) == [keys[4]]


def test_another_database_has_collections_of_its_own(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors
) -> None:
    fill(database, vectors, contract_id=pack.contract_id)
    first = opened(database, on_milvus, pack)
    with database.write() as session:
        session.execute(update(GalleryHead).values(epoch="0" * 32))
    second = opened(database, on_milvus, pack)
    assert generation(second).rsplit("_", 1)[0] != generation(first).rsplit("_", 1)[0]


def test_an_incomplete_gallery_does_not_answer_and_becomes_whole_when_encoded(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    with database.write() as session:
        session.execute(delete(Template).where(Template.reference_id == 3))
    galleries = opened(database, on_milvus, pack)
    with pytest.raises(GalleryNotReadyError, match="1 portraits"):
        found(galleries, vectors[0])
    with pytest.raises(IncompleteError):
        write_generations(database, on_milvus, pack, activate=True)
    with database.write() as session:
        vector = vectors[2].astype("<f4").tobytes()
        sealed = sealed_template(vault_of(session), 3, pack.contract_id, vector)
        session.add(Template(reference_id=3, contract_id=pack.contract_id, vector=sealed))
    assert found(galleries, vectors[2]) == [keys[2]]


def test_rebuild_switches_keeps_one_to_go_back_to_and_rollback_returns_to_it(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors, milvus_server: MilvusServer
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    serving = opened(database, on_milvus, pack)
    second = write_generations(database, on_milvus, pack, activate=True)["flagged"]
    assert found(serving, vectors[1]) == [keys[1]]
    assert generation(opened(database, on_milvus, pack)) == second
    third = write_generations(database, on_milvus, pack, activate=True)["flagged"]
    assert collections(database, serving, milvus_server) == [second, third]
    erase(database, keys[8], 9)
    with pytest.raises(GalleryNotReadyError):  # its collection was dropped: an error, never an empty answer
        found(serving, vectors[1])
    backend = MilvusGenerations(on_milvus)
    with database.read() as session:
        assert backend.roll_back(session, serving.place("flagged")) == second
    again = opened(database, on_milvus, pack)
    assert (generation(again), found(again, vectors[8]), found(again, vectors[1])) == (second, [], [keys[1]])
    with database.read() as session, pytest.raises(GenerationError, match="no earlier"):
        backend.roll_back(session, serving.place("flagged"))


def test_a_generation_built_without_switching_leaves_the_current_one(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors
) -> None:
    fill(database, vectors, contract_id=pack.contract_id)
    first = opened(database, on_milvus, pack)
    built = write_generations(database, on_milvus, pack, activate=False)["flagged"]
    assert built > generation(first)
    assert generation(opened(database, on_milvus, pack)) == generation(first)


def test_a_second_service_takes_over_and_the_first_stops_answering_at_the_next_change(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    first = opened(database, on_milvus, pack)
    second = opened(database, on_milvus, pack)
    erase(database, keys[0], 1)
    with pytest.raises(GalleryNotReadyError, match="taken over"):
        found(first, vectors[1])
    assert found(second, vectors[1]) == [keys[1]]
    assert found(second, vectors[0]) == []


def test_without_a_server_nothing_starts(database: Database, on_milvus: Settings, pack: Pack) -> None:
    nowhere = on_milvus.model_copy(update={"milvus_uri": "http://127.0.0.1:9", "search_timeout_s": 0.5})
    with pytest.raises(BackendError):
        opened(database, nowhere, pack)


def test_erased_templates_leave_every_collection_also_those_nobody_serves(
    database: Database, on_milvus: Settings, pack: Pack, vectors: Vectors, milvus_server: MilvusServer
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    earlier = generation(opened(database, on_milvus, pack))
    current = write_generations(database, on_milvus, pack, activate=True)["flagged"]
    unserved = build_with_another_pack(database, on_milvus, pack, vectors)
    serving = opened(database, on_milvus, pack)
    erase(database, keys[2], 3)
    with database.read() as session:  # The one that is served is brought up to date by whoever serves it.
        assert {one.name for one in stale_collections(session, on_milvus)} == {earlier, unserved}
    assert found(serving, vectors[2]) == []
    assert purge_collections(database, on_milvus) == 2
    backend = MilvusGenerations(on_milvus)
    for name in (earlier, current, unserved):
        assert backend.held(name) == {1, 2, 4, 5, 6, 7, 8, 9}
    with database.read() as session:
        assert list(stale_collections(session, on_milvus)) == []
    assert found(serving, vectors[3]) == [keys[3]]
    assert serving.states()[0].references == 8
    assert purge_collections(database, on_milvus) == 0


def build_with_another_pack(database: Database, settings: Settings, pack: Pack, vectors: Vectors) -> str:
    """Leave a served collection of a pack that is no longer in force, and return its name."""
    contract_id = "f" * 64
    with database.write() as session:
        for number, vector in enumerate(vectors, start=1):
            sealed = sealed_template(vault_of(session), number, contract_id, vector.astype("<f4").tobytes())
            session.add(Template(reference_id=number, contract_id=contract_id, vector=sealed))
    place = gallery_place(settings, "flagged", contract_id=contract_id, dimension=pack.dimension)
    with database.read() as session:
        name = MilvusGenerations(settings).write(session, place, switch=True)
    assert name is not None
    return name
