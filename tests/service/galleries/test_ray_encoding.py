"""Encoding on a Ray cluster of two workers: the local engine's templates, resumed from the same rows."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, select

from index.pack import Pack, load_pack
from service.auth.service import Actor
from service.database import Database
from service.encryption.templates import opened_template, sealed_template
from service.encryption.vault import vault_of
from service.engine import Engine
from service.galleries.rebuild import EngineError, count_missing, encode_missing, encode_with
from service.persons.enrolment import PortraitFile
from service.persons.schemas import RegistrationFields
from service.persons.service import Persons
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import Portrait, Template
from tests.conftest import unavailable
from tests.service.calls import portrait
from tests.service.conftest import SQLITE_ONLY

if TYPE_CHECKING:
    from service.galleries.ray_encoding import RayEngine

pytestmark = [
    pytest.mark.ray,
    SQLITE_ONLY,
    # Ray sets its own deprecated options, and leaves files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PERSONS = 7


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster on this machine: a head that computes nothing, and two workers."""
    if importlib.util.find_spec("ray") is None:
        unavailable("ray", "ray not installed: pip install '.[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    import service.galleries.ray_encoding  # noqa: F401 - it keeps Ray from reporting its use

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            started.add_node(num_cpus=1)
        yield str(started.address)
    finally:
        ray.shutdown()
        started.shutdown()


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


@pytest.fixture
def store(settings: Settings, database: Database) -> PortraitStore:
    return PortraitStore(settings.portraits_dir, vault_of(database.info))


@pytest.fixture
def enrolled(database: Database, settings: Settings, store: PortraitStore, pack: Pack) -> list[bytes]:
    """Persons whose templates were made by the local engine and are then gone; the templates."""
    engine = Engine(pack, threads=2, queue_limit=8)
    persons = Persons(database=database, engine=engine, store=store, settings=settings)
    for person in range(PERSONS):
        persons.store(
            f"P{person}",
            RegistrationFields(level_code="30"),
            [PortraitFile(portrait(person))],
            actor=Actor(kind="system", id=None, name="test"),
        )
    engine.close()
    with database.write() as session:
        session.execute(delete(Template))
    encode_missing(database, store, pack, threads=2, advance=lambda _count: None)
    made = templates(database)
    assert len(made) == PERSONS
    with database.write() as session:
        session.execute(delete(Template))
    return made


@pytest.fixture
def make_engine(
    cluster: str, synthetic_pack_dir: Path, store: PortraitStore, pack: Pack
) -> "Callable[..., RayEngine]":
    from service.galleries.ray_encoding import RayEngine

    def make(*, contract_id: str = pack.contract_id) -> RayEngine:
        return RayEngine(
            synthetic_pack_dir,
            contract_id=contract_id,
            store=store,
            address=cluster,
            per_call=2,
        )

    return make


def templates(database: Database) -> list[bytes]:
    with database.read() as session:
        rows = session.scalars(select(Template).order_by(Template.reference_id))
        vault = vault_of(session)
        return [opened_template(vault, row.reference_id, row.contract_id, row.vector) for row in rows]


def test_the_cluster_makes_the_same_templates_to_the_bit(
    database: Database, pack: Pack, enrolled: list[bytes], make_engine: "Callable[..., RayEngine]"
) -> None:
    told: list[int] = []
    encoded = encode_with(make_engine(), database, pack=pack, advance=told.append)
    assert (encoded.done, encoded.failures, sum(told)) == (PERSONS, [], PERSONS)
    assert templates(database) == enrolled


def test_what_is_encoded_stays_and_what_cannot_be_is_told_with_its_person(
    database: Database,
    pack: Pack,
    store: PortraitStore,
    enrolled: list[bytes],
    make_engine: "Callable[..., RayEngine]",
) -> None:
    with database.write() as session:
        rows = session.scalars(select(Portrait).order_by(Portrait.reference_id)).all()
        reference_id = rows[0].reference_id
        sealed = sealed_template(vault_of(session), reference_id, pack.contract_id, enrolled[0])
        session.add(Template(reference_id=reference_id, contract_id=pack.contract_id, vector=sealed))
        store.delete(rows[3].location)
    encoded = encode_with(make_engine(), database, pack=pack, advance=lambda _count: None)
    assert encoded.done == PERSONS - 2
    assert [failure.person_id for failure in encoded.failures] == ["P3"]
    assert templates(database) == [*enrolled[:3], *enrolled[4:]]


def test_workers_with_another_pack_are_refused_and_nothing_is_stored(
    database: Database, pack: Pack, enrolled: list[bytes], make_engine: "Callable[..., RayEngine]"
) -> None:
    with pytest.raises(EngineError, match="another pack"):
        encode_with(make_engine(contract_id="0" * 64), database, pack=pack, advance=lambda _count: None)
    assert count_missing(database, pack.contract_id) == PERSONS
