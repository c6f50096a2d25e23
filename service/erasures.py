"""The list of erasures, in the database and outside it: whoever was erased does not come back with a backup.

An erasure leaves a mark, a keyed code of the person's number and the time at which the registration was
stored. It tells nothing without the key, and does not fit the same person registered anew later.
The mark is stored with the erasure itself, and then appended to a file outside the database and its backups.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import IO, Any

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service.audit.keys import AuditKey, KeyRing, load_keys
from service.database import Database
from service.errors import SettingsError
from service.settings import Settings
from service.tables import Erasure, Person, Portrait

BATCH = 1000
"""Marks appended at once."""

LONGEST_LINE = 1024
"""Bytes; a line has about 350."""

log = structlog.get_logger(__name__)


class ErasureKind(StrEnum):
    """What was erased."""

    PERSON = "person"
    PORTRAIT = "portrait"


class ErasureListError(Exception):
    """The list outside the database is not as it was written; the message says where."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of erasures, by the audit key that is in them."""

    by_tag: dict[str, set[str]]

    def add(self, tag: str, mark: str) -> None:
        """Add one."""
        self.by_tag.setdefault(tag, set()).add(mark)

    def has(self, keys: KeyRing, text: str) -> bool:
        """Tell whether something was erased, named as `named_person` or `named_portrait` do.

        Raises:
            ErasureListError: An audit key that is in them is not known.
        """
        return any(_mark(_known(keys, tag), text) in marks for tag, marks in self.by_tag.items())

    def __len__(self) -> int:
        """Count them."""
        return sum(map(len, self.by_tag.values()))


def named_person(person_id: str, created_at: datetime) -> str:
    """Name one registration, and not the one that the same person may get later."""
    return f"{ErasureKind.PERSON}\0{person_id}\0{_time(created_at)}"


def named_portrait(person_id: str, sha256: str, created_at: datetime) -> str:
    """Name one enrolled portrait, and not the same picture enrolled again later."""
    return f"{ErasureKind.PORTRAIT}\0{person_id}\0{sha256}\0{_time(created_at)}"


class Erasures:
    """Marks what is erased, and keeps the list outside the database."""

    def __init__(self, settings: Settings) -> None:
        """Use the file that the settings name; the keys are read at first use."""
        self.path = settings.erasures_file
        self._settings = settings
        self._ring: KeyRing | None = None

    @property
    def keys(self) -> KeyRing:
        """The audit keys, which marks are made with."""
        if self._ring is None:
            self._ring = load_keys(self._settings)
        return self._ring

    def note_person(self, session: Session, person: Person) -> None:
        """Mark in the running transaction that a registration is erased."""
        self._note(session, ErasureKind.PERSON, named_person(person.person_id, person.created_at))

    def note_portrait(self, session: Session, person_id: str, portrait: Portrait) -> None:
        """Mark in the running transaction that a portrait is erased without another in its place."""
        self._note(
            session, ErasureKind.PORTRAIT, named_portrait(person_id, portrait.sha256, portrait.created_at)
        )

    def flush(self, database: Database) -> int:
        """Append to the file what the database has and the file has not; return how many marks.

        A process that dies in between appends some twice, which does no harm.

        Raises:
            SettingsError: The file cannot be written, or a key is not known.
            DatabaseUnavailableError: The database is away.
        """
        written = 0
        while True:
            with database.read() as session:
                query = select(Erasure).where(Erasure.written.is_(False)).order_by(Erasure.id).limit(BATCH)
                rows = session.scalars(query).all()
            if not rows:
                return written
            self._append(rows)
            with database.write() as session:
                done = update(Erasure).where(Erasure.id.in_([row.id for row in rows]))
                session.execute(done.values(written=True))
            written += len(rows)

    def flush_quietly(self, database: Database) -> None:
        """Append as `flush` does; what fails is logged, and the retention worker tries again."""
        try:
            self.flush(database)
        except Exception as error:  # The erasure itself is done; its answer must not fail for this.
            log.warning("erasure list not written", reason=type(error).__name__)

    def prepare(self, database: Database) -> None:
        """Make the file if there is none, with all that the database knows; then append what is missing.

        Raises:
            SettingsError: The file cannot be written.
        """
        if not self.path.exists():
            self._append([])
            with database.write() as session:
                session.execute(update(Erasure).where(Erasure.written.is_(True)).values(written=False))
        self.flush(database)

    def read(self) -> Marks:
        """Read the file.

        Raises:
            ErasureListError: A line was changed, removed from the middle or put in.
            OSError: There is no such file, or it cannot be read.
        """
        marks, previous = Marks({}), ""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break  # A process died while it wrote; the line never counted.
                facts = self._checked(line, number, previous)
                marks.add(facts["key"], facts["mark"])
                previous = facts["code"]
        return marks

    def _note(self, session: Session, kind: ErasureKind, text: str) -> None:
        key = self.keys.current
        session.add(Erasure(kind=kind, mark=_mark(key, text), key_tag=key.tag))

    def _append(self, rows: "list[Erasure] | Any") -> None:
        try:
            with self._locked() as file:
                number, previous = _end(file)
                for row in rows:
                    number += 1
                    facts: dict[str, Any] = {
                        "number": number,
                        "kind": row.kind,
                        "mark": row.mark,
                        "key": row.key_tag,
                        "at": _time(row.at),
                        "previous": previous,
                    }
                    previous = facts["code"] = _code(self._key(row.key_tag), facts)
                    file.write(json.dumps(facts, separators=(",", ":")).encode() + b"\n")
                os.fsync(file.fileno())
        except OSError as error:
            raise SettingsError(f"{self.path}: no erasure can be written ({error.strerror})") from error

    def _checked(self, line: bytes, number: int, previous: str) -> dict[str, str]:
        try:
            facts = json.loads(line)
            code = facts.pop("code")
            key = self._key(facts["key"])
            sound = facts["number"] == number and facts["previous"] == previous and _code(key, facts) == code
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            sound = False
        if not sound:
            raise ErasureListError(f"{self.path}: line {number} is not as it was written")
        return {"key": facts["key"], "mark": facts["mark"], "code": code}

    def _key(self, tag: str) -> AuditKey:
        return _known(self.keys, tag)

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """Open the file alone; a line that a dying process left unfinished is taken off."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def marks_in(session: Session) -> Marks:
    """Return the marks that the database holds."""
    marks = Marks({})
    for tag, mark in session.execute(select(Erasure.key_tag, Erasure.mark)):
        marks.add(tag, mark)
    return marks


def unwritten(session: Session) -> int:
    """Count the marks that the file has not got yet."""
    return session.scalar(select(func.count()).where(Erasure.written.is_(False))) or 0


def _known(keys: KeyRing, tag: str) -> AuditKey:
    key = keys.find_anew(tag)
    if key is None:
        raise ErasureListError(f"the list of erasures needs the audit key {tag}, which is not known here")
    return key


def _mark(key: AuditKey, text: str) -> str:
    return key.mac(b"erasure mark:" + text.encode())


def _code(key: AuditKey, facts: dict[str, Any]) -> str:
    names = ("number", "kind", "mark", "key", "at", "previous")
    return key.mac(json.dumps(["oneperson-erasure-1", *(facts[name] for name in names)]).encode())


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _end(file: IO[bytes]) -> tuple[int, str]:
    """Return the number and the code of the last line, and take off what stands unfinished behind it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2 * LONGEST_LINE))
    tail = file.read(2 * LONGEST_LINE)
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(file.fileno(), size - len(tail) + tail.rfind(b"\n") + 1)
    lines = tail.split(b"\n")
    if len(lines) < 2:
        return 0, ""
    try:
        last = json.loads(lines[-2])
        return int(last["number"]), str(last["code"])
    except (ValueError, TypeError, KeyError) as error:
        raise SettingsError("the list of erasures was altered: its last line cannot be read") from error
