"""Finds stored data that was altered, and keys that lie where they should not."""

import stat
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.encryption.keys import key_file
from service.encryption.templates import opened_template
from service.encryption.vault import vault_of
from service.settings import Settings
from service.tables import Person, Portrait, Template

CHUNK = 10_000
"""Rows fetched at a time."""


def altered_templates(session: Session) -> list[str]:
    """Open every template, whatever its pack, and name the persons whose cannot be opened.

    Raises:
        KeyMissingError: A key is not given, which says nothing of the templates.
    """
    vault = vault_of(session)
    query = (
        select(Template.reference_id, Template.contract_id, Template.vector, Person.person_id)
        .join(Portrait, Portrait.reference_id == Template.reference_id)
        .join(Person, Person.key == Portrait.person_key)
    )
    found: set[str] = set()
    for rows in session.execute(query.execution_options(yield_per=CHUNK)).partitions():
        for reference_id, contract_id, sealed, person_id in rows:
            if not opened_template(vault, reference_id, contract_id, sealed):
                found.add(person_id)
    return sorted(found)


def key_advice(settings: Settings) -> str:
    """Say what would keep the keys safer; empty when they are well kept as far as can be told."""
    path = key_file(settings)
    if path is None or not path.exists():
        return ""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return f"let only its owner read {path}: chmod 600"
    if _is_below(path, settings.data_dir):
        return (
            "the key lies beside what it protects: whoever takes this disk has both; move the file elsewhere "
            "and set ONEPERSON_ENCRYPTION_KEY_FILE, and keep a copy apart from the backups"
        )
    return ""


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
