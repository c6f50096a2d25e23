"""The columns of a generation: written part by part, read whole or as a gallery needs them.

Five columns are references as they are. Where codes pay, five more hold what a gallery would
otherwise compute from the vectors at every start: codes, what is known of each of them, rounded
rows, their steps, and the worst of either. The vectors themselves then stay on disk, in small frames.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.codebook import codebook_for
from index.codes import ENCODE_ROWS, Codes, encoded, rotator, worst_of
from index.columns import distinct, of_slice
from index.compact import (
    ArrayStore,
    CompactStore,
    Enrolled,
    Originals,
    StoredReferences,
    compression,
    rounded,
    tolerance_of,
)
from index.errors import GenerationError
from index.generation_files import (
    CHUNK_BYTES,
    Cipher,
    ColumnWriter,
    FileRecord,
    prefetch,
    read_array,
)
from index.manifest import GenerationManifest
from index.row_file import RowFile, frame_rows
from index.segments import pays_to_compress
from index.types import References

_PLAIN: Mapping[str, str] = {
    "reference_ids": "<i8",
    "person_keys": "<i8",
    "sexes": "|u1",
    "birth_years": "<u2",
    "vectors": "<f4",
}
_COMPACT: Mapping[str, str] = {
    "codes": "|u1",
    "bounds": "<f2",
    "rows": "|i1",
    "steps": "<f4",
    "worst": "<f8",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a generation is, and how its files are sealed.

    Attributes:
        references: Number of references, m.
        dimension: Length d of a vector.
        cipher: Seals the files, or None.
        mark: Binds sealed frames to one manifest.
    """

    references: int
    dimension: int
    cipher: Cipher | None
    mark: str

    @property
    def compression(self) -> str:
        """What the codes and rounded rows depend on; empty where there are none."""
        return compression(self.dimension) if pays_to_compress(self.references, self.dimension) else ""

    def of(self, name: str) -> tuple[int, ...]:
        """Return the shape of a column."""
        codebook = codebook_for(self.dimension)
        widths = {
            "vectors": self.dimension,
            "codes": codebook.code_bytes(self.dimension),
            "bounds": 2,
            "rows": codebook.padded(self.dimension),
        }
        return (self.references, widths[name]) if name in widths else (self.references,)

    def frame_bytes(self, name: str) -> int:
        """Return how many bytes of a column are sealed together."""
        return 4 * self.dimension * frame_rows(self.dimension) if name == "vectors" else CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        files: One record per file, by file name.
        persons: Number of distinct persons.
    """

    files: Mapping[str, FileRecord]
    persons: int


def write_columns(folder: Path, parts: Iterable[References], shape: Shape) -> Written:
    """Write all columns, holding no more than one part in memory.

    Args:
        folder: Where to.
        parts: Together `shape.references` references, by ascending reference_id.
        shape: What is announced.

    Raises:
        GenerationError: There were more or fewer references.
    """
    with _Columns.opened(folder, shape) as columns:
        for part in parts:
            for start in range(0, len(part), ENCODE_ROWS):
                columns.append(of_slice(part, slice(start, start + ENCODE_ROWS)))
        return columns.finish()


def read_references(folder: Path, manifest: GenerationManifest, *, cipher: Cipher | None) -> References:
    """Read the five columns of the references, checking every byte of all ten.

    Raises:
        GenerationError: Missing, damaged or inconsistent; says which.
    """
    shape = _shape_of(manifest, cipher)
    references = References(**{name: _read(folder, manifest, shape, name) for name in _PLAIN})
    for name in _COMPACT if manifest.compression else ():
        _read(folder, manifest, shape, name)
    _check_keys(references, manifest)
    return references


def read_enrolled(folder: Path, manifest: GenerationManifest, *, cipher: Cipher | None) -> Enrolled:
    """Read what a gallery needs: of a large generation all but the vectors, which are only opened.

    Raises:
        GenerationError: Missing, damaged or inconsistent, or compressed in another way; says which.
    """
    if not manifest.compression:
        return read_references(folder, manifest, cipher=cipher)
    if manifest.compression != compression(manifest.dimension):
        raise GenerationError(
            f"{folder.name} was compressed in another way ({manifest.compression}): it is built anew."
        )
    shape = _shape_of(manifest, cipher)
    names = [name for name in (*_PLAIN, *_COMPACT) if name != "vectors"]
    prefetch(folder / f"{name}.npy" for name in names)
    columns = {name: _read(folder, manifest, shape, name) for name in names}
    distance, *flat = columns.pop("worst")
    worst = np.array(flat, dtype=np.float64).reshape(2, -1)
    codes = Codes(columns.pop("codes"), columns.pop("bounds"), worst)
    store = CompactStore(
        columns.pop("rows"),
        columns.pop("steps"),
        tolerance_of(float(distance)),
        _originals(folder, manifest, shape),
    )
    stored = StoredReferences(**columns, codes=codes, store=store)
    _check_keys(stored, manifest)
    return stored


class _Columns:
    """The files of a generation while they are written."""

    def __init__(self, writers: Mapping[str, ColumnWriter], folder: Path, shape: Shape) -> None:
        """Append to these."""
        self._writers = writers
        self._folder = folder
        self._shape = shape
        self._rotate = rotator(shape.dimension)
        self._codebook = codebook_for(shape.dimension)
        self._worst = np.empty((2, 0))
        self._distance = 0.0
        self._persons = [np.empty(0, dtype=np.int64)]

    @staticmethod
    @contextmanager
    def opened(folder: Path, shape: Shape) -> Iterator["_Columns"]:
        """Open all files, and close them whatever happens."""
        names = {**_PLAIN, **(_COMPACT if shape.compression else {})}
        names.pop("worst", None)
        with ExitStack() as stack:
            writers = {}
            for name, kind in names.items():
                writers[name] = ColumnWriter(
                    folder / f"{name}.npy",
                    kind,
                    shape.of(name),
                    cipher=shape.cipher,
                    mark=shape.mark,
                    frame_bytes=shape.frame_bytes(name),
                )
                stack.callback(writers[name].close)
            yield _Columns(writers, folder, shape)

    def append(self, part: References) -> None:
        """Write at most `ENCODE_ROWS` references."""
        for name in _PLAIN:
            self._writers[name].append(getattr(part, name))
        self._persons.append(part.person_keys)
        if not self._shape.compression or not len(part):
            return
        rotated = self._rotate(part.vectors)
        codes, bounds = encoded(rotated, self._codebook)
        rows, steps, distance = rounded(rotated)
        self._worst = worst_of(np.concatenate([self._worst.T, bounds]))
        self._distance = max(self._distance, distance)
        for name, column in (("codes", codes), ("bounds", bounds), ("rows", rows), ("steps", steps)):
            self._writers[name].append(column)

    def finish(self) -> Written:
        """Complete all files."""
        records = {f"{name}.npy": writer.finish() for name, writer in self._writers.items()}
        if self._shape.compression:
            worst = np.concatenate([[self._distance], self._worst.reshape(-1)])
            path = self._folder / "worst.npy"
            writer = ColumnWriter(
                path, _COMPACT["worst"], worst.shape, cipher=self._shape.cipher, mark=self._shape.mark
            )
            writer.append(worst)
            records[path.name] = writer.finish()
        return Written(records, distinct(np.concatenate(self._persons)))


def _shape_of(manifest: GenerationManifest, cipher: Cipher | None) -> Shape:
    return Shape(manifest.references, manifest.dimension, cipher, manifest.mark)


def _record(folder: Path, manifest: GenerationManifest, name: str) -> FileRecord:
    """Return what the manifest says of a column.

    Raises:
        GenerationError: Nothing.
    """
    record = manifest.files.get(f"{name}.npy")
    if record is None:
        raise GenerationError(f"{folder.name} lists no {name}.npy.")
    return record


def _read(folder: Path, manifest: GenerationManifest, shape: Shape, name: str) -> NDArray[Any]:
    """Read one column and refuse it where its type or shape is not what the manifest says.

    Raises:
        GenerationError: So it is, or it is damaged.
    """
    column = read_array(
        folder / f"{name}.npy",
        _record(folder, manifest, name),
        cipher=shape.cipher,
        mark=shape.mark,
        frame_bytes=shape.frame_bytes(name),
    )
    kind = {**_PLAIN, **_COMPACT}[name]
    fits = column.ndim == 1 and len(column) % 2 == 1 if name == "worst" else column.shape == shape.of(name)
    if not fits or column.dtype != np.dtype(kind):
        raise GenerationError(
            f"{name}.npy holds {column.dtype} {column.shape} instead of {kind} {shape.of(name)}."
        )
    return column


def _originals(folder: Path, manifest: GenerationManifest, shape: Shape) -> Originals:
    """Open the vectors without reading them, or map them where they are plain.

    Raises:
        GenerationError: They are not what the manifest says.
    """
    if shape.cipher is None:
        return ArrayStore(_read(folder, manifest, shape, "vectors"))
    record = _record(folder, manifest, "vectors")
    file = RowFile.opened(folder / "vectors.npy", record, cipher=shape.cipher, mark=shape.mark)
    if (len(file), file.dimension) != shape.of("vectors"):
        raise GenerationError(
            f"vectors.npy holds {len(file)} × {file.dimension} instead of {shape.of('vectors')}."
        )
    return file


def _check_keys(enrolled: Enrolled, manifest: GenerationManifest) -> None:
    """Refuse ids that do not ascend and a person count that is not the manifest's.

    Raises:
        GenerationError: So it is.
    """
    if not (np.diff(enrolled.reference_ids) > 0).all():
        raise GenerationError("The reference ids of the generation do not ascend.")
    persons = distinct(enrolled.person_keys)
    if persons != manifest.persons:
        raise GenerationError(f"The generation holds {persons} persons instead of {manifest.persons}.")
