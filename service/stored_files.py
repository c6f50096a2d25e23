"""Compares the stores of files with the records that point to them, in either direction."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.database import Database
from service.encryption.blobs import BlobStore
from service.encryption.files import stored_files
from service.encryption.opener import Opener
from service.errors import StorageUnavailableError
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import Attachment, Check, Portrait

ORPHAN_AGE_S = 3600
"""A file is written before its row is committed; after an hour none can still be on its way."""

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
    """Return the stores by their kinds."""
    evidence = BlobStore(settings.evidence_dir, vault, kind="evidence")
    return {"portrait": PortraitStore(settings.portraits_dir, vault), "evidence": evidence}


def compare(session: Session, store: BlobStore) -> Comparison:
    """Compare a store with a view of the records.

    Args:
        session: The view.
        store: Portraits and probes, or evidence.
    """
    stored = store.locations()  # Before the records: what is stored later is no orphan by mistake.
    recorded = _recorded(session, store.kind)
    missing = [location for location in sorted(recorded - stored) if not store.exists(location)]
    orphans = [location for location in sorted(stored - recorded) if _age_s(store, location) > ORPHAN_AGE_S]
    return Comparison(len(recorded), missing, orphans)


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
    """
    erased = {}
    for kind, store in stores_of(settings).items():
        with database.read() as session:
            orphans = compare(session, store).orphans
        for location in orphans:
            store.delete(location)
        if orphans:
            erased[kind] = len(orphans)
    return erased


def _recorded(session: Session, kind: str) -> set[str]:
    if kind == "evidence":
        return set(session.scalars(select(Attachment.location)))
    probes = session.scalars(select(Check.probe_location).where(Check.probe_location.is_not(None)))
    portraits = set(session.scalars(select(Portrait.location)))
    return portraits | {location for location in probes if location is not None}


def _age_s(store: BlobStore, location: str) -> float:
    try:
        return time.time() - (store.directory / location).stat().st_mtime
    except FileNotFoundError:
        return 0.0
