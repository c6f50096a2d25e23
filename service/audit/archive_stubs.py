"""What stands in the chain for archived records."""

import json
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.audit.keys import AuditKey
from service.audit.records import TIME_FORMAT
from service.tables import AuditArchive


def read_stubs(session: Session) -> Sequence[AuditArchive]:
    """Return all of them in the order of the chain."""
    return session.scalars(select(AuditArchive).order_by(AuditArchive.first)).all()


def stub_code(stub: AuditArchive, key: AuditKey) -> str:
    """Return the code that a stub should carry."""
    facts = [
        "oneperson-audit-archive-1",
        stub.first,
        stub.last,
        stub.previous_mac,
        stub.last_mac,
        stub.file,
        stub.file_sha256,
        stub.archived_at.strftime(TIME_FORMAT),
        stub.key_tag,
        stub.next_key_tag,
    ]
    return key.mac(json.dumps(facts, separators=(",", ":")).encode())
