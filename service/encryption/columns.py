"""Everything in the database that is sealed: what a re-encryption must go through."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.auth import second_factor
from service.encryption import templates
from service.encryption.sealing import MAGIC
from service.encryption.vault import Vault
from service.review import drafts
from service.tables import Draft, LocalAccount, Template

BATCH = 500
"""Rows of one transaction: another writer waits some hundredths of a second at most."""


SealedRow = Row[*tuple[Any, ...]]
"""The values of a row's primary key, then its sealed bytes."""


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column that holds sealed bytes.

    Attributes:
        column: It.
        keys: The primary key of its table, in order.
        purpose: What its bytes are sealed as.
        row: Names the row that they are sealed for, of the key's values.
    """

    column: InstrumentedAttribute[Any]
    keys: tuple[InstrumentedAttribute[Any], ...]
    purpose: str
    row: Callable[..., str]


SEALED_COLUMNS = (
    SealedColumn(
        Template.vector,
        (Template.reference_id, Template.contract_id),
        templates.PURPOSE,
        templates.template_place,
    ),
    SealedColumn(LocalAccount.totp_secret, (LocalAccount.officer_id,), second_factor.PURPOSE, str),
    SealedColumn(Draft.content, (Draft.case_id, Draft.officer_id), drafts.PURPOSE, drafts.row_of_draft),
)
"""A test compares them with the columns of the schema."""


def count_older(session: Session, sealed: SealedColumn, highest: int, *, plain: bool) -> int:
    """Count the rows sealed with data keys up to one, and if asked those that are not sealed."""
    return session.scalar(select(func.count()).where(_older(sealed, highest, plain=plain))) or 0


def older(
    session: Session,
    sealed: SealedColumn,
    highest: int,
    *,
    plain: bool,
    after: tuple[Any, ...] | None,
) -> Sequence[SealedRow]:
    """Return the next such rows: the key's values, then the sealed bytes.

    Args:
        session: The transaction in which they are replaced.
        sealed: The column.
        highest: The highest data key to be left unused.
        plain: Whether bytes that are not sealed are wanted, too.
        after: The key of the last row seen, None at the beginning.
    """
    query = select(*sealed.keys, sealed.column).where(_older(sealed, highest, plain=plain))
    if after is not None:
        query = query.where(tuple_(*sealed.keys) > tuple_(*after))
    return session.execute(query.order_by(*sealed.keys).limit(BATCH)).all()


def replace(session: Session, sealed: SealedColumn, row: SealedRow, fresh: bytes) -> None:
    """Put fresh bytes in the place of those that were read, unless the row was changed or erased since."""
    before, keys = row[-1], tuple(row)[:-1]
    is_this = and_(*(column == value for column, value in zip(sealed.keys, keys, strict=True)))
    changed = update(sealed.column.class_).where(is_this, sealed.column == before)
    session.execute(
        changed.values({sealed.column.key: fresh}), execution_options={"synchronize_session": False}
    )


def opened(vault: Vault, sealed: SealedColumn, row: SealedRow) -> bytes:
    """Open a row's bytes.

    Raises:
        SealBrokenError: They were altered or moved.
    """
    content, keys = row[-1], tuple(row)[:-1]
    return vault.open(sealed.purpose, sealed.row(*keys), content)


def _older(sealed: SealedColumn, highest: int, *, plain: bool) -> Any:
    column = sealed.column
    is_old = and_(func.substr(column, 1, 4) == MAGIC, func.substr(column, 5, 4) <= highest.to_bytes(4, "big"))
    return and_(column.is_not(None), or_(is_old, func.substr(column, 1, 4) != MAGIC) if plain else is_old)
