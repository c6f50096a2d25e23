"""Which pack is in force, how switches are taken back, and what is encoded while services change over."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from index.pack import Pack, load_pack
from index.types import Vectors
from service.auth.service import SYSTEM
from service.database import Database
from service.encryption.vault import vault_of
from service.engine import Engine
from service.errors import GalleryNotReadyError
from service.galleries.completing import Completing
from service.galleries.service import Galleries
from service.galleries.switches import announce, in_force, to_take_back
from service.persons.enrolment import PortraitFile
from service.persons.schemas import RegistrationFields
from service.persons.service import Persons
from service.portrait_store import PortraitStore
from service.settings import Settings
from tests.service.calls import portrait
from tests.synthetic import make_synthetic_pack


@pytest.fixture
def pack(settings: Settings) -> Pack:
    return load_pack(Path(settings.pack))


@pytest.fixture
def other(tmp_path: Path) -> Pack:
    directory = make_synthetic_pack(tmp_path / "other-pack")
    manifest = directory / "pack.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("127.5", "126.5"), encoding="utf-8")
    return load_pack(directory)


@pytest.fixture
def engines(pack: Pack, other: Pack) -> Iterator[tuple[Engine, Engine]]:
    """An engine for each pack, on the same threads."""
    ours = Engine(pack, threads=2, queue_limit=8)
    yield ours, ours.with_pack(other)
    ours.close()


@pytest.fixture
def store(database: Database, settings: Settings) -> PortraitStore:
    return PortraitStore(settings.portraits_dir, vault_of(database.info))


def enrol(database: Database, settings: Settings, store: PortraitStore, engine: Engine, person: int) -> None:
    persons = Persons(database=database, engine=engine, store=store, settings=settings)
    fields = RegistrationFields(level_code="30")
    persons.store(f"P{person}", fields, [PortraitFile(portrait(person))], actor=SYSTEM)


def opened(database: Database, settings: Settings, store: PortraitStore, engine: Engine) -> Galleries:
    completing = Completing(database, store, engine.extractor)
    galleries = Galleries(database=database, settings=settings, pack=engine.pack, completing=completing)
    galleries.open()
    return galleries


def probe(engine: Engine, person: int) -> Vectors:
    template = engine.extractor.extract(portrait(person, 1)).template
    assert template is not None
    return template


def found(galleries: Galleries, engine: Engine, person: int) -> int:
    answer = galleries.search(["flagged"], probe(engine, person), exclude=frozenset(), limit=1)[0]
    return len(answer.candidates)


def switch(
    database: Database, settings: Settings, pack: Pack, name: str, before: Pack, undoes: int | None = None
) -> int:
    with database.write() as session:
        return announce(session, settings, pack, name=name, contract_before=before.contract_id, undoes=undoes)


def test_services_with_different_packs_find_whom_the_other_enrols(
    database: Database,
    settings: Settings,
    store: PortraitStore,
    engines: tuple[Engine, Engine],
) -> None:
    lines = [(opened(database, settings, store, engine), engine) for engine in engines]
    switch(database, settings, engines[1].pack, "other", engines[0].pack)
    for person, engine in enumerate(engines):
        enrol(database, settings, store, engine, person)
        for galleries, own in lines:
            assert found(galleries, own, person) == 1
    positions = {galleries.states()[0].position for galleries, _engine in lines}
    assert positions == {4}  # Two enrolments, and each encoded once more by the other.


def test_no_gallery_is_incomplete_while_what_another_pack_enrolled_is_encoded(
    database: Database,
    settings: Settings,
    store: PortraitStore,
    engines: tuple[Engine, Engine],
) -> None:
    ours, other = engines
    seen: list[bool] = []

    class Watched(Completing):
        def complete(self, gallery: str, reference_ids: Collection[int]) -> bool:
            """Look at the gallery as the searches of other threads do, before and after encoding."""
            seen.append(galleries.states()[0].ready)
            done = super().complete(gallery, reference_ids)
            seen.append(galleries.states()[0].ready)
            return done

    enrol(database, settings, store, ours, 1)
    switch(database, settings, other.pack, "other", ours.pack)
    galleries = Galleries(
        database=database,
        settings=settings,
        pack=ours.pack,
        completing=Watched(database, store, ours.extractor),
    )
    galleries.open()
    enrol(database, settings, store, other, 2)
    assert found(galleries, ours, 2) == 1
    assert seen
    assert all(seen)


def test_another_pack_in_the_settings_alone_is_left_to_the_operator(
    database: Database,
    settings: Settings,
    store: PortraitStore,
    engines: tuple[Engine, Engine],
) -> None:
    enrol(database, settings, store, engines[0], 1)
    with pytest.raises(GalleryNotReadyError):
        found(opened(database, settings, store, engines[1]), engines[1], 1)


def test_a_switch_holds_until_the_setting_is_changed(
    database: Database, settings: Settings, pack: Pack, other: Pack
) -> None:
    with database.read() as session:
        assert in_force(session, settings).settings.pack == settings.pack
    number = switch(database, settings, other, "other", pack)
    changed = settings.model_copy(update={"pack": "third"})
    with database.read() as session:
        chosen = in_force(session, settings)
        assert (chosen.settings.pack, chosen.switch, chosen.contract_id) == (
            "other",
            number,
            other.contract_id,
        )
        assert in_force(session, changed).settings.pack == "third"


def test_switches_are_taken_back_one_after_the_other(
    database: Database, settings: Settings, pack: Pack, other: Pack
) -> None:
    first = switch(database, settings, other, "other", pack)
    second = switch(database, settings, other, "other", other)
    for expected in (second, first, None):
        with database.read() as session:
            last = to_take_back(session, settings)
            assert (None if last is None else last.id) == expected
        if last is not None:
            back, name = (
                (pack, settings.pack) if last.contract_id != last.contract_before else (other, "other")
            )
            switch(database, settings, back, name, other, undoes=last.id)
    with database.read() as session:
        assert in_force(session, settings).settings.pack == settings.pack
