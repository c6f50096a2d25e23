"""Generations on a Milvus server: one collection each, an alias for the current one.

A collection is named after gallery, pack, database and a number::

    oneperson_flagged_1f0c9a3e5b7d2468_9d…_00000007

and the alias is the same without the number. Unlike a generation on disk, a collection goes
on changing while it is served, and the position that it has reached is kept in it. So a
start takes over where the last process stopped and sends only what came after; whether
nothing is missing is checked against the database's own count.
"""

import re
from collections.abc import Collection, Iterator

import structlog
from sqlalchemy.orm import Session

from index.errors import GenerationError
from index.milvus_gallery import MilvusGallery
from index.milvus_server import MilvusServer
from service.galleries import repository
from service.galleries.keeper import GalleryPlace, IncompleteError, Keeper, replay
from service.settings import Settings

log = structlog.get_logger(__name__)

_NUMBER = re.compile(r"_(\d{8})$")


class MilvusGenerations:
    """Opens, builds, switches and prunes the collections of galleries."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; the server is asked at first use."""
        self._settings = settings
        self._server: MilvusServer | None = None

    @property
    def server(self) -> MilvusServer:
        """The connection.

        Raises:
            BackendError: Nobody answers, or the token is refused.
        """
        if self._server is None:
            token = self._settings.milvus_token
            self._server = MilvusServer(
                self._settings.milvus_uri,
                token="" if token is None else token.get_secret_value(),
                timeout_s=self._settings.search_timeout_s,
            )
        return self._server

    def open(self, session: Session, place: GalleryPlace) -> Keeper:
        """Take over the current collection, or fill a new one; see `Backend.open`."""
        try:
            keeper = self._current(session, place)
        except GenerationError as error:
            log.warning("generation-set-aside", gallery=place.name, reason=str(error))
            keeper = None
        return self.from_database(session, place) if keeper is None else keeper

    def from_database(self, session: Session, place: GalleryPlace) -> Keeper:
        """Fill a new collection and switch to it when it is whole; see `Backend.from_database`."""
        keeper = self.build(session, place)
        if not keeper.unencoded:
            self.switch(session, place, keeper.generation)
        return keeper

    def build(self, session: Session, place: GalleryPlace) -> Keeper:
        """Fill a new collection from the stored templates, a few thousand at a time.

        Args:
            session: A consistent view of the database.
            place: Which gallery.

        Raises:
            BackendError: The server failed; the alias is as it was.
        """
        alias = alias_of(session, place)
        position = repository.heads(session).get(place.name, 0)
        numbers = [number_of(name) for name in self._collections(alias)]
        name = f"{alias}_{max(numbers, default=0) + 1:08d}"
        gallery = MilvusGallery(self.server.create(name, dimension=place.dimension))
        damaged: set[int] = set()
        sound = 0
        for references, spoilt in repository.stream_references(
            session, place.name, place.contract_id, place.dimension
        ):
            gallery.fill(references)
            sound += len(references)
            damaged |= spoilt
        gallery.compact()
        keeper = Keeper(place, gallery, generation=name, position=position)
        if repository.count_portraits(session, place.name) != sound:
            keeper.unencoded = damaged | repository.unencoded(session, place.name, place.contract_id)
        else:
            gallery.record_position(position)
        return keeper

    def newer(self, session: Session, keeper: Keeper) -> Keeper | None:  # noqa: ARG002 - the server has them
        """Leave the gallery as it is: one service writes to a collection; see `Backend.newer`."""
        return None

    def write(self, session: Session, place: GalleryPlace, *, switch: bool) -> str | None:
        """Fill a new collection beside the one in use; see `Backend.write`."""
        if not repository.count_portraits(session, place.name):
            return None
        keeper = self.build(session, place)
        if keeper.unencoded:
            self.server.drop(keeper.generation)
            raise IncompleteError(place.name, len(keeper.unencoded))
        if switch:
            self.switch(session, place, keeper.generation)
        return keeper.generation

    def switch(self, session: Session, place: GalleryPlace, name: str) -> None:
        """Let the alias point to a collection and drop old ones.

        Raises:
            BackendError: The server failed; the alias points to the old or to the new one.
        """
        alias = alias_of(session, place)
        names = self._collections(alias)
        self.server.point(alias, name, before=self.server.resolve(alias, among=names))
        for old in self._condemned(place, names, name):
            self.server.drop(old)

    def roll_back(self, session: Session, place: GalleryPlace) -> str:
        """Let the alias point to the whole collection before the current one, and return its name.

        Raises:
            GenerationError: There is none.
            BackendError: The server failed.
        """
        alias = alias_of(session, place)
        names = self._collections(alias)
        current = self.server.resolve(alias, among=names)
        earlier = [name for name in names if current is not None and name < current]
        for name in reversed(earlier):
            if self.server.open(name, dimension=place.dimension).position() is not None:
                self.server.point(alias, name, before=current)
                return name
        raise GenerationError(f"The gallery '{place.name}' has no earlier generation to go back to.")

    def settled(self, session: Session, gallery: str, *, contract_id: str) -> Iterator[str]:
        """Yield the collections of every pack; the one that is served only when it is up to date.

        Args:
            session: A view.
            gallery: Whose.
            contract_id: Of the pack in force, whose current collection is served.

        Raises:
            BackendError: The server failed.
        """
        served = self.served(session, gallery, contract_id=contract_id)
        head = repository.heads(session).get(gallery, 0)
        for name in self._of_gallery(session, gallery):
            if name != served or self.server.open(name, dimension=None).position() == head:
                yield name

    def served(self, session: Session, gallery: str, *, contract_id: str) -> str | None:
        """Return the collection that is searched with a pack, None where there is none.

        Raises:
            BackendError: The server failed.
        """
        alias = _alias(session, gallery, contract_id)
        return self.server.resolve(alias, among=self._collections(alias))

    def held(self, name: str) -> set[int]:
        """Return the references in a collection.

        Raises:
            BackendError: The server failed.
        """
        pages = self.server.open(name, dimension=None).pages(vectors=False)
        return {int(row["reference_id"]) for page in pages for row in page}

    def erase(self, name: str, reference_ids: Collection[int]) -> None:
        """Delete references from a collection that nobody brings up to date, and free their bytes.

        Raises:
            BackendError: The server failed; some of them may be gone.
        """
        self.server.open(name, dimension=None).delete(sorted(reference_ids))
        self.compact(name)

    def compact(self, name: str) -> None:
        """Have the server write a collection's files anew without what was deleted.

        Raises:
            BackendError: The server failed.
        """
        self.server.open(name, dimension=None).compact()

    def _of_gallery(self, session: Session, gallery: str) -> list[str]:
        """Return the collections that hold a gallery of this database, of any pack."""
        form = re.compile(rf"oneperson_{gallery}_[0-9a-f]{{16}}_{_mark(session, gallery)}_\d{{8}}")
        return [name for name in self.server.names(f"oneperson_{gallery}_") if form.fullmatch(name)]

    def _current(self, session: Session, place: GalleryPlace) -> Keeper | None:
        """Return the alias's collection brought up to date, or None where there is none.

        Raises:
            GenerationError: It cannot be brought up to date, or holds something else than it should.
        """
        alias = alias_of(session, place)
        name = self.server.resolve(alias, among=self._collections(alias))
        if name is None:
            return None
        gallery = MilvusGallery(self.server.open(name, dimension=place.dimension))
        position = gallery.position
        if position is None:
            raise GenerationError(f"{name} was never completed")
        keeper = Keeper(place, gallery, generation=name, position=position)
        replay(session, keeper)
        portraits = repository.count_portraits(session, place.name)
        if len(gallery) != portraits:
            keeper.unencoded |= repository.unencoded(session, place.name, place.contract_id)
        if len(gallery) + len(keeper.unencoded) != portraits:
            raise GenerationError(f"{name} holds {len(gallery)} references, the database {portraits}")
        return keeper

    def _collections(self, alias: str) -> list[str]:
        return [name for name in self.server.names(f"{alias}_") if _NUMBER.search(name)]

    def _condemned(self, place: GalleryPlace, names: list[str], current: str) -> Iterator[str]:
        """Yield what is older than the current one, but not the latest whole ones to go back to."""
        kept = 0
        for name in reversed([name for name in names if name < current]):
            whole = self.server.open(name, dimension=place.dimension).position() is not None
            if whole and kept < self._settings.keep_generations:
                kept += 1
            else:
                yield name


def alias_of(session: Session, place: GalleryPlace) -> str:
    """Return the alias of a gallery: another pack or another database has another one."""
    return _alias(session, place.name, place.contract_id)


def _alias(session: Session, gallery: str, contract_id: str) -> str:
    return f"oneperson_{gallery}_{contract_id[:16]}_{_mark(session, gallery)}"


def _mark(session: Session, gallery: str) -> str:
    return re.sub(r"\W", "", repository.epoch(session, gallery))


def number_of(name: str) -> int:
    """Return the number at the end of a collection's name, 0 where there is none."""
    found = _NUMBER.search(name)
    return int(found[1]) if found else 0
