"""Which keys the database is encrypted with; the keys themselves are elsewhere."""

from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, BigKey, UtcDateTime, now


class EncryptionState(Base):
    """One row: the master key that wraps new data keys, and whether everything is encrypted.

    `encrypted_at` is empty only while an installation of an earlier version is being
    encrypted; from then on nothing plain is accepted any more. `resealing_to` is the highest
    data key that a re-encryption under way is to leave unused.
    """

    __tablename__ = "encryption_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    master_key_id: Mapped[str] = mapped_column(String(16))
    check_value: Mapped[bytes] = mapped_column(LargeBinary)
    encrypted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resealing_to: Mapped[int | None] = mapped_column(BigInteger)


class DataKey(Base):
    """A key that one process seals with, wrapped by a master key; retired ones only open."""

    __tablename__ = "data_keys"
    __table_args__ = {"sqlite_autoincrement": True}

    number: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    master_key_id: Mapped[str] = mapped_column(String(16))
    algorithm: Mapped[str] = mapped_column(String(16))
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
