"""`oneperson rollback`: back to the generation, or to the pack, before the last activation."""

import typer
from rich.console import Console

from index.errors import BackendError, GenerationError
from index.pack import Pack, load_pack
from scripts.failures import CommandError
from scripts.progress import progress
from scripts.rebuild import PackOption, switch_to, with_pack
from scripts.storage import prepared_database
from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.encryption.vault import vault_of
from service.engine import find_pack
from service.file_stores import portrait_store
from service.galleries.backends import backend_of
from service.galleries.keeper import gallery_place
from service.galleries.rebuild import count_missing, encode_missing
from service.galleries.switches import settings_in_force, to_take_back
from service.persons.enrolment import FLAGGED, REGISTERED
from service.settings import Settings, load_settings
from service.tables import PackSwitch


def rollback(pack: PackOption = None) -> None:
    """Take back the last rebuild: its pack, if it brought another one, else its generations.

    Later changes are replayed; what was enrolled since is encoded with the earlier pack first. Running
    services take it over within seconds, without refusing anybody.
    """
    console = Console()
    configured = load_settings()
    with prepared_database(configured) as database:
        before = settings_in_force(database, configured)
        with database.read() as session:
            last = to_take_back(session, configured) if pack is None else None
        if last is not None and last.contract_id != last.contract_before:
            _to_earlier_pack(console, database, configured, before, last)
        else:
            settings = before if pack is None else with_pack(configured, pack)
            loaded = load_pack(find_pack(settings))
            _to_earlier_generation(console, database, settings, loaded)
            if settings.pack == before.pack:
                undoes = None if last is None else last.id
                switch_to(database, configured, loaded, name=settings.pack, before=before, undoes=undoes)
    console.print("Running services take it over within seconds; /readyz names their pack.")


def _to_earlier_pack(
    console: Console, database: Database, configured: Settings, before: Settings, last: PackSwitch
) -> None:
    """Encode what the earlier pack has not seen, and have the services go back to it.

    Raises:
        CommandError: It is not there any more, was altered, or cannot encode everything.
    """
    settings = configured.model_copy(update={"pack": last.pack_before})
    earlier = load_pack(find_pack(settings))
    if earlier.contract_id != last.contract_before:
        raise CommandError(
            f"the pack '{last.pack_before}' is not the one that was in force before: it was changed since"
        )
    store = portrait_store(settings, vault_of(database.info))
    with progress("Encoding portraits", count_missing(database, earlier.contract_id)) as shown:
        encoded = encode_missing(database, store, earlier, threads=settings.threads, advance=shown.advance)
    if encoded.failures:
        raise CommandError(f"{len(encoded.failures)} portraits could not be encoded with '{earlier.name}'")
    switch_to(database, configured, earlier, name=last.pack_before, before=before, undoes=last.id)
    with database.write() as session:
        record(
            session,
            AuditKind.GALLERY_ROLLED_BACK,
            actor=SYSTEM,
            contract_id=earlier.contract_id,
            pack=earlier.name,
        )
    console.print(f"Back to the pack '{earlier.name}'; {encoded.done} portraits were encoded with it.")


def _to_earlier_generation(console: Console, database: Database, settings: Settings, pack: Pack) -> None:
    """Let each gallery's generation before the current one be the current one.

    Raises:
        Exit: There is none.
    """
    done = {}
    backend = backend_of(settings)
    for name in (FLAGGED, REGISTERED):
        place = gallery_place(settings, name, contract_id=pack.contract_id, dimension=pack.dimension)
        try:
            with database.read() as session:
                done[name] = backend.roll_back(session, place)
        except GenerationError:
            console.print(f"{name}: there is no earlier generation.")
            continue
        except BackendError as error:
            raise CommandError(str(error)) from error
        console.print(f"{name}: {done[name]} is current.")
    if not done:
        raise typer.Exit(1)
    with database.write() as session:
        record(session, AuditKind.GALLERY_ROLLED_BACK, actor=SYSTEM, generations=done)
