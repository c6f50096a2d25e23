"""That biometric data of somebody was erased: what keeps it from coming back with a backup."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, BigKey, UtcDateTime, now


class Erasure(Base):
    """One erasure; `mark` is a keyed code that tells nothing of the person, `key_tag` names the key in it.

    `written` says that the list outside the database has it; see `service.erasures`.
    """

    __tablename__ = "erasures"
    __table_args__ = (Index("ix_erasures_written", "written", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))
    mark: Mapped[str] = mapped_column(String(64))
    key_tag: Mapped[str] = mapped_column(String(24))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    written: Mapped[bool] = mapped_column(default=False)
