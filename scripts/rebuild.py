"""`oneperson rebuild`: fresh generations, with another pack if asked, which running services take over."""

import csv
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from index.errors import BackendError, GenerationError, PackError
from index.pack import MANIFEST_NAME, Pack, load_pack, read_manifest
from scripts.progress import progress
from scripts.storage import prepared_database
from service.database import Database
from service.encryption.vault import vault_of
from service.engine import find_pack
from service.errors import SettingsError
from service.file_stores import portrait_store
from service.galleries.keeper import IncompleteError
from service.galleries.rebuild import (
    Advance,
    Encoded,
    EngineError,
    count_missing,
    encode_missing,
    encode_with,
    write_generations,
)
from service.galleries.switches import announce, settings_in_force
from service.settings import Settings, load_settings

ATTEMPTS = 5
"""Times that what was enrolled since is encoded, too, before the rebuild gives up: each is shorter."""

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

    Running services go on meanwhile with what they have, and then take over pack and generations
    without refusing anybody. Stopped in the middle, the same command goes on where it was.
    """
    console = Console()
    configured = load_settings()
    try:
        with prepared_database(configured) as database:
            before = settings_in_force(database, configured)
            settings = before if pack is None else with_pack(configured, pack)
            loaded = load_pack(find_pack(settings))
            encode = _encoding(engine, database, settings, loaded, ray_address)
            written = _written(
                console, database, settings, pack=loaded, encode=encode, report=report, activate=activate
            )
            if activate:
                switch_to(database, configured, loaded, name=settings.pack, before=before)
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
    if activate:
        console.print("Running services take it over within seconds; /readyz names their pack.")
    if activate and settings.pack != configured.pack:
        console.print(
            f"The pack '{loaded.name}' stays in force, also after a restart, until ONEPERSON_PACK is changed "
            "or 'oneperson rollback' goes back."
        )


def switch_to(
    database: Database,
    configured: Settings,
    pack: Pack,
    *,
    name: str,
    before: Settings,
    undoes: int | None = None,
) -> None:
    """Announce to every running service what it is to take over.

    Args:
        database: The truth.
        configured: The settings as the environment gives them.
        pack: Whose generations were activated.
        name: How `ONEPERSON_PACK` would name it.
        before: The settings with the pack in force until now.
        undoes: The switch that this one takes back.
    """
    try:
        contract_before = read_manifest(find_pack(before)).contract_id
    except (SettingsError, PackError):
        contract_before = ""  # It is gone, so there is no way back to it.
    with database.write() as session:
        announce(session, configured, pack, name=name, contract_before=contract_before, undoes=undoes)


def _written(
    console: Console,
    database: Database,
    settings: Settings,
    *,
    pack: Pack,
    encode: Encoding,
    report: Path | None,
    activate: bool,
) -> dict[str, str]:
    """Encode what is missing, and what a running service enrols meanwhile, and write the generations.

    Raises:
        IncompleteError: Portraits could not be encoded, or they are enrolled faster than encoded.
    """
    for attempt in range(1, ATTEMPTS + 1):
        encoded = _encoded(database, pack, encode)
        if attempt == 1 or encoded.done or encoded.failures:
            _tell(console, encoded, report)
        try:
            return write_generations(database, settings, pack, activate=activate)
        except IncompleteError:
            if encoded.failures or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def with_pack(settings: Settings, pack: str) -> Settings:
    """Return the settings with another pack: a name, or a folder by its whole path."""
    folder = Path(pack)
    named = str(folder.absolute()) if (folder / MANIFEST_NAME).is_file() else pack
    return settings.model_copy(update={"pack": named})


def _encoding(
    engine: EngineName, database: Database, settings: Settings, pack: Pack, address: str | None
) -> Encoding:
    """Return what encodes the missing portraits.

    Raises:
        EngineError: The Ray cluster cannot be reached.
        SettingsError: The extra is not installed.
    """
    store = portrait_store(settings, vault_of(database.info))
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
