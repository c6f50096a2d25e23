"""`oneperson rebuild` and `oneperson rollback`: fresh generations, and the way back."""

import csv
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from index.errors import BackendError, GenerationError
from index.pack import Pack, load_pack
from scripts.progress import progress
from scripts.storage import prepared_database
from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.encryption.vault import vault_of
from service.engine import find_pack
from service.errors import SettingsError
from service.galleries.backends import backend_of
from service.galleries.keeper import IncompleteError, gallery_place
from service.galleries.rebuild import (
    Advance,
    Encoded,
    EngineError,
    count_missing,
    encode_missing,
    encode_with,
    write_generations,
)
from service.persons.enrolment import FLAGGED, REGISTERED
from service.portrait_store import PortraitStore
from service.settings import Settings, load_settings

Encoding = Callable[[Advance], Encoded]
"""Encodes what is missing, telling how far it has come."""

PackOption = Annotated[
    str | None, typer.Option(help="Name or directory of the pack; default: the one in the settings.")
]


class EngineName(StrEnum):
    """Where portraits are encoded."""

    LOCAL = "local"
    RAY = "ray"


def rebuild(
    pack: PackOption = None,
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Whether to switch to what was built.")
    ] = True,
    report: Annotated[
        Path | None, typer.Option(help="CSV file for the portraits that could not be encoded.")
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="Where portraits are encoded: in this process, or on a Ray cluster.")
    ] = EngineName.LOCAL,
    ray_address: Annotated[
        str | None, typer.Option(help="The Ray cluster's address; default: RAY_ADDRESS, or this machine.")
    ] = None,
) -> None:
    """Re-encode what the pack has not encoded yet, write fresh generations, verify, and switch.

    Stopped in the middle, the same command goes on where it was. The service may run meanwhile.
    """
    console = Console()
    settings = _with_pack(load_settings(), pack)
    loaded = load_pack(find_pack(settings))
    try:
        with prepared_database(settings) as database:
            encode = _encoding(engine, database, settings, loaded, ray_address)
            _tell(console, _encoded(database, loaded, encode), report)
            written = write_generations(database, settings, loaded, activate=activate)
    except KeyboardInterrupt:
        console.print("Interrupted; run the same command again to go on where it stopped.")
        raise typer.Exit(130) from None
    except (IncompleteError, GenerationError, BackendError, EngineError) as error:
        Console(stderr=True).print(f"Not switched: {error}")
        raise typer.Exit(1) from None
    for gallery, generation in written.items():
        console.print(f"{gallery}: {generation} {'is current' if activate else 'is ready, not switched to'}")
    if not written:
        console.print("The galleries are empty; there is nothing to write.")
    if pack is not None and activate and pack != load_settings().pack:
        console.print(f"Set ONEPERSON_PACK={pack} and restart the service to search with this pack.")


def rollback(pack: PackOption = None) -> None:
    """Go back to each gallery's generation before the current one; later changes are replayed on it."""
    console = Console()
    settings = _with_pack(load_settings(), pack)
    loaded = load_pack(find_pack(settings))
    done = {}
    backend = backend_of(settings)
    with prepared_database(settings) as database:
        for name in (FLAGGED, REGISTERED):
            place = gallery_place(settings, name, contract_id=loaded.contract_id, dimension=loaded.dimension)
            try:
                with database.read() as session:
                    done[name] = backend.roll_back(session, place)
            except GenerationError:
                console.print(f"{name}: there is no earlier generation.")
                continue
            console.print(f"{name}: {done[name]} is current. Restart the service to load it.")
        if not done:
            raise typer.Exit(1)
        with database.write() as session:
            record(session, AuditKind.GALLERY_ROLLED_BACK, actor=SYSTEM, generations=done)


def _with_pack(settings: Settings, pack: str | None) -> Settings:
    return settings if pack is None else settings.model_copy(update={"pack": pack})


def _encoding(
    engine: EngineName, database: Database, settings: Settings, pack: Pack, address: str | None
) -> Encoding:
    """Return what encodes the missing portraits.

    Raises:
        EngineError: The Ray cluster cannot be reached.
        SettingsError: The extra is not installed.
    """
    store = PortraitStore(settings.portraits_dir, vault_of(database.info))
    if engine is EngineName.LOCAL:
        return lambda advance: encode_missing(
            database, store, pack, threads=settings.threads, advance=advance
        )
    try:
        from service.galleries.ray_encoding import RayEngine  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise SettingsError(f"--engine ray needs the package {error.name}: pip install '.[ray]'") from error
    cluster = RayEngine(
        find_pack(settings),
        contract_id=pack.contract_id,
        store=store,
        address=address,
    )
    return lambda advance: encode_with(cluster, database, pack=pack, advance=advance)


def _encoded(database: Database, pack: Pack, encode: Encoding) -> Encoded:
    with progress("Encoding portraits", count_missing(database, pack.contract_id)) as shown:
        return encode(shown.advance)


def _tell(console: Console, encoded: Encoded, report: Path | None) -> None:
    console.print(f"Encoded {encoded.done} portraits, {len(encoded.failures)} could not be encoded.")
    if encoded.by_old_landmarks:
        console.print(
            f"In {encoded.by_old_landmarks} of them this pack's detector found no single face; "
            "the points found at enrolment were used."
        )
    if report is None:
        for failure in encoded.failures[:20]:
            console.print(f"  person {failure.person_id}, reference {failure.reference_id}: {failure.reason}")
        return
    with report.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["person_id", "reference_id", "reason"])
        writer.writerows([f.person_id, f.reference_id, f.reason] for f in encoded.failures)
    console.print(f"Report: {report}")
