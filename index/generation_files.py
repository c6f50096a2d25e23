"""Files of a generation: written durably, checked by SHA-256, sealed when a cipher is given.

A plain column is an ordinary `.npy` file and is memory-mapped when read. A sealed
one is a sequence of frames, each an 8-byte little-endian length and that many
sealed bytes, so that no file size is out of a cipher's reach.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.errors import GenerationError

CHUNK_BYTES = 32 * 2**20
"""Bytes hashed, written or sealed at a time."""

_LENGTH_BYTES = 8


class Cipher(Protocol):
    """What encrypts templates at rest; given by the caller, who owns the keys."""

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        """Encrypt and authenticate `plain`, bound to `context`."""

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Undo `seal`.

        Raises:
            ValueError: Altered, sealed with another key, or for another context.
        """


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a manifest knows of one file.

    Attributes:
        sha256: Hex digest of the bytes on disk.
        size_bytes: Their number.
    """

    sha256: str
    size_bytes: int


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_array(path: Path, array: NDArray[Any], *, cipher: Cipher | None) -> FileRecord:
    """Write one column, hashing what reaches the disk, and wait until the disk has it.

    Args:
        path: The file; its name binds sealed frames to their place.
        array: Any shape, little-endian, no objects.
        cipher: Seals every frame, or None for a plain `.npy` file.
    """
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        for number, chunk in enumerate(_npy_chunks(array)):
            data: bytes | memoryview = chunk
            if cipher is not None:
                data = _frame(cipher.seal(bytes(chunk), context=_context(path, number)))
            digest.update(data)
            size += file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return FileRecord(digest.hexdigest(), size)


def read_array(path: Path, record: FileRecord, *, cipher: Cipher | None) -> NDArray[Any]:
    """Check a file against its record and return the array in it.

    Args:
        path: The file.
        record: What the manifest says of it.
        cipher: The one it was sealed with, or None.

    Returns:
        A read-only memory map when plain, an array in memory when sealed.

    Raises:
        GenerationError: Missing, of another size or checksum, not sealed as expected, or no array.
    """
    _check_file(path, record)
    try:
        if cipher is None:
            mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            return mapped
        plain = b"".join(_opened_frames(path, cipher))
        array: NDArray[Any] = np.load(io.BytesIO(plain), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise GenerationError(f"{path.name} holds no column that can be read: {error}") from error
    return array


def _check_file(path: Path, record: FileRecord) -> None:
    """Refuse a file that is not what was written.

    Raises:
        GenerationError: Missing, or of another size or checksum.
    """
    try:
        size = path.stat().st_size
        if size != record.size_bytes:
            raise GenerationError(f"{path.name} has {size} bytes instead of {record.size_bytes}.")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise GenerationError(f"{path.name} cannot be read: {error.strerror}.") from error
    if digest != record.sha256:
        raise GenerationError(f"{path.name} is damaged: its SHA-256 is not the one in the manifest.")


def _npy_chunks(array: NDArray[Any]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a `.npy` file without holding a second copy of the array."""
    contiguous = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(contiguous))
    yield header.getvalue()
    body = contiguous.reshape(-1).view(np.uint8).data
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]


def _context(path: Path, number: int) -> bytes:
    """Bind a frame to its file and its place in it."""
    return f"{path.name}:{number}".encode()


def _frame(sealed: bytes) -> bytes:
    """Put the length before the sealed bytes."""
    return len(sealed).to_bytes(_LENGTH_BYTES, "little") + sealed


def _opened_frames(path: Path, cipher: Cipher) -> Iterator[bytes]:
    """Yield the plain content of every frame, in order."""
    with path.open("rb") as file:
        number = 0
        while prefix := file.read(_LENGTH_BYTES):
            sealed = file.read(int.from_bytes(prefix, "little"))
            yield cipher.open(sealed, context=_context(path, number))
            number += 1
