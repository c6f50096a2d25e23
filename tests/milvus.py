"""Milvus for tests: a Lite server in this process, and galleries in collections of their own."""

import importlib.util
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING

import pytest

from index.types import References

if TYPE_CHECKING:
    from index.milvus_gallery import MilvusGallery
    from index.milvus_server import MilvusServer

MakeMilvus = Callable[..., "MilvusGallery"]

_NUMBERS = count(1)


def needed() -> None:
    """Skip what follows, or fail where the machine promised Milvus, unless its packages are here."""
    from tests.conftest import unavailable

    missing = [name for name in ("pymilvus", "milvus_lite") if importlib.util.find_spec(name) is None]
    if missing:
        unavailable("milvus", f"{' and '.join(missing)} not installed: pip install '.[milvus]'")


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where Milvus Lite keeps its files in this run; tests that use it are marked `milvus`."""
    needed()
    return str(tmp_path_factory.mktemp("milvus") / "lite.db")


@pytest.fixture(scope="session")
def milvus_server(milvus_uri: str) -> Iterator["MilvusServer"]:
    """A connection to it."""
    from milvus_lite.server_manager import server_manager_instance

    from index.milvus_server import MilvusServer

    server = MilvusServer(milvus_uri)
    yield server
    server.close()
    server_manager_instance.release_server(milvus_uri)


@pytest.fixture
def make_milvus(milvus_server: "MilvusServer") -> Iterator[MakeMilvus]:
    """Make a gallery in a fresh collection: dimension, initial references, and `largest_page`."""
    from index.milvus_gallery import MilvusGallery

    names: list[str] = []

    def make(
        dimension: int, references: References | None = None, *, largest_page: int | None = None
    ) -> "MilvusGallery":
        names.append(f"test_{next(_NUMBERS)}")
        collection = milvus_server.create(names[-1], dimension=dimension)
        return MilvusGallery(collection, references, largest_page=largest_page)

    yield make
    for name in names:
        milvus_server.drop(name)
