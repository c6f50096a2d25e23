"""The original vectors of a large generation: read from disk, some rows at a time.

A search reads one to three of them, so they are sealed in small frames that are opened one by one.
Every frame is authenticated when it is read: what was altered since the start is noticed at the
search that would have used it, which fails.
"""

import os
import weakref
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.errors import GenerationError
from index.generation_files import (
    LENGTH_BYTES,
    Cipher,
    FileRecord,
    Sealing,
    check_size,
    column_layout,
)
from index.types import Vectors

FRAME_BYTES = 2**14
"""Bytes of a frame before sealing, about: 8 rows at 512 dimensions; opening one takes 8 µs."""


def frame_rows(dimension: int) -> int:
    """Return how many rows a frame holds."""
    return max(1, FRAME_BYTES // max(1, 4 * dimension))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the frames of a file are.

    Attributes:
        rows: Of the column, m.
        dimension: Of a row, d.
        head: Bytes before the first frame of rows.
        stride: Bytes from one frame to the next, lengths included.
    """

    rows: int
    dimension: int
    head: int
    stride: int


@dataclass(frozen=True, slots=True, weakref_slot=True)
class RowFile:
    """A sealed column of vectors; the file stays open, so that it may be deleted meanwhile."""

    sealing: Sealing = field(repr=False)
    layout: _Layout
    handle: int = field(repr=False)

    @staticmethod
    def opened(path: Path, record: FileRecord, *, cipher: Cipher, mark: str) -> "RowFile":
        """Open a column that `write_generation` sealed; of its rows none is read yet.

        Args:
            path: The file.
            record: What the manifest says of it.
            cipher: The one it was sealed with.
            mark: What binds its frames to the manifest.

        Raises:
            GenerationError: Missing, of another size, or its beginning is altered.
        """
        check_size(path, record)
        sealing = Sealing(path, cipher, mark)
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            layout = _layout(handle, sealing, record.size_bytes)
        except (ValueError, EOFError, OSError) as error:
            os.close(handle)
            raise GenerationError(f"{path.name} holds no column that can be read: {error}") from error
        file = RowFile(sealing, layout, handle)
        weakref.finalize(file, os.close, handle)
        return file

    def __len__(self) -> int:
        """Return the number of vectors, m."""
        return self.layout.rows

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        return self.layout.dimension

    def originals(self, rows: NDArray[np.int64]) -> Vectors:
        """Read some vectors; see `index.compact.Originals`.

        Each frame that holds one of them is opened once for every run of rows in it.
        """
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        size = frame_rows(self.dimension)
        numbers = rows // size
        bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(rows)]
        try:
            for first, last in pairwise(bounds if len(rows) else []):
                number = int(numbers[first])
                frame = slice(number * size, min((number + 1) * size, len(self)))
                wanted = rows[first:last]
                if np.array_equal(wanted, np.arange(frame.start, frame.stop)):
                    self._open(number, vectors[first:last])
                else:
                    whole = np.empty((frame.stop - frame.start, self.dimension), dtype=np.float32)
                    self._open(number, whole)
                    vectors[first:last] = whole[wanted - frame.start]
        except (ValueError, EOFError, OSError) as error:
            raise GenerationError(f"{self.sealing.path.name} is damaged: {error}") from error
        return vectors

    def _open(self, number: int, target: Vectors) -> None:
        """Open one frame into contiguous rows.

        Raises:
            ValueError: It was altered, or is another.
            EOFError: The file has become shorter.
        """
        start = self.layout.head + number * self.layout.stride
        sealed = os.pread(self.handle, self.layout.stride, start)
        length = int.from_bytes(sealed[:LENGTH_BYTES], "little")
        if len(sealed) < LENGTH_BYTES + length:
            raise EOFError("it ends within a frame")
        frame = memoryview(sealed)[LENGTH_BYTES : LENGTH_BYTES + length]
        self.sealing.open_into(frame, target.reshape(-1).view(np.uint8).data, number=number + 1)


def _layout(handle: int, sealing: Sealing, size_bytes: int) -> _Layout:
    """Read the header, and see that the file is as long as it says.

    Raises:
        ValueError: It was altered, or describes another column.
        EOFError: The file ends within it.
    """
    length = int.from_bytes(os.pread(handle, LENGTH_BYTES, 0), "little")
    if length > FRAME_BYTES:
        raise ValueError("the length of its header was altered")
    header = os.pread(handle, length, LENGTH_BYTES)
    plain = sealing.open(header, number=0)
    kind, shape, _ = column_layout(plain)
    if kind != np.dtype("<f4") or len(shape) != 2:
        raise ValueError("it holds no vectors")
    rows, dimension = shape
    head = LENGTH_BYTES + length
    per_frame = frame_rows(dimension)
    overhead = LENGTH_BYTES + len(header) - len(plain)
    full, rest = divmod(rows, per_frame)
    stride = overhead + per_frame * dimension * 4
    expected = head + full * stride + (overhead + rest * dimension * 4 if rest else 0)
    if expected != size_bytes:
        raise ValueError("it is longer or shorter than its header says")
    return _Layout(rows, dimension, head, stride)
