"""Generations on disk: written aside, verified, switched by one rename, kept for rollback.

Layout of a gallery's folder::

    active.json                     which generation is active, and which were before
    generation-00000007-1f0c9a3e/   manifest.json, its seal when encrypted, and one file per column,
                                    see `index.generation_columns`
    .building-…  .deleted-…         unfinished or condemned; `clean` removes them
    .lock                           taken for the moments that several processes must not share

Whatever the instruction at which a process dies, `active.json` names a complete
generation, or none was ever activated.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.codes import ENCODE_ROWS
from index.compact import Enrolled
from index.errors import GenerationError
from index.generation_columns import Shape, read_enrolled, read_references, write_columns
from index.generation_files import Cipher, sync_directory, write_bytes
from index.generation_pointer import (
    GENERATION_NAME,
    POINTER_NAME,
    Pointer,
    read_pointer,
    write_pointer,
)
from index.manifest import (
    MANIFEST_NAME,
    GenerationManifest,
    Title,
    check_seal,
    read_manifest,
    write_seal,
)
from index.rows import Rows
from index.types import Rate, References

_BUILDING = ".building-"
_DELETED = ".deleted-"


def write_generation(
    directory: Path,
    references: References,
    *,
    contract_id: str,
    position: int,
    gallery: str,
    extra: Mapping[str, Any] | None = None,
    recall: Rate | None = None,
    created_at: datetime | None = None,
    cipher: Cipher | None = None,
) -> Path:
    """Write a complete, verified generation of references in memory; it is not active yet.

    Args:
        directory: The gallery's folder; made if missing.
        references: Everything to be in it.
        contract_id: Pack that made the vectors.
        position: Last database change that `references` contain.
        gallery: Name of the gallery.
        extra: Plain JSON values to keep in the manifest.
        recall: Measured recall of the compressed search, where there is one.
        created_at: Time to state, now by default.
        cipher: Seals the files, or None.

    Returns:
        The generation's folder.

    Raises:
        GenerationError: What was read back is not what was to be written.
        OSError: The disk is full or not writable; nothing is left behind but a folder for `clean`.
    """
    title = Title(gallery, contract_id, position, extra or {}, created_at or datetime.now(UTC))
    return write_stream(
        directory,
        [references],
        title,
        references=len(references),
        dimension=references.vectors.shape[1],
        cipher=cipher,
        recall=lambda _: recall,
    )


def write_stream(
    directory: Path,
    parts: Iterable[References],
    title: Title,
    *,
    references: int,
    dimension: int,
    cipher: Cipher | None,
    recall: Callable[[Enrolled], Rate | None],
) -> Path:
    """Write a complete, verified generation of any size, holding one part of it in memory.

    Args:
        directory: The gallery's folder; made if missing.
        parts: Everything to be in it, by ascending reference_id.
        title: What the manifest says besides what is found in the parts.
        references: Number of references in all parts together.
        dimension: Length d of a vector.
        cipher: Seals the files, or None.
        recall: Measures the recall of a compressed search in what was written, where there is one.

    Returns:
        The generation's folder; it is not active yet.

    Raises:
        GenerationError: What was read back is not what was to be written.
        OSError: The disk is full or not writable; nothing is left behind but a folder for `clean`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shape = Shape(references, dimension, cipher, secrets.token_hex(16) if cipher is not None else "")
    with _building_folder(directory) as building:
        written = write_columns(building, parts, shape)
        manifest = GenerationManifest(
            gallery=title.gallery,
            contract_id=title.contract_id,
            dimension=dimension,
            references=references,
            persons=written.persons,
            position=title.position,
            created_at=title.created_at,
            sealed=cipher is not None,
            files=written.files,
            extra=title.extra,
            mark=shape.mark,
            compression=shape.compression,
        )
        manifest = replace(manifest, recall=recall(read_enrolled(building, manifest, cipher=cipher)))
        write_bytes(building / MANIFEST_NAME, manifest.to_json())
        if cipher is not None:
            write_seal(building, manifest.to_json(), cipher)
        sync_directory(building)
        verify_generation(building, contract_id=title.contract_id, cipher=cipher)
        with _locked(directory):
            generation = directory / _next_name(directory)
            building.rename(generation)
            sync_directory(directory)
    return generation


def load_generation(
    generation: Path, *, contract_id: str, cipher: Cipher | None = None
) -> tuple[References, GenerationManifest]:
    """Read a generation with all its vectors, checking every byte of it.

    Args:
        generation: Its folder.
        contract_id: The pack in use.
        cipher: The one that sealed it, or None.

    Returns:
        The references, whose arrays may be read-only memory maps, and the manifest.

    Raises:
        GenerationError: Missing, damaged, inconsistent, or made by another pack; says which.
    """
    manifest = _checked_manifest(generation, contract_id, cipher)
    return read_references(generation, manifest, cipher=cipher), manifest


def open_generation(
    generation: Path, *, contract_id: str, cipher: Cipher | None = None
) -> tuple[Enrolled, GenerationManifest]:
    """Read of a generation what a gallery keeps in memory, checking every byte of that.

    The vectors of a large generation stay on disk; each frame of them is checked when it is read.

    Args:
        generation: Its folder.
        contract_id: The pack in use.
        cipher: The one that sealed it, or None.

    Raises:
        GenerationError: Missing, damaged, inconsistent, made by another pack or compressed in another way.
    """
    manifest = _checked_manifest(generation, contract_id, cipher)
    return read_enrolled(generation, manifest, cipher=cipher), manifest


def verify_generation(
    generation: Path, *, contract_id: str, cipher: Cipher | None = None
) -> tuple[Enrolled, GenerationManifest]:
    """Read all of a generation, of a large one a block of vectors at a time; see `open_generation`.

    Raises:
        GenerationError: As there, or vectors are damaged.
    """
    enrolled, manifest = open_generation(generation, contract_id=contract_id, cipher=cipher)
    for _ in Rows.of(enrolled).blocks(ENCODE_ROWS):
        pass
    return enrolled, manifest


def activate(directory: Path, generation: Path) -> None:
    """Make a generation the active one, by one atomic rename.

    Args:
        directory: The gallery's folder.
        generation: A generation in it.

    Raises:
        GenerationError: It is not a complete generation of this folder, or its measured
            recall is below 1.
    """
    manifest = read_manifest(generation)
    if generation.resolve().parent != directory.resolve() or not GENERATION_NAME.fullmatch(generation.name):
        raise GenerationError(f"{generation.name} is not a generation of {directory.name}.")
    recall = manifest.recall
    if recall is not None and recall.value < 1.0:
        raise GenerationError(
            f"{generation.name} loses candidates: recall {recall.value:.4f} on {recall.n} probes."
        )
    with _locked(directory):
        before = read_pointer(directory)
        previous = () if before is None else (before.current, *before.previous)
        write_pointer(directory, Pointer(generation.name, tuple(n for n in previous if n != generation.name)))


def current(directory: Path) -> Path | None:
    """Return the active generation's folder, or None where none was ever activated.

    Raises:
        GenerationError: The record of what is active cannot be read.
    """
    pointer = read_pointer(directory)
    return None if pointer is None else directory / pointer.current


def rollback(directory: Path) -> Path:
    """Make the generation active that was before this one; repeat to go further back.

    Returns:
        The folder of the generation that is active now.

    Raises:
        GenerationError: There is none before, or it is not complete.
    """
    with _locked(directory):
        pointer = read_pointer(directory)
        if pointer is None or not pointer.previous:
            raise GenerationError(f"{directory.name} has no earlier generation to go back to.")
        name, *rest = pointer.previous
        read_manifest(directory / name)
        write_pointer(directory, Pointer(name, tuple(rest)))
    return directory / name


def generations(directory: Path) -> list[Path]:
    """Return the folders of all complete generations, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if GENERATION_NAME.fullmatch(path.name))


def prune(directory: Path, *, keep: int) -> list[Path]:
    """Delete old generations: older than the active one and not among the `keep` active before it.

    A generation newer than the active one, built but not activated, stays.

    Args:
        directory: The gallery's folder.
        keep: Number of earlier active generations to keep for rollback, at least 0.

    Returns:
        The folders deleted.
    """
    with _locked(directory):
        pointer = read_pointer(directory)
        if pointer is None:
            return []
        kept = {pointer.current, *pointer.previous[:keep]}
        condemned = [
            path for path in generations(directory) if path.name not in kept and path.name < pointer.current
        ]
        write_pointer(directory, Pointer(pointer.current, pointer.previous[:keep]))
        for path in condemned:
            path.rename(directory / f"{_DELETED}{path.name}")
        sync_directory(directory)
    clean(directory)
    return condemned


def discard(directory: Path, *, unwanted: Callable[[Path], bool]) -> list[Path]:
    """Delete generations, the active one too; a gallery without one is loaded from the database.

    Args:
        directory: The gallery's folder.
        unwanted: Asked of every generation's folder.

    Returns:
        The folders deleted.
    """
    if not directory.is_dir():
        return []
    with _locked(directory):
        condemned = [path for path in generations(directory) if unwanted(path)]
        names = {path.name for path in condemned}
        try:
            pointer = read_pointer(directory)
        except GenerationError:
            pointer = None  # It says nothing that could be kept.
        if pointer is not None:
            kept = tuple(name for name in pointer.previous if name not in names)
            if pointer.current in names:
                (directory / POINTER_NAME).unlink()
            elif kept != pointer.previous:
                write_pointer(directory, Pointer(pointer.current, kept))
        for path in condemned:
            path.rename(directory / f"{_DELETED}{path.name}")
        sync_directory(directory)
    clean(directory)
    return condemned


def clean(directory: Path) -> None:
    """Remove what writers that died have left; folders of living writers stay."""
    if not directory.is_dir():
        return
    with _locked(directory):
        for path in directory.iterdir():
            if path.name.startswith(_DELETED) or (path.name.startswith(_BUILDING) and not _is_held(path)):
                shutil.rmtree(path)


def _checked_manifest(generation: Path, contract_id: str, cipher: Cipher | None) -> GenerationManifest:
    """Read a manifest and see that the generation can be used here.

    Raises:
        GenerationError: It cannot be read, is another pack's, or encrypted where it should not be.
    """
    manifest = read_manifest(generation)
    if cipher is not None and manifest.sealed:
        check_seal(generation, cipher)
    if manifest.contract_id != contract_id:
        raise GenerationError(
            f"{generation.name} was made by pack {manifest.contract_id}, "
            f"but {contract_id} is in use: rebuild it."
        )
    if manifest.sealed != (cipher is not None):
        state = "encrypted" if manifest.sealed else "not encrypted"
        raise GenerationError(f"{generation.name} is {state}, which the key settings do not expect.")
    return manifest


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes and threads out of a gallery's folder for a moment."""
    with (directory / ".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _building_folder(directory: Path) -> Iterator[Path]:
    """Make a folder for an unfinished generation, held by a lock that dies with this process."""
    building = directory / f"{_BUILDING}{secrets.token_hex(8)}"
    with _locked(directory):
        building.mkdir()
        handle = os.open(building, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield building
    finally:
        os.close(handle)
        shutil.rmtree(building, ignore_errors=True)


def _is_held(building: Path) -> bool:
    """Tell whether a living writer works in a folder."""
    handle = os.open(building, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _next_name(directory: Path) -> str:
    """Return a name that sorts behind all others and was never used before."""
    numbers = [int(match[1]) for path in directory.iterdir() if (match := GENERATION_NAME.search(path.name))]
    return f"generation-{max(numbers, default=0) + 1:08d}-{secrets.token_hex(4)}"
