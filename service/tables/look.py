"""That an officer has looked at a case's portraits before its scores were shown."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from service.tables.base import Base, UtcDateTime, now


class CaseLook(Base):
    """One officer's first look in one round; its presence shows the officer ranks, scores and rates."""

    __tablename__ = "case_looks"

    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True)
    officer_id: Mapped[UUID] = mapped_column(ForeignKey("officers.id", ondelete="CASCADE"), primary_key=True)
    looked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
