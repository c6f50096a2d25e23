"""Looks for what is wrong with an installation, without changing it."""

import os
import shutil
from collections.abc import Callable, Iterator

from sqlalchemy.orm import Session

from index.errors import GenerationError, OnePersonError
from index.machine_code import why_not
from index.pack import verify_pack
from index.pack_manifest import PackManifest
from index.snapshot import current, verify_generation
from service.database import Database
from service.encryption.keys import key_source
from service.encryption.opening import open_vault
from service.encryption.repository import state as encryption_state
from service.encryption.soundness import altered_templates, key_advice
from service.engine import find_pack
from service.errors import ServiceError, SettingsError
from service.examination_data import (
    backup_finding,
    damage_finding,
    erasure_finding,
    file_findings,
    generation_finding,
    retention_finding,
    store_finding,
)
from service.findings import Finding
from service.galleries import repository
from service.galleries.keeper import GalleryPlace, gallery_place, generation_cipher
from service.galleries.service import NAMES
from service.galleries.switches import in_force
from service.schema import is_known, newest_revision
from service.settings import Settings

LEAST_FREE_BYTES = 2 * 2**30
"""A generation of 400,000 references of 512 floats takes 1.1 GB and is written beside the old one."""

MOST_NAMED = 20
"""Persons named in a finding; the number tells of the others."""


def examine(settings: Settings, *, deep: bool = False) -> Iterator[Finding]:
    """Yield one finding per part; parts that need a broken one are left out.

    Args:
        settings: Of the installation.
        deep: Whether every stored file is opened, too.
    """
    yield _tried("disk", lambda: _disk(settings))
    yield _threads(settings)
    yield _scan()
    yield _tried("file store", lambda: store_finding(settings))
    found, manifest = _pack(settings, "pack")
    yield found
    yield from _stored(settings, manifest, deep=deep)


def _stored(settings: Settings, manifest: PackManifest | None, *, deep: bool) -> Iterator[Finding]:
    """Examine the database and everything that must agree with it."""
    try:
        database = Database(settings.database_address)
    except (SettingsError, ServiceError, OSError) as error:
        yield Finding("database", False, str(error), "correct ONEPERSON_DATABASE_URL")
        return
    try:
        reached = _tried("database", lambda: _reach(database))
        yield reached
        if not reached.ok:
            return
        schema = _schema(database)
        yield schema
        if not schema.ok or database.revision() is None:
            return
        encryption = _tried("encryption", lambda: _encryption(database, settings))
        yield encryption
        if not encryption.ok:
            return
        with database.read() as session:
            if encryption_state(session) is not None:
                yield _tried("templates", lambda: _templates(session))
            switched = in_force(session, settings).settings
            if switched.pack != settings.pack:
                found, manifest = _pack(switched, "pack in force")
                yield found
            if manifest is not None:
                yield from (_gallery(session, settings, manifest, name) for name in NAMES)
            yield from _tried_all("files", lambda: file_findings(database, settings))
            for part, look in _data_looks(session, settings).items():
                yield _tried(part, look)
        if deep:
            yield _tried("file contents", lambda: damage_finding(database, settings))
    except ServiceError as error:
        yield Finding("database", False, error.detail, "look at the database's log")
    finally:
        database.close()


def _pack(settings: Settings, part: str) -> tuple[Finding, PackManifest | None]:
    try:
        manifest = verify_pack(find_pack(settings))
    except (SettingsError, OnePersonError) as error:
        return Finding(part, False, str(error), "add or repair it with 'oneperson pack add'"), None
    detail = f"{manifest.name} {manifest.version}, {manifest.licence}; files verified"
    return Finding(part, True, detail), manifest


def _tried(part: str, look: Callable[[], Finding]) -> Finding:
    return _tried_all(part, lambda: iter([look()]))[0]


def _tried_all(part: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except SettingsError as error:
        return [Finding(part, False, str(error), "correct the setting")]
    except ServiceError as error:
        return [Finding(part, False, error.detail, "look at the system's log")]
    except OSError as error:
        return [
            Finding(part, False, _place_and_reason(error), "correct the folder, the bucket or its rights")
        ]


def _place_and_reason(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _data_looks(session: Session, settings: Settings) -> dict[str, Callable[[], Finding]]:
    """Return the looks at what is kept, by the part that they look at."""
    return {
        "erased templates": lambda: generation_finding(session, settings),
        "retention": lambda: retention_finding(session, settings),
        "erasure list": lambda: erasure_finding(session, settings),
        "backup": lambda: backup_finding(session),
    }


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    detail = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free under {settings.data_dir}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", False, f"{folder} cannot be written", "correct its owner or its rights")
    if usage.free < LEAST_FREE_BYTES:
        return Finding("disk", False, detail, "free space, or move the data folder (ONEPERSON_DATA_DIR)")
    return Finding("disk", True, detail)


def _threads(settings: Settings) -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    blas = os.environ.get("OPENBLAS_CORETYPE", "as it finds")
    detail = f"{settings.threads} threads on {usable} processors; BLAS kernel: {blas}"
    if settings.threads > usable:
        return Finding("threads", False, detail, f"set ONEPERSON_THREADS to {usable} or less")
    return Finding("threads", True, detail)


def _scan() -> Finding:
    """Tell what will scan the galleries; either way answers are the same."""
    why = why_not()
    if why:
        return Finding("scan", True, f"by FAISS, in about twice the time of machine code: {why}")
    return Finding("scan", True, "by machine code made for this processor")


def _reach(database: Database) -> Finding:
    database.revision()
    return Finding("database", True, database.engine.url.render_as_string(hide_password=True))


def _schema(database: Database) -> Finding:
    revision, newest = database.revision(), newest_revision()
    if revision is None:
        return Finding("schema", True, "empty; it is filled at the first start")
    if revision == newest:
        return Finding("schema", True, f"revision {revision}")
    detail = f"revision {revision}, this version needs {newest}"
    if is_known(revision):
        return Finding("schema", False, detail, "make a backup and run 'oneperson migrate'")
    return Finding("schema", False, detail, "install the later version that migrated it")


def _encryption(database: Database, settings: Settings) -> Finding:
    """Open the vault, unless that would found it: an examination changes nothing."""
    with database.read() as session:
        state = encryption_state(session)
    try:
        if state is None:
            key_source(settings)
            return Finding("encryption", True, "nothing is stored yet; the first start begins it")
        count = open_vault(database, settings).check()
    except SettingsError as error:
        return Finding("encryption", False, str(error), "give the right keys, or do what the message says")
    detail = f"key {state.master_key_id} from {key_source(settings)}; {count} data keys can be opened"
    return Finding("encryption", True, detail, key_advice(settings))


def _templates(session: Session) -> Finding:
    altered = altered_templates(session)
    if altered:
        named = ", ".join(altered[:MOST_NAMED]) + (" …" if len(altered) > MOST_NAMED else "")
        detail = f"templates of {len(altered)} persons were altered outside OnePerson: {named}"
        return Finding("templates", False, detail, "find out who did it; then run 'oneperson rebuild'")
    return Finding("templates", True, "every template is as it was stored")


def _gallery(session: Session, settings: Settings, manifest: PackManifest, name: str) -> Finding:
    part = f"gallery {name}"
    place = gallery_place(
        settings, name, contract_id=manifest.contract_id, dimension=manifest.encoder.dimension
    )
    total = repository.count_portraits(session, name)
    unencoded = len(repository.unencoded(session, name, place.contract_id))
    if unencoded:
        detail = f"{unencoded} of {total} portraits are not encoded by the pack '{manifest.name}'"
        return Finding(part, False, detail, "run 'oneperson rebuild'")
    try:
        detail = _generation(session, place, total)
    except (GenerationError, OSError) as error:
        return Finding(part, False, str(error), "run 'oneperson rebuild'; the database has everything")
    return Finding(part, True, detail)


def _generation(session: Session, place: GalleryPlace, total: int) -> str:
    """Compare the generation on disk with the database.

    Raises:
        GenerationError: It is damaged, or cannot be a copy of this database.
    """
    head = repository.heads(session).get(place.name, 0)
    path = current(place.directory)
    if path is None:
        return f"{total} portraits at position {head}; no generation yet, it is loaded from the database"
    references, manifest = verify_generation(
        path, contract_id=place.contract_id, cipher=generation_cipher(session, place)
    )
    if manifest.extra.get("epoch") != repository.epoch(session, place.name) or manifest.position > head:
        raise GenerationError(f"{path.name} was made from another database or a later state of this one")
    if manifest.position == head and len(references) != total:
        raise GenerationError(f"{path.name} holds {len(references)} references, the database {total}")
    behind = head - manifest.position
    return f"{total} portraits at position {head}; {path.name} verified, {behind} changes are replayed on it"
