"""Galleries whose vectors stay in a generation's files: taken up, let go and made anew while they answer."""

import json
import os
from pathlib import Path

import pytest

from index.compact import CompactStore
from index.faiss_gallery import FaissGallery
from index.pack import Pack, load_pack
from index.snapshot import current
from index.types import Vectors
from service.database import Database
from service.errors import GalleryNotReadyError
from service.galleries.rebuild import write_generations
from service.galleries.service import Galleries
from service.settings import Settings
from tests.service.galleries.filling import fill, unit_vectors
from tests.service.galleries.test_galleries import directory, found, opened, search


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


@pytest.fixture
def vectors(pack: Pack) -> Vectors:
    return unit_vectors(40, pack.dimension)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"gallery_backend": "faiss"})


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let forty references be a large gallery."""
    monkeypatch.setattr("index.segments.COMPRESS_FROM", 16)


def files_held(folder: Path) -> int:
    """Count the files of a generation that this process has open, after it was renamed and deleted, too."""
    held = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            held += folder.name in os.readlink(link)  # noqa: PTH115 - deleted names are no paths
        except FileNotFoundError:
            continue
    return held


def is_on_disk(galleries: Galleries) -> bool:
    gallery = galleries._keepers["flagged"].gallery
    assert isinstance(gallery, FaissGallery)
    return all(isinstance(segment.store, CompactStore) for segment in gallery._state.segments)


def test_damage_under_a_running_service_stops_answers_until_a_fresh_generation_is_there(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    galleries = opened(database, settings, pack)
    generation = current(directory(settings, galleries))
    assert generation is not None
    assert is_on_disk(galleries)
    assert found(galleries, vectors[5]) == [keys[5]]
    with (generation / "vectors.npy").open("r+b") as file:
        file.seek(-40, os.SEEK_END)
        file.write(b"?")
    for _ in range(2):
        with pytest.raises(GalleryNotReadyError, match="damaged"):
            search(galleries, vectors[5])
    assert not galleries.states()[0].ready
    galleries.renew()
    assert found(galleries, vectors[5]) == [keys[5]]
    assert galleries.states()[0].ready
    assert not generation.exists()


def test_a_generation_of_another_process_is_taken_up_and_the_old_one_let_go(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors[:30], contract_id=pack.contract_id)
    galleries = opened(database, settings, pack)
    old = current(directory(settings, galleries))
    assert old is not None
    later = fill(database, vectors[30:], contract_id=pack.contract_id, prefix="Q")
    written = write_generations(
        database, settings.model_copy(update={"keep_generations": 0}), pack, activate=True
    )
    assert not old.exists()
    assert files_held(old) == 1
    galleries.renew()
    assert files_held(old) == 0
    answer = search(galleries, vectors[35])[0]
    assert answer.generation == written["flagged"]
    assert [candidate.person_key for candidate in answer.candidates] == [later[5]]
    assert found(galleries, vectors[3]) == [keys[3]]
    galleries.renew()
    assert search(galleries, vectors[35])[0].generation == written["flagged"]


def test_a_generation_of_the_older_format_is_built_anew_at_the_start(
    database: Database, settings: Settings, pack: Pack, vectors: Vectors
) -> None:
    keys = fill(database, vectors, contract_id=pack.contract_id)
    first = opened(database, settings, pack)
    old = current(directory(settings, first))
    assert old is not None
    manifest = old / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": 1}))
    second = opened(database, settings, pack)
    assert found(second, vectors[5]) == [keys[5]]
    assert current(directory(settings, second)) != old
