"""Copies all files to another place, so that an installation can move into a bucket or out of it.

They go as they are, encrypted. Each is read back and compared. What is there already is not copied again, so
an interrupted copy goes on where it stopped, and one that ran beside the service is brought up to date in
minutes once the service is stopped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.encryption.blobs import BlobStore
from service.encryption.files import StoredFile, stored_files
from service.encryption.medium import LOCATION
from service.encryption.objects import Objects
from service.errors import SettingsError, StorageUnavailableError
from service.settings import Settings
from service.stored_files import stores_of
from service.stored_locations import StoredLocations

BATCH = 64
"""Files handed to the threads at once: what an interruption waits for."""


@dataclass(slots=True)
class Copied:
    """What a copy did.

    Attributes:
        copied: Files copied and compared.
        present: Files that were there.
        missing: Files that records point to and that are not in the present place.
    """

    copied: int = 0
    present: int = 0
    missing: list[str] = field(default_factory=list)


def copy_files(
    database: Database, settings: Settings, target: Settings, *, advance: Callable[[int], None]
) -> Copied:
    """Copy every file that a record points to.

    Args:
        database: The records.
        settings: Where the files are.
        target: The same settings with another place in them.
        advance: Told how many more files are done.

    The copy is on record as `files-copied`.

    Raises:
        SettingsError: Both are the same, a place cannot be used or is another installation's, or files are
            not encrypted yet.
        StorageUnavailableError: A place does not do what it is asked for; what was copied stays.
    """
    sources, targets = stores_of(settings), stores_of(target)
    if any(sources[kind].medium.name == targets[kind].medium.name for kind in sources):
        raise SettingsError("the files are there already")
    for store in targets.values():
        _require_forgetting(store)
    there = _known(database, targets)
    result = Copied()
    threads = max(store.medium.threads for store in [*sources.values(), *targets.values()])
    with ThreadPoolExecutor(threads, thread_name_prefix="copy") as pool:
        for batch in _batches(database):
            wanted = _not_there(batch, there)
            result.present += len(batch) - len(wanted)
            for file, done in zip(
                wanted, pool.map(lambda f: _copy(f, sources, targets), wanted), strict=True
            ):
                result.copied += done
                if not done:
                    result.missing.append(f"{file.store} file of {file.owner}")
            advance(len(batch))
    for store in targets.values():
        _begin(store)  # Last: a service that is started on half of the files takes them for away.
    _record(database, result, sources, targets)
    return result


def _known(database: Database, targets: Mapping[str, BlobStore]) -> dict[str, StoredLocations]:
    """List what is at the target.

    Raises:
        SettingsError: All of it is somebody else's: a check of this installation would erase it as nobody's.
    """
    there = {kind: StoredLocations(store.each_location()) for kind, store in targets.items()}
    stored = sum(map(len, there.values()))
    ours = sum(len(batch) - len(_not_there(batch, there)) for batch in _batches(database)) if stored else 0
    if stored and not ours:
        raise SettingsError(
            f"there are {stored} files at the other place and none of them is this installation's: "
            "give a place of its own"
        )
    return there


def _not_there(batch: Sequence[StoredFile], there: Mapping[str, StoredLocations]) -> list[StoredFile]:
    wanted = []
    for kind, known in there.items():
        files = [file for file in batch if file.store == kind]
        found = known.ask([file.location for file in files])
        wanted += [file for file, is_there in zip(files, found, strict=True) if not is_there]
    return wanted


def _batches(database: Database) -> Iterator[list[StoredFile]]:
    files = stored_files(database)
    while batch := list(islice(files, BATCH)):
        yield batch


def _copy(file: StoredFile, sources: Mapping[str, BlobStore], targets: Mapping[str, BlobStore]) -> bool:
    """Copy one file and compare it; tell whether there was one."""
    if LOCATION.fullmatch(file.location) is None:
        raise SettingsError("some files are not encrypted yet: run 'oneperson key rotate --data' first")
    data = sources[file.store].read_sealed(file.location)
    if data is None:
        return False
    medium = targets[file.store].medium
    try:
        medium.put_in_place(file.location, data)
        same = medium.read(file.location) == data
    except OSError as error:
        raise StorageUnavailableError(f"A file could not be copied ({error.strerror}).") from error
    if not same:
        raise StorageUnavailableError(
            "A file that was copied does not come back as it was; stop using that place."
        )
    return True


def _require_forgetting(store: BlobStore) -> None:
    """Make sure that what is erased at a place is gone.

    Raises:
        StorageUnavailableError: It would be kept, or the place cannot be reached.
    """
    if not isinstance(store.medium, Objects):
        return
    try:
        keeps, remedy = store.medium.keeps_erased()
    except OSError as error:
        raise StorageUnavailableError(f"The bucket cannot be used ({error.strerror}).") from error
    if remedy:
        raise StorageUnavailableError(f"{keeps}, so what is erased would stay: {remedy}")


def _begin(store: BlobStore) -> None:
    try:
        store.medium.begin()
    except OSError as error:
        raise StorageUnavailableError(f"The place cannot be used ({error.strerror}).") from error


def _record(
    database: Database, result: Copied, sources: Mapping[str, BlobStore], targets: Mapping[str, BlobStore]
) -> None:
    with database.write() as session:
        record(
            session,
            AuditKind.FILES_COPIED,
            actor=SYSTEM,
            copied=result.copied,
            present=result.present,
            missing=len(result.missing),
            places=sorted(store.medium.name for store in sources.values()),
            to=sorted(store.medium.name for store in targets.values()),
        )
