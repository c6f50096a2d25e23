"""Galleries against the database: complete, current and calibrated, or no answer."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from index.errors import GenerationError
from index.faiss_gallery import FaissGallery
from index.manifest import read_manifest
from index.pack import Pack, load_pack
from index.snapshot import current, generations
from index.types import Vectors
from service.database import Database
from service.encryption.templates import sealed_template
from service.encryption.vault import vault_of
from service.errors import GalleryNotReadyError
from service.galleries.rebuild import write_generations
from service.galleries.repository import append_changes
from service.galleries.service import Galleries, GallerySearch
from service.persons.enrolment import ChangeBook
from service.settings import Settings
from service.tables import CalibrationRecord, GalleryChange, GalleryHead, Person, Portrait, Template
from tests.service.galleries.filling import fill, unit_vectors


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


@pytest.fixture
def vectors(pack: Pack) -> Vectors:
    return unit_vectors(12, pack.dimension)


def opened(database: Database, settings: Settings, pack: Pack) -> Galleries:
    galleries = Galleries(database=database, settings=settings, pack=pack)
    galleries.open()
    return galleries


@pytest.fixture
def galleries(database: Database, settings: Settings, pack: Pack) -> Galleries:
    return opened(database, settings, pack)


def search(
    galleries: Galleries, vector: Vectors, *, names: tuple[str, ...] = ("flagged",)
) -> list[GallerySearch]:
    return galleries.search(names, vector, exclude=frozenset(), limit=5)


def found(galleries: Galleries, vector: Vectors) -> list[int]:
    return [candidate.person_key for candidate in search(galleries, vector)[0].candidates]


def directory(settings: Settings, galleries: Galleries) -> Path:
    return galleries.place("flagged").directory


def test_search_before_loading_is_refused(database: Database, settings: Settings, pack: Pack) -> None:
    galleries = Galleries(database=database, settings=settings, pack=pack)
    with pytest.raises(GalleryNotReadyError):
        search(galleries, unit_vectors(1, pack.dimension)[0])


def test_changes_of_another_process_are_seen_by_the_next_search(
    database: Database, galleries: Galleries, pack: Pack, vectors: Vectors
) -> None:
    assert found(galleries, vectors[3]) == []
    keys = fill(database, vectors, contract_id=pack.contract_id)
    assert found(galleries, vectors[3]) == [keys[3]]
    with database.write() as session:
        session.delete(session.get_one(Person, keys[3]))
        session.flush()
        append_changes(session, "flagged", [("remove", 4, keys[3])])
    assert found(galleries, vectors[3]) == []


def test_uncommitted_change_is_not_seen(
    database: Database, galleries: Galleries, pack: Pack, vectors: Vectors
) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:  # noqa: PT012 - it must leave the transaction
        session.add(Person(person_id="P1", level_code="30", gallery="flagged"))
        append_changes(session, "flagged", [("enrol", 1, 1)])
        raise ZeroDivisionError
    assert search(galleries, vectors[0])[0].position == 0


def test_restart_loads_the_generation_and_replays_what_came_after(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors[:8], contract_id=pack.contract_id)
    first = opened(database, settings, pack)
    generation = current(directory(settings, first))
    assert generation is not None
    later = fill(database, vectors[8:], contract_id=pack.contract_id, prefix="Q")
    second = opened(database, settings, pack)
    answer = search(second, vectors[9])[0]
    assert answer.generation == generation.name
    assert answer.position == 12
    assert [candidate.person_key for candidate in answer.candidates] == [later[1]]
    assert found(second, vectors[2]) == [keys[2]]


@pytest.mark.parametrize("damage", ["vectors.npy", "manifest.json", "reference_ids.npy"])
def test_damaged_generation_is_set_aside_and_made_again(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors, damage: str
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    first = opened(database, settings, pack)
    generation = current(directory(settings, first))
    assert generation is not None
    content = bytearray((generation / damage).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (generation / damage).write_bytes(content)
    second = opened(database, settings, pack)
    assert found(second, vectors[5]) == [keys[5]]
    assert current(directory(settings, second)) != generation


def test_generation_of_another_database_is_not_used(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    first = opened(database, settings, pack)
    generation = current(directory(settings, first))
    with database.write() as session:
        session.execute(update(GalleryHead).values(epoch="another database"))
    second = opened(database, settings, pack)
    assert found(second, vectors[5]) == [keys[5]]
    assert current(directory(settings, second)) != generation


def test_gap_in_the_change_log_is_noticed(
    database: Database, settings: Settings, galleries: Galleries, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    with database.write() as session:
        session.execute(delete(GalleryChange).where(GalleryChange.position <= 6))
    assert [found(galleries, vector) for vector in vectors] == [[key] for key in keys]


def test_older_database_under_a_running_service_is_noticed(
    database: Database, galleries: Galleries, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    assert found(galleries, vectors[11]) == [keys[11]]
    with database.write() as session:
        session.execute(delete(GalleryChange).where(GalleryChange.position > 6))
        session.execute(update(GalleryHead).where(GalleryHead.gallery == "flagged").values(position=6))
        session.execute(delete(Person).where(Person.key > keys[5]))
    assert found(galleries, vectors[11]) == []
    assert found(galleries, vectors[5]) == [keys[5]]


def test_portrait_without_template_stops_all_answers_until_it_is_encoded(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    with database.write() as session:
        template = session.scalars(select(Template).limit(1)).one()
        reference_id, vector = template.reference_id, template.vector
        session.delete(template)
    galleries = opened(database, settings, pack)
    assert [state.ready for state in galleries.states()] == [False, True]
    for _time in range(2):
        with pytest.raises(GalleryNotReadyError, match="oneperson rebuild"):
            search(galleries, vectors[5])
    with database.write() as session:
        session.add(Template(reference_id=reference_id, contract_id=pack.contract_id, vector=vector))
    assert found(galleries, vectors[5]) == [keys[5]]
    assert all(state.ready for state in galleries.states())


def test_templates_of_another_pack_do_not_count(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    fill(database, vectors, contract_id="another-pack")
    galleries = opened(database, settings, pack)
    with pytest.raises(GalleryNotReadyError):
        search(galleries, vectors[5])


def test_person_whose_portrait_is_replaced_is_found_at_every_moment(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    """One thread replaces a portrait by an identical one, over and over; no search may miss the person."""
    keys = fill(database, vectors, contract_id=pack.contract_id)
    galleries = opened(database, settings, pack)
    stop = threading.Event()
    faults: list[object] = []

    def replace() -> None:
        while not stop.is_set():
            with database.write() as session:
                person = session.get_one(Person, keys[0])
                old = person.portraits[0]
                new = Portrait(
                    sha256="f" * 64 if old.sha256 != "f" * 64 else "e" * 64,
                    format="jpeg",
                    location="00/" + "f" * 32 + ".jpeg",
                    quality={},
                    marks=[],
                    landmarks=[],
                )
                person.portraits.append(new)
                session.flush()
                template = sealed_template(
                    vault_of(session),
                    new.reference_id,
                    pack.contract_id,
                    vectors[0].astype("<f4").tobytes(),
                )
                session.add(
                    Template(reference_id=new.reference_id, contract_id=pack.contract_id, vector=template)
                )
                book = ChangeBook()
                book.remove("flagged", old.reference_id, person.key)
                book.enrol("flagged", new.reference_id, person.key)
                person.portraits.remove(old)
                session.flush()
                book.record(session)

    def look() -> None:
        answers = [found(galleries, vectors[0]) for _time in range(60)]
        faults.extend(answer for answer in answers if answer != [keys[0]])

    writer = threading.Thread(target=replace)
    readers = [threading.Thread(target=look) for _reader in range(2)]
    writer.start()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    stop.set()
    writer.join()
    assert faults == []
    assert search(galleries, vectors[0])[0].position > len(vectors)


def test_small_gallery_takes_its_rates_from_the_pack_and_a_larger_one_measures_them(
    database: Database, galleries: Galleries, pack: Pack
) -> None:
    vectors = unit_vectors(520, pack.dimension)
    fill(database, vectors[:30], contract_id=pack.contract_id, prefix="A")
    small = search(galleries, vectors[0])[0]
    assert small.calibration.method == "pack"
    fill(database, vectors[30:230], contract_id=pack.contract_id, prefix="B")
    measured = search(galleries, vectors[0])[0]
    assert measured.calibration.method == "measured"
    assert measured.calibration.fpir.low <= 0.01 <= measured.calibration.fpir.high
    fill(database, vectors[230:240], contract_id=pack.contract_id, prefix="C")
    assert search(galleries, vectors[0])[0].calibration_id == measured.calibration_id
    fill(database, vectors[240:], contract_id=pack.contract_id, prefix="D")
    assert search(galleries, vectors[0])[0].calibration_id != measured.calibration_id
    with database.read() as session:
        assert len(session.scalars(select(CalibrationRecord)).all()) >= 3


def test_calibration_in_force_survives_a_restart(
    database: Database, settings: Settings, galleries: Galleries, pack: Pack
) -> None:
    vectors = unit_vectors(210, pack.dimension)
    fill(database, vectors, contract_id=pack.contract_id)
    first = search(galleries, vectors[0])[0]
    second = search(opened(database, settings, pack), vectors[0])[0]
    assert second.calibration_id == first.calibration_id
    assert second.threshold == first.threshold


def test_only_as_many_generations_are_kept_as_the_settings_say(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    fill(database, vectors, contract_id=pack.contract_id)
    for _time in range(5):
        write_generations(database, settings, pack, activate=True)
    place = Galleries(database=database, settings=settings, pack=pack).place("flagged")
    assert len(generations(place.directory)) == 1 + settings.keep_generations


def test_recall_of_a_compressed_gallery_is_measured_and_written_down(
    database: Database, settings: Settings, pack: Pack
) -> None:
    vectors = unit_vectors(3000, pack.dimension)
    fill(database, vectors, contract_id=pack.contract_id)
    compressed = settings.model_copy(update={"gallery_backend": "faiss"})
    galleries = opened(database, compressed, pack)
    generation = current(directory(settings, galleries))
    assert generation is not None
    recall = read_manifest(generation).recall
    assert recall is not None
    assert recall.value == 1.0
    assert recall.n > 1000


def test_generation_that_loses_candidates_is_not_switched_to(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, vectors, contract_id=pack.contract_id)
    compressed = settings.model_copy(update={"gallery_backend": "faiss"})
    galleries = opened(database, compressed, pack)
    before = current(directory(settings, galleries))
    whole = FaissGallery.search
    monkeypatch.setattr(
        FaissGallery, "search", lambda self, *a, **k: [found[:-1] for found in whole(self, *a, **k)]
    )
    with pytest.raises(GenerationError, match="recall"):
        write_generations(database, compressed, pack, activate=True)
    assert current(directory(settings, galleries)) == before
