"""Reads a whole backup and proves that it can be restored, before anything is changed."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.backup.container import Header, SealedReader
from service.backup.errors import BackupError
from service.backup.items import END, FILE, MANIFEST, ROWS, SINCE, TABLE, read_items
from service.backup.rows import Columns, unpacked_rows
from service.encryption.blobs import LOCATION
from service.encryption.carried import WrappedKey
from service.encryption.keys import KeyRing
from service.encryption.sealing import key_number
from service.errors import KeyMissingError
from service.schema import is_known

STORE_NAMES = frozenset({"portraits", "probes", "evidence"})

Advance = Callable[[int], None]
"""Told how many more rows and files were looked at."""


@dataclass(slots=True)
class Checked:
    """What a whole backup holds.

    Attributes:
        header: As in the file.
        manifest: Facts of the manifest.
        rows: Rows of each table.
        files: Number of portraits, probes and evidence files.
        tables: Columns of each table, in the order in which they were written.
        keys: Numbers of the data keys, all of which can be opened.
        sealed_with: How many files are sealed with which data key; None: not sealed at all.
    """

    header: Header
    manifest: Mapping[str, Any]
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    tables: dict[str, Columns] = field(default_factory=dict)
    keys: set[int] = field(default_factory=set)
    sealed_with: "Counter[int | None]" = field(default_factory=Counter)

    @property
    def unreadable_files(self) -> int:
        """Files that were damaged before the backup was made: no key of the installation opens them."""
        return sum(count for key, count in self.sealed_with.items() if key not in self.keys)


def check_backup(path: Path, ring: KeyRing, *, advance: Advance) -> Checked:
    """Read a backup from beginning to end.

    Args:
        path: The file.
        ring: The operator's keys.
        advance: Told what was looked at.

    Raises:
        BackupError: It is none, damaged, truncated, of a later version, or needs keys that are not given.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        reader = SealedReader(file, ring)
        if not is_known(reader.header.revision):
            raise BackupError(
                f"the backup was made by OnePerson {reader.header.version} with the schema "
                f"{reader.header.revision}, which this version does not know: install that one or a later one"
            )
        checked = Checked(reader.header, {})
        for item in read_items(reader):
            if item.kind == MANIFEST:
                checked.manifest = item.facts
            elif item.kind == TABLE:
                checked.tables[item.facts["name"]] = item.facts["columns"]
                checked.rows[item.facts["name"]] = 0
            elif item.kind == ROWS:
                _check_rows(checked, item.facts, item.data, ring)
                advance(item.facts["rows"])
            elif item.kind == FILE:
                _check_file(checked, item.facts, item.data)
                advance(1)
            elif item.kind == SINCE:
                for key in item.facts["keys"]:
                    _check_key(checked, key | {"wrapped": bytes.fromhex(key["wrapped"])}, ring)
            elif item.kind == END:
                _check_end(checked, item.facts)
    return checked


def manifest_of(path: Path, ring: KeyRing) -> Mapping[str, Any]:
    """Read only the manifest.

    Raises:
        BackupError: As `check_backup`, as far as the beginning tells.
    """
    with path.open("rb") as file:
        return next(read_items(SealedReader(file, ring))).facts


def _check_rows(checked: Checked, facts: Mapping[str, Any], data: bytes, ring: KeyRing) -> None:
    name = facts["table"]
    rows = unpacked_rows(data, checked.tables[name])
    if len(rows) != facts["rows"]:
        raise BackupError(f"the backup is damaged: rows of {name} are missing")
    checked.rows[name] += len(rows)
    if name == "data_keys":
        for row in rows:
            _check_key(checked, row, ring)


def _check_key(checked: Checked, row: Mapping[str, Any], ring: KeyRing) -> None:
    """Prove that what is sealed with a data key can be opened here.

    Raises:
        BackupError: It cannot.
    """
    wrapped = WrappedKey(row["number"], row["master_key_id"], row["algorithm"], row["wrapped"])
    try:
        wrapped.opened(ring)
    except KeyMissingError as error:
        raise BackupError(f"the backup cannot be restored with these keys. {error.detail}") from error
    checked.keys.add(wrapped.number)


def _check_file(checked: Checked, facts: Mapping[str, Any], data: bytes) -> None:
    if facts["store"] not in STORE_NAMES or LOCATION.fullmatch(facts["location"]) is None:
        raise BackupError("the backup is damaged: a file has no place")
    checked.sealed_with[key_number(data)] += 1
    checked.files += 1


def _check_end(checked: Checked, facts: Mapping[str, Any]) -> None:
    if facts["rows"] != checked.rows or facts["files"] != checked.files:
        raise BackupError("the backup is damaged: it does not hold what its end says")
