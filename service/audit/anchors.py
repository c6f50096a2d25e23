"""Anchors: signed lines in a file outside the database that say how far the chain had come, and when.

The chain itself shows every change but one: that its newest events were cut off and its end set back, or that
the whole database was replaced by an older copy. What an anchor has seen cannot disappear unnoticed.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import structlog

from service.audit.chain import Head, read_head
from service.audit.keys import AuditKey, KeyRing
from service.audit.records import TIME_FORMAT
from service.database import Database
from service.errors import SettingsError
from service.settings import Settings
from service.tables import now

ANCHORS_FILE = "audit-anchors.jsonl"
LONGEST_LINE = 4096
"""Bytes; a line of ours has about 500."""

log = structlog.get_logger(__name__)


class AnchorKind(StrEnum):
    """Why an anchor was written."""

    REGULAR = "regular"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Anchor:
    """One line.

    Attributes:
        number: 1, 2, 3 …
        kind: `restored` after a backup was restored: what was recorded after the backup is known to be lost.
        at: When it was written, UTC.
        chain: The chain's id.
        sequence: Number of the newest event.
        mac: Its code.
        key: Name of the key that signed.
        previous: Signature of the line before, so that no line can go.
        signature: Over all the rest.
    """

    number: int
    kind: str
    at: str
    chain: str
    sequence: int
    mac: str
    key: str
    previous: str
    signature: str = ""

    def signed_part(self) -> bytes:
        """Return what the signature covers."""
        facts = asdict(self)
        del facts["signature"]
        return b"oneperson audit anchor " + json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


class BrokenAnchor(ValueError):  # noqa: N818 - a finding, not a failure
    """A line that is no anchor."""


class AnchorFile:
    """Appends anchors and reads them back."""

    def __init__(self, path: Path, keys: KeyRing) -> None:
        """Name the file; it is made when the first anchor is written."""
        self.path = path
        self._keys = keys

    def append(self, database: Database, *, kind: AnchorKind = AnchorKind.REGULAR) -> Anchor | None:
        """Write down how far the chain has come.

        Returns:
            The anchor; None if nothing was recorded since the last one.

        Raises:
            SettingsError: The file cannot be written, or the key is not known.
        """
        try:
            with self._locked() as file:
                last = _last(file)
                with database.read() as session:
                    head = read_head(session)
                if head is None or (last and kind is AnchorKind.REGULAR and _says(last, head)):
                    return None
                anchor = self._signed(head, kind, last)
                file.write(json.dumps(asdict(anchor), separators=(",", ":")).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SettingsError(f"{self.path}: no anchor can be written ({error.strerror})") from error
        log.info("audit anchor", sequence=anchor.sequence, mac=anchor.mac, number=anchor.number)
        return anchor

    def last(self) -> Anchor | None:
        """Return the newest anchor, None if there is none."""
        try:
            with self.path.open("rb") as file:
                return _last(file)
        except OSError:
            return None

    def read(self) -> Iterator[tuple[int, Anchor | None]]:
        """Read all lines: the number of the line, and its anchor or None where it is none of ours.

        Raises:
            OSError: There is no such file, or it cannot be read.
        """
        previous, expected = "", 1
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return  # A process died while it wrote; the line never counted.
                anchor = self._checked(line, previous, expected)
                yield number, anchor
                try:
                    told = anchor or _parsed(line)
                except BrokenAnchor:
                    expected += 1
                    continue
                previous, expected = told.signature, told.number + 1

    def _checked(self, line: bytes, previous: str, expected: int) -> Anchor | None:
        try:
            anchor = _parsed(line)
        except BrokenAnchor:
            return None
        key = self._keys.find(anchor.key)
        if key is None or not key.signed(anchor.signed_part(), anchor.signature):
            return None
        return anchor if anchor.previous == previous and anchor.number == expected else None

    def _signed(self, head: Head, kind: AnchorKind, last: Anchor | None) -> Anchor:
        key = self._signer(head)
        facts: dict[str, Any] = {
            "number": last.number + 1 if last else 1,
            "kind": str(kind),
            "at": now().strftime(TIME_FORMAT),
            "chain": head.chain_id,
            "sequence": head.sequence,
            "mac": head.mac,
            "key": key.tag,
            "previous": last.signature if last else "",
        }
        return Anchor(**facts, signature=key.sign(Anchor(**facts).signed_part()))

    def _signer(self, head: Head) -> AuditKey:
        key = self._keys.find_anew(head.key_tag)
        if key is None:
            raise SettingsError(f"the audit log is kept with the key {head.key_tag}, which is not known here")
        return key

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """Open the file alone; a line that a dying process left unfinished is taken off."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _trim(file)
            yield file


def anchor_file(settings: Settings, keys: KeyRing) -> AnchorFile:
    """Return the anchors that the settings name."""
    return AnchorFile(settings.audit_anchors or settings.data_dir / ANCHORS_FILE, keys)


def _says(anchor: Anchor, head: Head) -> bool:
    return (anchor.chain, anchor.sequence, anchor.mac) == (head.chain_id, head.sequence, head.mac)


def _parsed(line: bytes) -> Anchor:
    try:
        anchor = Anchor(**json.loads(line))
    except (ValueError, TypeError, RecursionError) as error:
        raise BrokenAnchor from error
    whole = isinstance(anchor.number, int) and isinstance(anchor.sequence, int)
    texts = (anchor.kind, anchor.at, anchor.chain, anchor.mac, anchor.key, anchor.previous, anchor.signature)
    if not (whole and all(isinstance(text, str) for text in texts)):
        raise BrokenAnchor
    return anchor


def _tail(file: IO[bytes]) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2 * LONGEST_LINE))
    return file.read(2 * LONGEST_LINE)


def _trim(file: IO[bytes]) -> None:
    tail = _tail(file)
    if tail and not tail.endswith(b"\n"):
        size = file.seek(0, os.SEEK_END)
        os.ftruncate(file.fileno(), size - len(tail) + tail.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def _last(file: IO[bytes]) -> Anchor | None:
    lines = _tail(file).split(b"\n")
    for line in reversed(lines[:-1]):
        try:
            return _parsed(line)
        except BrokenAnchor:
            continue
    return None
