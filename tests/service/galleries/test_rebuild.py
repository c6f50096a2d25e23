"""Re-encoding for another pack: interrupted, damaged, beside a running service; switched only when whole."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from index.extraction import Extractor
from index.pack import Pack, load_pack
from index.snapshot import current, generations, rollback
from index.types import Vectors
from service.auth.service import Actor
from service.database import Database
from service.encryption.templates import opened_template
from service.encryption.vault import vault_of
from service.engine import Engine
from service.errors import GalleryNotReadyError
from service.galleries import rebuild
from service.galleries.keeper import IncompleteError, gallery_place
from service.galleries.rebuild import (
    Encoded,
    count_missing,
    write_generations,
)
from service.galleries.service import Galleries
from service.persons.enrolment import PortraitFile
from service.persons.schemas import RegistrationFields
from service.persons.service import Persons
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import Portrait, Template
from tests.service.calls import portrait
from tests.service.galleries.encoding import encode_all
from tests.synthetic import make_synthetic_pack

CLIENT = Actor(kind="system", id=None, name="test")
FLAGGED = RegistrationFields(level_code="30")


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The same weights with another preprocessing: another contract, so other templates."""
    directory = make_synthetic_pack(tmp_path_factory.mktemp("packs") / "other")
    manifest = directory / "pack.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("127.5", "126.5"), encoding="utf-8")
    return load_pack(directory)


@pytest.fixture
def store(settings: Settings, database: Database) -> PortraitStore:
    return PortraitStore(settings.portraits_dir, vault_of(database.info))


Enrolling = Callable[..., None]


@pytest.fixture
def enrol(database: Database, settings: Settings, store: PortraitStore, pack: Pack) -> Enrolling:
    def enrol(*people: int, by: Pack = pack) -> None:
        engine = Engine(by, threads=2, queue_limit=8)
        persons = Persons(database=database, engine=engine, store=store, settings=settings)
        try:
            for person in people:
                persons.store(f"P{person}", FLAGGED, [PortraitFile(portrait(person))], actor=CLIENT)
        finally:
            engine.close()

    return enrol


@pytest.fixture
def encode(database: Database, store: PortraitStore, other: Pack) -> Callable[..., Encoded]:
    def encode(pack: Pack = other, advance: Callable[[int], None] = lambda _count: None) -> Encoded:
        return encode_all(database, store, pack, advance=advance)

    return encode


def template_of(pack: Pack, person: int) -> Vectors:

    extraction = Extractor(pack).extract(portrait(person, 1))
    assert extraction.template is not None
    return extraction.template


def best(database: Database, settings: Settings, pack: Pack, person: int) -> int:
    galleries = Galleries(database=database, settings=settings, pack=pack)
    galleries.open()
    probe = template_of(pack, person)
    return galleries.search(["flagged"], probe, exclude=frozenset(), limit=3)[0].candidates[0].person_key


def directory(settings: Settings, pack: Pack) -> Path:
    return gallery_place(
        settings, "flagged", contract_id=pack.contract_id, dimension=pack.dimension
    ).directory


def templates(database: Database, pack: Pack) -> int:
    with database.read() as session:
        counted = select(func.count()).where(Template.contract_id == pack.contract_id)
        return session.scalar(counted) or 0


def test_every_portrait_is_encoded_by_the_other_pack_and_found(
    database: Database,
    settings: Settings,
    pack: Pack,
    other: Pack,
    enrol: Enrolling,
    encode: Callable[..., Encoded],
) -> None:
    enrol(1, 2, 3)
    told: list[int] = []
    assert count_missing(database, other.contract_id) == 3
    encoded = encode(advance=told.append)
    assert (encoded.done, encoded.by_old_landmarks, encoded.failures, sum(told)) == (3, 0, [], 3)
    assert count_missing(database, other.contract_id) == 0
    written = write_generations(database, settings, other, activate=True)
    active = current(directory(settings, other))
    assert active is not None
    assert written == {"flagged": active.name}
    assert best(database, settings, other, 2) == best(database, settings, pack, 2)


def test_interrupted_encoding_goes_on_where_it_stopped(
    database: Database,
    other: Pack,
    enrol: Enrolling,
    encode: Callable[..., Encoded],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enrol(*range(1, 8))
    monkeypatch.setattr(rebuild, "BATCH", 2)
    batches = 0

    def interrupt(_count: int) -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(advance=interrupt)
    assert templates(database, other) == 4
    assert encode().done == 3
    assert encode().done == 0
    assert templates(database, other) == 7


def test_portrait_that_cannot_be_read_is_listed_and_nothing_is_switched(
    database: Database,
    settings: Settings,
    store: PortraitStore,
    other: Pack,
    enrol: Enrolling,
    encode: Callable[..., Encoded],
) -> None:
    enrol(1, 2, 3)
    with database.read() as session:
        lost, damaged = session.scalars(select(Portrait).order_by(Portrait.reference_id)).all()[:2]
    store.delete(lost.location)
    (store.directory / damaged.location).write_bytes(b"no picture")
    encoded = encode()
    assert encoded.done == 1
    assert [(f.person_id, f.reference_id) for f in encoded.failures] == [
        ("P1", lost.reference_id),
        ("P2", damaged.reference_id),
    ]
    assert all(failure.reason for failure in encoded.failures)
    with pytest.raises(IncompleteError, match="2 portraits"):
        write_generations(database, settings, other, activate=True)
    assert current(directory(settings, other)) is None
    # Another portrait, sent again, mends it.
    enrol(1, 2, by=other)
    assert encode().failures == []
    assert write_generations(database, settings, other, activate=True)


def test_points_found_at_enrolment_serve_where_the_other_detector_finds_no_face(
    database: Database, settings: Settings, store: PortraitStore, pack: Pack, enrol: Enrolling, tmp_path: Path
) -> None:
    enrol(1, 2)
    blind_dir = make_synthetic_pack(tmp_path / "blind")
    manifest = blind_dir / "pack.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(
        text.replace("score_threshold = 0.5", "score_threshold = 0.99").replace("127.5", "126.5"),
        encoding="utf-8",
    )
    blind = load_pack(blind_dir)
    encoded = encode_all(database, store, blind)
    assert (encoded.done, encoded.by_old_landmarks, encoded.failures) == (2, 2, [])
    with database.read() as session:
        rows = session.scalars(select(Template).order_by(Template.reference_id)).all()
        by_pack = {
            (row.contract_id, row.reference_id): np.frombuffer(
                opened_template(vault_of(session), row.reference_id, row.contract_id, row.vector), dtype="<f4"
            )
            for row in rows
        }
    for reference_id in {row.reference_id for row in rows}:
        first, second = by_pack[pack.contract_id, reference_id], by_pack[blind.contract_id, reference_id]
        assert float(first @ second) > 0.95


def test_portrait_that_is_erased_while_it_is_encoded_gets_no_template(
    database: Database, settings: Settings, store: PortraitStore, pack: Pack, other: Pack, enrol: Enrolling
) -> None:
    enrol(1, 2)
    engine = Engine(pack, threads=1, queue_limit=1)
    persons = Persons(database=database, engine=engine, store=store, settings=settings)
    once = threading.Lock()

    class Erasing(PortraitStore):
        """Erases the person when the first portrait has been read."""

        def get(self, location: str, *, owner: str) -> bytes:
            data = super().get(location, owner=owner)
            if once.acquire(blocking=False):
                persons.erase("P1", actor=CLIENT)
            return data

    erasing = Erasing(store.directory, vault_of(database.info))
    encoded = encode_all(database, erasing, other)
    assert encoded.failures == []
    assert templates(database, other) == 1
    assert templates(database, pack) == 1
    engine.close()


def test_running_service_answers_with_its_own_pack_meanwhile_and_with_the_other_only_when_whole(
    database: Database,
    settings: Settings,
    pack: Pack,
    other: Pack,
    enrol: Enrolling,
    encode: Callable[..., Encoded],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enrol(*range(1, 6))
    monkeypatch.setattr(rebuild, "BATCH", 2)
    running = {name: Galleries(database=database, settings=settings, pack=name) for name in (pack, other)}
    for galleries in running.values():
        galleries.open()
    answers: list[tuple[int, int | None]] = []

    def ask(_count: int) -> None:
        old = running[pack].search(["flagged"], template_of(pack, 3), exclude=frozenset(), limit=1)
        try:
            probe = template_of(other, 3)
            new = running[other].search(["flagged"], probe, exclude=frozenset(), limit=1)
            answers.append((old[0].candidates[0].person_key, new[0].candidates[0].person_key))
        except GalleryNotReadyError:
            answers.append((old[0].candidates[0].person_key, None))

    encode(advance=ask)
    key = best(database, settings, pack, 3)
    assert answers == [(key, None), (key, None), (key, key)]


def test_generation_that_is_not_activated_changes_nothing(
    database: Database, settings: Settings, pack: Pack, enrol: Enrolling
) -> None:
    enrol(1, 2)
    write_generations(database, settings, pack, activate=True)
    active = current(directory(settings, pack))
    written = write_generations(database, settings, pack, activate=False)
    assert current(directory(settings, pack)) == active
    assert {path.name for path in generations(directory(settings, pack))} == {
        active.name if active else "",
        written["flagged"],
    }


def test_way_back_leads_to_a_generation_that_catches_up(
    database: Database, settings: Settings, pack: Pack, enrol: Enrolling
) -> None:
    enrol(1, 2)
    first = write_generations(database, settings, pack, activate=True)["flagged"]
    enrol(3)
    write_generations(database, settings, pack, activate=True)
    assert rollback(directory(settings, pack)).name == first
    galleries = Galleries(database=database, settings=settings, pack=pack)
    galleries.open()
    answer = galleries.search(["flagged"], template_of(pack, 3), exclude=frozenset(), limit=1)[0]
    assert answer.generation == first
    assert answer.persons == 3
    assert len(answer.candidates) == 1


def test_empty_galleries_need_no_generation(database: Database, settings: Settings, pack: Pack) -> None:
    assert write_generations(database, settings, pack, activate=True) == {}
