"""Files of a generation: written durably, checked by SHA-256, sealed when a cipher is given.

A plain column is an ordinary `.npy` file and is memory-mapped when read. A sealed
one is a sequence of frames, each an 8-byte little-endian length and that many
sealed bytes, so that no file size is out of a cipher's reach and rows can be read
one by one where frames are small. The first frame holds the array's header, the
others its bytes. Each is bound to the manifest that it was
written for, to its file and to its place in it, so none can be altered, moved, left
out or taken from another generation.
"""

import hashlib
import io
import math
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from index.errors import GenerationError

CHUNK_BYTES = 8 * 2**20
"""Bytes hashed, written or sealed at a time: large enough that Python costs nothing, and soon read."""

LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 512
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][fiu][1248])', 'fortran_order': False, "
    rb"'shape': \(([0-9]{1,15}),(?: ([0-9]{1,15}))?\), \} *\n",
    re.DOTALL,
)
"""The `.npy` headers that are written here: format 1.0, one or two dimensions, plain numbers."""


class Cipher(Protocol):
    """What encrypts templates at rest; given by the caller, who owns the keys."""

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        """Encrypt and authenticate `plain`, bound to `context`."""

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Undo `seal`.

        Raises:
            ValueError: Altered, sealed with another key, or for another context.
        """

    def open_into(self, sealed: memoryview, target: memoryview, *, context: bytes) -> None:
        """Undo `seal` into a buffer of the plain bytes' length.

        Raises:
            ValueError: As `open`, or the length is another.
        """


@dataclass(frozen=True, slots=True)
class Sealing:
    """Seals and opens the frames of one file, each bound to its manifest, its file and its place in it.

    Attributes:
        path: The file.
        cipher: What seals.
        mark: Binds the frames to one manifest.
    """

    path: Path
    cipher: Cipher
    mark: str

    def seal(self, plain: bytes, *, number: int) -> bytes:
        """Seal one frame."""
        return self.cipher.seal(plain, context=self._context(number))

    def open(self, sealed: bytes, *, number: int) -> bytes:
        """Open one frame; see `Cipher.open`."""
        return self.cipher.open(sealed, context=self._context(number))

    def open_into(self, sealed: memoryview, target: memoryview, *, number: int) -> None:
        """Open one frame into a buffer; see `Cipher.open_into`."""
        self.cipher.open_into(sealed, target, context=self._context(number))

    def _context(self, number: int) -> bytes:
        return f"{self.mark}:{self.path.name}:{number}".encode()


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


def prefetch(paths: Iterable[Path]) -> None:
    """Ask the system to have files at hand soon, all at once, before they are read one by one."""
    for path in paths:
        with suppress(OSError), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class ColumnWriter:
    """Writes one column part by part, hashing what reaches the disk."""

    def __init__(
        self,
        path: Path,
        kind: str,
        shape: tuple[int, ...],
        *,
        cipher: Cipher | None,
        mark: str = "",
        frame_bytes: int = CHUNK_BYTES,
    ) -> None:
        """Begin a file.

        Args:
            path: The file; its name binds sealed frames to their place.
            kind: Type of the elements, little-endian, no objects.
            shape: Of the whole column.
            cipher: Seals every frame, or None for a plain `.npy` file.
            mark: Binds sealed frames to one manifest.
            frame_bytes: Bytes sealed together.
        """
        self._sealing = None if cipher is None else Sealing(path, cipher, mark)
        self._kind = np.dtype(kind)
        self._missing = math.prod(shape) * self._kind.itemsize
        self._frame_bytes = frame_bytes
        self._digest = hashlib.sha256()
        self._size = 0
        self._frames = 0
        self._pending = bytearray()
        self._file = path.open("wb")
        self._put(_header(self._kind, shape))

    def append(self, part: NDArray[Any]) -> None:
        """Write the next rows."""
        body = np.ascontiguousarray(part, dtype=self._kind).reshape(-1).view(np.uint8).data
        self._missing -= len(body)
        if self._pending:
            taken = self._frame_bytes - len(self._pending)
            self._pending += body[:taken]
            body = body[taken:]
            if len(self._pending) == self._frame_bytes:
                self._put(bytes(self._pending))
                self._pending.clear()
        whole = len(body) - len(body) % self._frame_bytes
        for start in range(0, whole, self._frame_bytes):
            self._put(body[start : start + self._frame_bytes])
        self._pending += body[whole:]

    def finish(self) -> FileRecord:
        """Write what is left, wait until the disk has it, and return the file's record.

        Raises:
            GenerationError: There were more or fewer rows than announced.
        """
        if self._missing:
            raise GenerationError("The column has another length than was announced.")
        if self._pending:
            self._put(bytes(self._pending))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        return FileRecord(self._digest.hexdigest(), self._size)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._file.close()

    def _put(self, chunk: bytes | memoryview) -> None:
        data: bytes | memoryview = chunk
        if self._sealing is not None:
            data = _frame(self._sealing.seal(bytes(chunk), number=self._frames))
        self._digest.update(data)
        self._size += self._file.write(data)
        self._frames += 1


def read_array(
    path: Path,
    record: FileRecord,
    *,
    cipher: Cipher | None,
    mark: str = "",
    frame_bytes: int = CHUNK_BYTES,
) -> NDArray[Any]:
    """Check a file against its record and return the array in it.

    A plain file is checked by its SHA-256, a sealed one by the authentication of every frame.

    Args:
        path: The file.
        record: What the manifest says of it.
        cipher: The one it was sealed with, or None.
        mark: What binds its frames to the manifest.
        frame_bytes: Bytes that were sealed together.

    Returns:
        A read-only memory map when plain, an array in memory when sealed.

    Raises:
        GenerationError: Missing, of another size or checksum, not sealed as expected, or no array.
    """
    check_size(path, record)
    try:
        if cipher is None:
            _check_digest(path, record)
            return _mapped(path, record.size_bytes)
        with path.open("rb") as file:
            return _opened(file, Sealing(path, cipher, mark), frame_bytes)
    except (ValueError, EOFError, OSError) as error:
        raise GenerationError(f"{path.name} holds no column that can be read: {error}") from error


def check_size(path: Path, record: FileRecord) -> None:
    """Refuse a file that is missing or longer or shorter than what was written.

    Raises:
        GenerationError: So it is.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise GenerationError(f"{path.name} cannot be read: {error.strerror}.") from error
    if size != record.size_bytes:
        raise GenerationError(f"{path.name} has {size} bytes instead of {record.size_bytes}.")


def _check_digest(path: Path, record: FileRecord) -> None:
    """Refuse a file that is not what was written.

    Raises:
        GenerationError: Its checksum is another.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != record.sha256:
        raise GenerationError(f"{path.name} is damaged: its SHA-256 is not the one in the manifest.")


def _header(kind: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the beginning of a `.npy` file."""
    header = io.BytesIO()
    layout = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    return header.getvalue()


def _frame(sealed: bytes) -> bytes:
    """Put the length before the sealed bytes."""
    return len(sealed).to_bytes(LENGTH_BYTES, "little") + sealed


def _next_frame(file: BinaryIO) -> memoryview:
    """Read the next frame, still sealed.

    Raises:
        EOFError: The file ends before.
        ValueError: No frame can be that long.
    """
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if length > 2 * CHUNK_BYTES:
        raise ValueError("a frame's length was altered")
    sealed = file.read(length)
    if not length or len(sealed) != length:
        raise EOFError("it ends within a frame")
    return memoryview(sealed)


def _opened(file: BinaryIO, sealing: Sealing, frame_bytes: int) -> NDArray[Any]:
    """Open all frames, each straight into its part of the array.

    Raises:
        ValueError: A frame was altered or is another's, or the header is none.
        EOFError: Frames are missing.
    """
    array = _empty(sealing.open(bytes(_next_frame(file)), number=0))
    body = array.reshape(-1).view(np.uint8).data
    number = 1
    for start in range(0, len(body), frame_bytes):
        sealing.open_into(_next_frame(file), body[start : start + frame_bytes], number=number)
        number += 1
    if file.read(1):
        raise ValueError("it goes on after its last frame")
    return array


def _mapped(path: Path, size_bytes: int) -> NDArray[Any]:
    """Map a plain `.npy` file of a known size.

    Raises:
        ValueError: It is none of ours.
    """
    with path.open("rb") as file:
        start = file.read(_MOST_HEADER_BYTES)
    kind, shape, body = column_layout(start)
    if body + math.prod(shape) * kind.itemsize != size_bytes:
        raise ValueError("it is longer or shorter than its header says")
    return np.memmap(path, kind, "r", offset=body, shape=shape)


def _empty(header: bytes) -> NDArray[Any]:
    """Make the array that an authenticated header describes.

    Raises:
        ValueError: It describes none of ours.
    """
    kind, shape, body = column_layout(header)
    if body != len(header):
        raise ValueError("its header goes on")
    return np.empty(shape, dtype=kind)


def column_layout(start: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Read the header that `write_array` writes, by its form: NumPy's reader evaluates what stands there.

    Args:
        start: The file's beginning.

    Returns:
        Type and shape of the array, and where its bytes begin.

    Raises:
        ValueError: It is another one.
    """
    found = _HEADER.match(start)
    if found is None or found.end() != 10 + int.from_bytes(start[8:10], "little"):
        raise ValueError("it has another layout")
    shape = tuple(int(side) for side in (found[2], found[3]) if side is not None)
    return np.dtype(found[1].decode()), shape, found.end()
