"""Compares the stores of files with the records that point to them, in either direction."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.database import Database
from service.encryption.blobs import BlobStore
from service.encryption.files import stored_files
from service.encryption.objects import Objects
from service.encryption.opener import Opener
from service.errors import SettingsError, StorageUnavailableError
from service.file_stores import evidence_store, portrait_store
from service.settings import Settings
from service.stored_locations import StoredLocations
from service.tables import Attachment, Check, Portrait

ORPHAN_AGE_S = 3600
"""A file is written before its row is committed; after an hour none can still be on its way."""

PART = 10_000
"""Locations looked up at once."""

NAMES = {"portrait": "portraits", "evidence": "evidence files"}
"""The kinds of stores, and how their files are called."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One store beside the records.

    Attributes:
        recorded: Number of files that records point to.
        missing: Locations that records point to and that hold no file.
        orphans: Files that no record points to and that are old enough to be nobody's.
    """

    recorded: int
    missing: list[str]
    orphans: list[str]


def stores_of(settings: Settings, vault: Opener | None = None) -> Mapping[str, BlobStore]:
    """Return the stores by their kinds.

    Raises:
        SettingsError: Their place cannot be used as it is set.
    """
    return {"portrait": portrait_store(settings, vault), "evidence": evidence_store(settings, vault)}


def compare(session: Session, store: BlobStore) -> Comparison:
    """Compare a store with a view of the records.

    Args:
        session: The view; best one that begins with this, for a store of millions is listed for minutes.
        store: Portraits and probes, or evidence.
    """
    # Before the records: what is stored later is no orphan by mistake.
    stored = StoredLocations(store.each_location())
    recorded, missing = 0, []
    for part in _parts(_recorded(session, store.kind)):
        recorded += len(part)
        there = stored.ask(part)
        missing += [location for location, is_there in zip(part, there, strict=True) if not is_there]
    missing = [location for location in sorted(missing) if not store.exists(location)]
    orphans = [location for location in stored.not_asked() if store.age_s(location) > ORPHAN_AGE_S]
    return Comparison(recorded, missing, orphans)


def damaged_files(database: Database, settings: Settings, vault: Opener) -> Iterator[str]:
    """Open every file that a record points to, and name the owners of those that cannot be opened.

    Files that are missing, or erased at this moment, are not named.
    """
    stores = stores_of(settings, vault)
    for file in stored_files(database):
        store = stores[file.store]
        try:
            store.get(file.location, owner=file.owner)
        except StorageUnavailableError:
            if store.exists(file.location):
                yield file.owner


def erase_orphans(database: Database, settings: Settings) -> dict[str, int]:
    """Erase the orphans of every store, looking again right before; return how many by kind.

    An orphan cannot get a record any more: locations are random and made for one row.

    Raises:
        SettingsError: Most files of a bucket are orphans, so it is more likely another database's.
    """
    erased = {}
    for kind, store in stores_of(settings).items():
        with database.read() as session:
            found = compare(session, store)
        orphans = found.orphans
        if isinstance(store.medium, Objects) and len(orphans) > found.recorded:
            raise SettingsError(
                f"{len(orphans)} files in {store.medium.name} belong to no record, {found.recorded} to one: "
                "ONEPERSON_FILES_URL seems to name another installation's bucket; nothing was erased"
            )
        for location in orphans:
            store.delete(location)
        if orphans:
            erased[kind] = len(orphans)
    return erased


def _recorded(session: Session, kind: str) -> Iterator[str]:
    few = {"yield_per": PART}
    if kind == "evidence":
        return iter(session.scalars(select(Attachment.location), execution_options=few))
    probes = select(Check.probe_location).where(Check.probe_location.is_not(None))
    portraits = session.scalars(select(Portrait.location), execution_options=few)
    found = session.scalars(probes, execution_options=few)
    return chain(portraits, (location for location in found if location is not None))


def _parts(locations: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(locations)
    while part := list(islice(rest, PART)):
        yield part
