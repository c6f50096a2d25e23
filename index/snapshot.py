"""Generations on disk: written aside, verified, switched by one rename, kept for rollback.

Layout of a gallery's folder::

    active.json                     which generation is active, and which were before
    generation-00000007-1f0c9a3e/   manifest.json, its seal when encrypted, and one file per column
    .building-…  .deleted-…         unfinished or condemned; `clean` removes them
    .lock                           taken for the moments that several processes must not share

Whatever the instruction at which a process dies, `active.json` names a complete
generation, or none was ever activated.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import GenerationError
from index.generation_files import Cipher, read_array, sync_directory, write_array, write_bytes
from index.manifest import (
    MANIFEST_NAME,
    GenerationManifest,
    check_seal,
    read_manifest,
    read_small,
    write_seal,
)
from index.types import Rate, References

_POINTER = "active.json"
_BUILDING = ".building-"
_DELETED = ".deleted-"
_NAME = re.compile(r"generation-(\d{8})-[0-9a-f]{8}")
_COLUMNS: Mapping[str, str] = {
    "reference_ids": "<i8",
    "person_keys": "<i8",
    "sexes": "|u1",
    "birth_years": "<u2",
    "vectors": "<f4",
}


@dataclass(frozen=True, slots=True)
class _Pointer:
    """Content of `active.json`: names of the active generation and of those before, latest first."""

    current: str
    previous: tuple[str, ...]


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
    """Write a complete, verified generation; it is not active yet.

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
    directory.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(16) if cipher is not None else ""
    with _building_folder(directory) as building:
        files = {
            f"{name}.npy": write_array(
                building / f"{name}.npy",
                getattr(references, name).astype(kind, copy=False),
                cipher=cipher,
                mark=mark,
            )
            for name, kind in _COLUMNS.items()
        }
        manifest = GenerationManifest(
            gallery=gallery,
            contract_id=contract_id,
            dimension=references.vectors.shape[1],
            references=len(references),
            persons=len(np.unique(references.person_keys)),
            position=position,
            created_at=created_at or datetime.now(UTC),
            sealed=cipher is not None,
            files=files,
            recall=recall,
            extra=extra or {},
            mark=mark,
        )
        write_bytes(building / MANIFEST_NAME, manifest.to_json())
        if cipher is not None:
            write_seal(building, manifest.to_json(), cipher)
        sync_directory(building)
        load_generation(building, contract_id=contract_id, cipher=cipher)
        with _locked(directory):
            generation = directory / _next_name(directory)
            building.rename(generation)
            sync_directory(directory)
    return generation


def load_generation(
    generation: Path, *, contract_id: str, cipher: Cipher | None = None
) -> tuple[References, GenerationManifest]:
    """Read a generation, checking every byte of it.

    Args:
        generation: Its folder.
        contract_id: The pack in use.
        cipher: The one that sealed it, or None.

    Returns:
        The references, whose arrays may be read-only memory maps, and the manifest.

    Raises:
        GenerationError: Missing, damaged, inconsistent, or made by another pack; says which.
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
    columns = {}
    for name, kind in _COLUMNS.items():
        record = manifest.files.get(f"{name}.npy")
        if record is None:
            raise GenerationError(f"{generation.name} lists no {name}.npy.")
        columns[name] = read_array(generation / f"{name}.npy", record, cipher=cipher, mark=manifest.mark)
        _check_column(columns[name], manifest, name=name, kind=kind)
    references = References(**columns)
    _check_keys(references, manifest)
    return references, manifest


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
    if generation.resolve().parent != directory.resolve() or not _NAME.fullmatch(generation.name):
        raise GenerationError(f"{generation.name} is not a generation of {directory.name}.")
    recall = manifest.recall
    if recall is not None and recall.value < 1.0:
        raise GenerationError(
            f"{generation.name} loses candidates: recall {recall.value:.4f} on {recall.n} probes."
        )
    with _locked(directory):
        before = _read_pointer(directory)
        previous = () if before is None else (before.current, *before.previous)
        _write_pointer(
            directory, _Pointer(generation.name, tuple(n for n in previous if n != generation.name))
        )


def current(directory: Path) -> Path | None:
    """Return the active generation's folder, or None where none was ever activated.

    Raises:
        GenerationError: The record of what is active cannot be read.
    """
    pointer = _read_pointer(directory)
    return None if pointer is None else directory / pointer.current


def rollback(directory: Path) -> Path:
    """Make the generation active that was before this one; repeat to go further back.

    Returns:
        The folder of the generation that is active now.

    Raises:
        GenerationError: There is none before, or it is not complete.
    """
    with _locked(directory):
        pointer = _read_pointer(directory)
        if pointer is None or not pointer.previous:
            raise GenerationError(f"{directory.name} has no earlier generation to go back to.")
        name, *rest = pointer.previous
        read_manifest(directory / name)
        _write_pointer(directory, _Pointer(name, tuple(rest)))
    return directory / name


def generations(directory: Path) -> list[Path]:
    """Return the folders of all complete generations, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))


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
        pointer = _read_pointer(directory)
        if pointer is None:
            return []
        kept = {pointer.current, *pointer.previous[:keep]}
        condemned = [
            path for path in generations(directory) if path.name not in kept and path.name < pointer.current
        ]
        _write_pointer(directory, _Pointer(pointer.current, pointer.previous[:keep]))
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
            pointer = _read_pointer(directory)
        except GenerationError:
            pointer = None  # It says nothing that could be kept.
        if pointer is not None:
            kept = tuple(name for name in pointer.previous if name not in names)
            if pointer.current in names:
                (directory / _POINTER).unlink()
            elif kept != pointer.previous:
                _write_pointer(directory, _Pointer(pointer.current, kept))
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
    numbers = [int(match[1]) for path in directory.iterdir() if (match := _NAME.search(path.name))]
    return f"generation-{max(numbers, default=0) + 1:08d}-{secrets.token_hex(4)}"


def _read_pointer(directory: Path) -> _Pointer | None:
    """Read `active.json`.

    Raises:
        GenerationError: It is there but cannot be read.
    """
    try:
        values = json.loads(read_small(directory / _POINTER))
        names = [values["current"], *values["previous"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GenerationError(f"{directory.name}/{_POINTER} cannot be read: {error}.") from error
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise GenerationError(f"{directory.name}/{_POINTER} names something that is no generation.")
    return _Pointer(names[0], tuple(names[1:]))


def _write_pointer(directory: Path, pointer: _Pointer) -> None:
    """Replace `active.json` by one rename."""
    aside = directory / f"{_POINTER}.new"
    write_bytes(aside, json.dumps({"current": pointer.current, "previous": pointer.previous}).encode())
    aside.replace(directory / _POINTER)
    sync_directory(directory)


def _check_column(column: NDArray[Any], manifest: GenerationManifest, *, name: str, kind: str) -> None:
    """Refuse a column whose type or shape is not what the manifest says.

    Raises:
        GenerationError: So it is.
    """
    shape = (manifest.references, manifest.dimension) if name == "vectors" else (manifest.references,)
    if column.shape != shape or column.dtype != np.dtype(kind):
        raise GenerationError(f"{name}.npy holds {column.dtype} {column.shape} instead of {kind} {shape}.")


def _check_keys(references: References, manifest: GenerationManifest) -> None:
    """Refuse ids that do not ascend and a person count that is not the manifest's.

    Raises:
        GenerationError: So it is.
    """
    if not (np.diff(references.reference_ids) > 0).all():
        raise GenerationError("The reference ids of the generation do not ascend.")
    persons = len(np.unique(references.person_keys))
    if persons != manifest.persons:
        raise GenerationError(f"The generation holds {persons} persons instead of {manifest.persons}.")
