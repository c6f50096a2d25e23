"""Files attached as evidence: taken by content, kept like portraits, handed out on record.

A file is its officer's alone until a decision names it; then whoever may read that decision may read it,
so a second officer cannot be led by the first one's papers either.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.database import Database
from service.errors import InvalidRequestError, NotFoundError
from service.refusals import Refusal
from service.review.access import is_concealed, require_open, visible_case
from service.review.file_types import LONGEST_FILE_BYTES, FileType, type_of
from service.tables import Attachment, Case, Decision

MOST_FILES = 40
"""Files that one officer may attach to one case: twenty pieces of evidence twice over."""

LONGEST_NAME = 200


class FileStore(Protocol):
    """Where the bytes lie, encrypted; see `service.encryption.blobs`."""

    def put(self, data: bytes, *, owner: str) -> str:
        """Store bytes durably and return their location."""

    def get(self, location: str, *, owner: str) -> bytes:
        """Read them back."""

    def delete(self, location: str) -> None:
        """Remove them; once is enough."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to attach; its name is only ever shown, never used as a path."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file to hand out."""

    name: str
    media_type: str
    data: bytes


class EvidenceFiles:
    """Takes, hands out and removes the files of cases."""

    def __init__(self, database: Database, store: FileStore) -> None:
        """Keep rows here and bytes there."""
        self._database = database
        self._store = store

    def attach(
        self, case_id: UUID, new: NewFile, *, actor: Actor, whatever_state: bool = False
    ) -> Attachment:
        """Keep a file for a piece of evidence that the officer will name in an opinion.

        Args:
            case_id: The case.
            new: The file.
            actor: The officer.
            whatever_state: Keep it, like a draft, also when the case was closed meanwhile.

        Raises:
            ForbiddenError: Neither an officer nor a supervisor.
            NotFoundError: No such case in the officer's division.
            CaseStateError: The case is closed, and the file is wanted for an open one.
            InvalidRequestError: Empty, too long, of a kind that is not allowed, or one too many.
            StorageUnavailableError: The store cannot be written.
        """
        kind = _checked(new)
        with self._database.read() as session:
            _require_room(session, case_id, actor=actor, whatever_state=whatever_state)
        stored = _row(case_id, new, kind, actor=actor)
        stored.location = location = self._store.put(new.data, owner=owner_of_file(stored.id))
        try:
            with self._database.write() as session:
                _require_room(session, case_id, actor=actor, whatever_state=whatever_state)
                session.add(stored)
                session.flush()
                _record(session, AuditKind.EVIDENCE_ADDED, stored, actor=actor)
                return stored
        except BaseException:
            self._store.delete(location)
            raise

    def open(self, case_id: UUID, attachment_id: UUID, *, actor: Actor) -> OpenedFile:
        """Hand out a file, on record.

        Raises:
            ForbiddenError: Neither an officer nor a supervisor.
            NotFoundError: No such case in the officer's division, or no file in it that is theirs to read.
            StorageUnavailableError: The store cannot be read.
        """
        with self._database.read() as session:
            found = _readable(
                session, visible_case(session, case_id, actor=actor), attachment_id, actor=actor
            )
        data = self._store.get(found.location, owner=owner_of_file(found.id))
        with self._database.write() as session:
            _record(session, AuditKind.EVIDENCE_VIEWED, found, actor=actor)
        return OpenedFile(found.name, found.media_type, data)

    def remove(self, case_id: UUID, attachment_id: UUID, *, actor: Actor) -> None:
        """Remove a file of one's own that no decision names.

        Raises:
            ForbiddenError: Neither an officer nor a supervisor.
            NotFoundError: No such case in the officer's division, or no such file of theirs.
        """
        with self._database.write() as session:
            visible_case(session, case_id, actor=actor)
            statement = (
                delete(Attachment)
                .where(
                    Attachment.id == attachment_id,
                    Attachment.case_id == case_id,
                    Attachment.officer_id == actor.id,
                    Attachment.decision_id.is_(None),
                )
                .returning(Attachment.location)
                .execution_options(synchronize_session=False)
            )
            location = session.scalar(statement)
            if location is None:
                raise NotFoundError.told(Refusal("no-such-file"))
            record(
                session,
                AuditKind.EVIDENCE_REMOVED,
                actor=actor,
                subject=f"attachment:{attachment_id}",
                purpose=f"case:{case_id}",
            )
        self._store.delete(location)


def bind_attachments(
    session: Session, decision: Decision, attachments: Sequence[UUID], *, actor: Actor
) -> None:
    """Make files part of a decision, in its transaction.

    Raises:
        InvalidRequestError: One is not the officer's own, of another case, or part of an earlier decision.
    """
    statement = (
        update(Attachment)
        .where(
            Attachment.id.in_(attachments),
            Attachment.case_id == decision.case_id,
            Attachment.officer_id == actor.id,
            Attachment.decision_id.is_(None),
        )
        .values(decision_id=decision.id)
        .returning(Attachment.id)
        .execution_options(synchronize_session=False)
    )
    if len(session.scalars(statement).all()) != len(attachments):
        raise InvalidRequestError.told(Refusal("attachment-unknown", field="conclusions.evidence"))


def own_files(session: Session, case_id: UUID, *, actor: Actor) -> dict[UUID, Attachment]:
    """Return the officer's own files on a case that no decision names yet."""
    query = select(Attachment).where(
        Attachment.case_id == case_id,
        Attachment.officer_id == actor.id,
        Attachment.decision_id.is_(None),
    )
    return {one.id: one for one in session.scalars(query)}


def files_of_decisions(session: Session, case_id: UUID) -> dict[UUID, Attachment]:
    """Return the files that a case's decisions name; what may be shown of them is the caller's matter."""
    query = select(Attachment).where(Attachment.case_id == case_id, Attachment.decision_id.is_not(None))
    return {one.id: one for one in session.scalars(query)}


def forget_files(session: Session, case_ids: Collection[UUID]) -> list[str]:
    """Delete the rows of all files of some cases, and return the locations to delete after the commit.

    For the end of the cases' retention: decisions and reasons stay or go by their own rule.
    """
    statement = (
        delete(Attachment)
        .where(Attachment.case_id.in_(case_ids))
        .returning(Attachment.location)
        .execution_options(synchronize_session=False)
    )
    return list(session.scalars(statement))


def file_locations(session: Session) -> dict[str, str]:
    """Return where all files lie and whose they are, for the search for orphans and for new keys."""
    rows = session.execute(select(Attachment.location, Attachment.id))
    return {location: owner_of_file(attachment_id) for location, attachment_id in rows}


def owner_of_file(attachment_id: UUID) -> str:
    """Name the owner of a file in the store."""
    return f"attachment:{attachment_id}"


def _checked(new: NewFile) -> FileType:
    if not new.data:
        raise _refused("file-empty")
    if len(new.data) > LONGEST_FILE_BYTES:
        raise _refused("file-too-large", limit=LONGEST_FILE_BYTES // 2**20)
    kind = type_of(new.data)
    if kind is None:
        raise _refused("file-type")
    return kind


def _refused(key: str, **values: object) -> InvalidRequestError:
    return InvalidRequestError.told(Refusal(key, values, "content"))


def _require_room(session: Session, case_id: UUID, *, actor: Actor, whatever_state: bool) -> None:
    case = visible_case(session, case_id, actor=actor)
    if not whatever_state:
        require_open(case)
    own = select(func.count()).where(Attachment.case_id == case_id, Attachment.officer_id == actor.id)
    if (session.scalar(own) or 0) >= MOST_FILES:
        raise _refused("files-many", limit=MOST_FILES)


def _row(case_id: UUID, new: NewFile, kind: FileType, *, actor: Actor) -> Attachment:
    return Attachment(
        id=uuid4(),
        case_id=case_id,
        officer_id=actor.id,
        name=_shown_name(new.name, kind),
        media_type=kind.media_type,
        size_bytes=len(new.data),
        sha256=hashlib.sha256(new.data).hexdigest(),
    )


def _shown_name(name: str, kind: FileType) -> str:
    """Return the last part of a name without control characters; one that is left empty is made up."""
    last = name.replace("\\", "/").rsplit("/", maxsplit=1)[-1]
    shown = "".join(character for character in last if character.isprintable()).strip()
    return shown[-LONGEST_NAME:] or f"evidence.{kind.form}"


def _readable(session: Session, case: Case, attachment_id: UUID, *, actor: Actor) -> Attachment:
    found = session.get(Attachment, attachment_id)
    if found is not None and found.case_id == case.id:
        if found.officer_id == actor.id:
            return found
        decision = next((one for one in case.decisions if one.id == found.decision_id), None)
        if decision is not None and not is_concealed(decision, case, actor=actor):
            return found
    raise NotFoundError.told(Refusal("no-such-file"))


def _record(session: Session, kind: AuditKind, file: Attachment, *, actor: Actor) -> None:
    record(
        session,
        kind,
        actor=actor,
        subject=f"attachment:{file.id}",
        purpose=f"case:{file.case_id}",
        media_type=file.media_type,
        size_bytes=file.size_bytes,
    )
