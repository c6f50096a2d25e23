"""The manifest of a generation: what is in it, and how to know that it is intact."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from index.errors import GenerationError
from index.generation_files import Cipher, FileRecord, write_bytes
from index.types import MAX_DIMENSION, Rate

FORMAT_VERSION = 2
"""Raised when a reader of the older layout could not read the newer one.

2: vectors in frames of 16 kB; codes, rounded rows and `compression`. A generation of format 1 is set
aside at the start, with a line in the log, and built anew from the stored templates.
"""

MANIFEST_NAME = "manifest.json"

MAX_JSON_BYTES = 2**20
"""Longest manifest or pointer that is read; ours have about a thousand bytes."""

SEAL_NAME = "manifest.seal"
"""Beside the manifest of an encrypted generation: its digest, encrypted, so that nobody else wrote it."""

_SEAL = "manifest_sha256"
_KINDS: Mapping[str, type] = {
    "gallery": str,
    "contract_id": str,
    "dimension": int,
    "references": int,
    "persons": int,
    "position": int,
    "sealed": bool,
    "extra": dict,
    "mark": str,
    "compression": str,
}
"""Kinds of the plain values of a manifest."""
_SEAL_CONTEXT = b"manifest"


@dataclass(frozen=True, slots=True)
class GenerationManifest:
    """What a generation says of itself.

    Attributes:
        gallery: Name of the gallery.
        contract_id: Pack that made the vectors.
        dimension: Length d of every vector.
        references: Number of references, m.
        persons: Number of distinct persons.
        position: Last database change contained; later ones are replayed after loading.
        created_at: When it was written, with time zone.
        sealed: Whether its files are encrypted.
        files: One record per file, by file name.
        recall: Share of exact candidates that the compressed search found on a sample;
            None where nothing is compressed.
        extra: Plain JSON values that the writer wanted kept, such as timings.
        mark: Random; what encrypted files are bound to, empty for plain ones.
        compression: What codes and rounded rows depend on; empty where there are none.
    """

    gallery: str
    contract_id: str
    dimension: int
    references: int
    persons: int
    position: int
    created_at: datetime
    sealed: bool
    files: Mapping[str, FileRecord]
    recall: Rate | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    mark: str = ""
    compression: str = ""

    def to_json(self) -> bytes:
        """Return the manifest as JSON that carries its own checksum."""
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "gallery": self.gallery,
            "contract_id": self.contract_id,
            "dimension": self.dimension,
            "references": self.references,
            "persons": self.persons,
            "position": self.position,
            "created_at": self.created_at.isoformat(),
            "sealed": self.sealed,
            "files": {
                name: {"sha256": record.sha256, "size_bytes": record.size_bytes}
                for name, record in self.files.items()
            },
            "recall": None if self.recall is None else _rate_values(self.recall),
            "extra": dict(self.extra),
            "mark": self.mark,
            "compression": self.compression,
        }
        return json.dumps(values | {_SEAL: _checksum(values)}, indent=2, ensure_ascii=False).encode()

    @staticmethod
    def from_json(data: bytes) -> "GenerationManifest":
        """Read what `to_json` wrote.

        Raises:
            GenerationError: Not a manifest, of another format version, or altered.
        """
        try:
            values: dict[str, Any] = json.loads(data)
            seal = values.pop(_SEAL)
            version = values.pop("format_version")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise GenerationError(f"The manifest cannot be read: {error}.") from error
        if version != FORMAT_VERSION:
            raise GenerationError(
                f"It has format {version}; this program reads {FORMAT_VERSION}: it is built anew."
            )
        if seal != _checksum({"format_version": version} | values):
            raise GenerationError("The manifest is damaged: its checksum is wrong.")
        try:
            return _manifest_of(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GenerationError(f"The manifest says something that none says: {error}.") from error


@dataclass(frozen=True, slots=True)
class Title:
    """What the writer of a generation says of it.

    Attributes:
        gallery: Name of the gallery.
        contract_id: Pack that made the vectors.
        position: Last database change contained.
        extra: Plain JSON values to keep.
        created_at: Time to state.
    """

    gallery: str
    contract_id: str
    position: int
    extra: Mapping[str, Any]
    created_at: datetime


def read_manifest(generation: Path) -> GenerationManifest:
    """Read the manifest of a generation's folder.

    Raises:
        GenerationError: Missing, unreadable, of another format version, or altered.
    """
    try:
        data = read_small(generation / MANIFEST_NAME)
    except OSError as error:
        raise GenerationError(f"{generation.name} has no manifest: {error.strerror}.") from error
    return GenerationManifest.from_json(data)


def read_small(path: Path) -> bytes:
    """Read a file that whoever can write to the disk may have exchanged, but no endless one.

    Raises:
        GenerationError: It is longer than `MAX_JSON_BYTES`.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise GenerationError(f"{path.name} is longer than {MAX_JSON_BYTES} bytes, so it is not ours.")
    return data


def write_seal(generation: Path, manifest: bytes, cipher: Cipher) -> None:
    """Write beside a manifest what proves that the holder of the key wrote it."""
    write_bytes(generation / SEAL_NAME, cipher.seal(hashlib.sha256(manifest).digest(), context=_SEAL_CONTEXT))


def check_seal(generation: Path, cipher: Cipher) -> None:
    """Refuse a manifest that the holder of the key has not written just so.

    Raises:
        GenerationError: The seal is missing or does not fit.
    """
    try:
        digest = cipher.open(read_small(generation / SEAL_NAME), context=_SEAL_CONTEXT)
        fits = digest == hashlib.sha256(read_small(generation / MANIFEST_NAME)).digest()
    except OSError as error:
        raise GenerationError(f"{generation.name} has no seal: {error.strerror}.") from error
    except ValueError as error:
        raise GenerationError(f"The seal of {generation.name} cannot be opened: {error}") from error
    if not fits:
        raise GenerationError(f"The manifest of {generation.name} is not the one that was sealed.")


def _manifest_of(values: Mapping[str, Any]) -> GenerationManifest:
    """Build a manifest from what its file holds, trusting none of it: anybody can compute the checksum.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: A value is missing, unknown or of another kind.
    """
    kept = dict(values)
    recall, files = kept.pop("recall"), kept.pop("files")
    created_at = datetime.fromisoformat(kept.pop("created_at"))
    for name, value in kept.items():
        _require(name, value, _KINDS[name])
    if not 1 <= kept["dimension"] <= MAX_DIMENSION:
        raise ValueError(f"a dimension of {kept['dimension']}")
    return GenerationManifest(
        created_at=created_at,
        files={name: _record(record) for name, record in files.items()},
        recall=None if recall is None else Rate(**recall),
        **kept,
    )


def _record(values: Mapping[str, Any]) -> FileRecord:
    """Build the record of one file; see `_manifest_of`."""
    record = FileRecord(**values)
    _require("sha256", record.sha256, str)
    _require("size_bytes", record.size_bytes, int)
    return record


def _require(name: str, value: object, kind: type) -> None:
    """Refuse a value of another kind, a negative number, and text that cannot be shown.

    Raises:
        ValueError: So it is.
    """
    if type(value) is not kind:
        raise ValueError(f"{name} is no {kind.__name__}")
    if isinstance(value, int) and not 0 <= value < 2**63:
        raise ValueError(f"{name} is out of range")
    if isinstance(value, str) and not value.isprintable():
        raise ValueError(f"{name} holds unprintable characters")


def _rate_values(rate: Rate) -> dict[str, float | int]:
    """Return a rate as plain JSON values."""
    return {"value": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}


def _checksum(values: Mapping[str, Any]) -> str:
    """Hash values in a form that does not depend on their order."""
    canonical = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
